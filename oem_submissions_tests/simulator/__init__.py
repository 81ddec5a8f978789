"""The simulator: does it do to claims what it says it did."""
