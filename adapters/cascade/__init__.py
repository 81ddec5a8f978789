"""Cascade: delivery reports and incentive claims on Cascade Connect."""
