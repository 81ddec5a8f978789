"""The evidence desk: web pages that look a claim up and show the proof. It reads; it decides and changes nothing.

Imports services, ports, domain and settings, never the ledger or the evidence store's code.
"""
