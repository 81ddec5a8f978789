"""Every OEM's adapter and pack against its simulated portal, with a real Chromium."""
