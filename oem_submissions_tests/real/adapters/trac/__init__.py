"""Trac: warranty claims, in an installation with own fields."""
