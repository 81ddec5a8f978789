"""The browser runtime that adapters stand on: session, steps, submit gate, capture, packs, contracts.

Only this package and the adapters know Playwright. It imports domain and ports, never services, ledger or an adapter.
"""
