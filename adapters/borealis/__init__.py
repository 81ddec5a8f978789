"""Borealis Vehicles: co-op advertising claims on Borealis MarketFund."""
