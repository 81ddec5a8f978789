"""Tests of the evidence desk, over real HTTP and in a real browser."""
