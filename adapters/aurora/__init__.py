"""Aurora Motors: warranty claims on AuroraDealer.Net."""
