"""Roundup: warranty claims, in a tracker with its classic schema."""
