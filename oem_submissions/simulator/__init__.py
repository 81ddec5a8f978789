"""Simulated OEM portals and CRM, with server-side truth and fault knobs. A program of its own: imports nothing of ours.

`app.py` puts the parts together, `server.py` runs them, `client.py` scripts them from tests, demo and command line.
"""
