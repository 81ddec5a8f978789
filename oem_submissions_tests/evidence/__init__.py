"""Tests of stores, bundle and verifier."""
