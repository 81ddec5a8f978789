"""The browser runtime against the simulated portals, with a real Chromium."""
