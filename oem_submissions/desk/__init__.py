"""The evidence desk: web pages that look a claim up, show the proof, and take an operator's decisions.

A module per room: look-up, claims, review, dead letters, gate, queue and alerts. It decides nothing itself: decisions
go through the same services as the command line's. Imports services, ports, domain and settings, never the ledger, the
evidence store's code or an adapter; `cli.desk` puts the parts in.
"""
