"""Every page of the desk that can be asked for, once with everything that it can show."""

from __future__ import annotations

from oem_submissions_tests.desk.ledger import ASKED, FILED, HELD, KEPT, LOG_IN, REFUSED, STOPPED, SUNK

PAGES = [
    "/",
    "/?q=D1042",
    "/?q=nothing",
    f"/claims/{FILED}",
    f"/claims/{REFUSED}",
    f"/claims/{HELD}",
    f"/claims/{KEPT}",
    f"/claims/{FILED}/shots/7/pre_submit.webp",
    f"/claims/{FILED}/withdraw",
    f"/claims/{SUNK}/withdraw",
    "/review",
    f"/review/{ASKED}",
    f"/review/{FILED}",
    "/dead-letters",
    "/dead-letters/redrive",
    f"/dead-letters/redrive?claim={STOPPED}",
    "/oems",
    "/oems/aurora",
    "/oems/aurora?release=1",
    "/oems/borealis",
    "/oems/aurora/suspend",
    "/oems/aurora/breaker?dealer=D1042",
    "/queue",
    "/alerts",
    "/hand-overs",
    f"/hand-overs/{LOG_IN.hand_over_id}",
    f"/hand-overs/{'f' * 16}",
]

RICHEST = [
    "/",
    f"/claims/{FILED}",
    f"/claims/{FILED}/shots/7/pre_submit.webp",
    f"/claims/{SUNK}/withdraw",
    "/review",
    f"/review/{ASKED}",
    "/dead-letters",
    "/dead-letters/redrive",
    "/oems",
    "/oems/aurora",
    "/oems/aurora/suspend",
    "/queue",
    "/alerts",
    "/hand-overs",
    f"/hand-overs/{LOG_IN.hand_over_id}",
]
"""Of each kind the page with the most on it."""
