"""Files dealers' claims in manufacturers' web portals: once, with proof, and writes the reference back to the CRM."""
