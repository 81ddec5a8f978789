"""The scheduler's health, and deadlines that are about to be lost: what is read, and who is told.

What is judged is in `domain.scheduler_health`. A failed check of the asset is an alert by itself; a deadline is one of
its own, because nothing has failed yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from oem_submissions.domain.records import AlertKind, NewAlert
from oem_submissions.domain.releases import FILES, deployed, production
from oem_submissions.domain.scheduler_health import STUCK_SECONDS, WINDOW, Health, Logs, judge
from oem_submissions.ports import ClaimRules, Ledger


def scheduler_health(
    ledger: Ledger,
    adapters: Mapping[str, ClaimRules],
    oldest_queued: Mapping[str, datetime],
    window: timedelta = WINDOW,
) -> Health:
    """What the logs of the window say of these OEMs."""
    cadences = {oem: rules.cadence for oem, rules in adapters.items()}
    names = {oem: str(cadence) for oem, cadence in cadences.items()}
    now = ledger.now()
    logs = Logs(
        since=now - window,
        now=now,
        leases=ledger.lease_entries(now - window),
        ticks=ledger.ticks_since(names, now - window),
        first_ticks=ledger.first_ticks(names),
        stuck=ledger.stuck_claims(STUCK_SECONDS),
        oldest_ready=ledger.oldest_ready(list(adapters)),
        oldest_queued=oldest_queued,
        files=frozenset(oem for oem, rules in adapters.items() if _files(ledger, rules)),
    )
    return judge(cadences, logs)


def _files(ledger: Ledger, rules: ClaimRules) -> bool:
    live = production(deployed(ledger.releases(rules.oem), rules.digest))
    return live is not None and live.state in FILES


def watch_deadlines(ledger: Ledger, adapters: Mapping[str, ClaimRules]) -> None:
    """One alert per OEM with claims whose deadline is near: raised, renewed when it says something else, resolved."""
    now, due = ledger.now(), {}
    for oem, rules in adapters.items():
        lost, near = rules.cadence.lost_before(now), rules.cadence.lost_before(now + rules.cadence.at_risk)
        if lost is not None and near is not None:
            due[oem] = (lost, near)
    found = {risk.oem: risk for risk in ledger.at_risk(due)} if due else {}
    told = {alert.key: alert.text for alert in ledger.alerts() if alert.kind is AlertKind.DEADLINE_AT_RISK}
    for oem, rules in adapters.items():
        key, risk = f"deadline {oem}", found.get(oem)
        if risk is None:
            if key in told:
                ledger.resolve_alert(key)
        elif told.get(key) != (sentence := risk.sentence(rules.cadence)):
            ledger.raise_alert(NewAlert(key, AlertKind.DEADLINE_AT_RISK, sentence, oem, claim_ids=risk.claim_ids))
