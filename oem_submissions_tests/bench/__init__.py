"""`make bench`: what things cost, as a table. No test: nothing is asserted, and nothing of it runs with the suite.

Each row is a module in `rows`, which says what it compares; `stage` has the portal, the ledger and the browser that
they need, `meter` and `figures` measure and compare. What a comparison leaves out of production it replaces here.
"""
