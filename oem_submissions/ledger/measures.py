"""What monitoring reads of the ledger, in SQL: counts and seconds per OEM, never per dealer or claim.

Every query has its index, as in `overview`. What would have to count all that ever was is counted over the last hour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, Row, Select, func, lateral, select, true

from oem_submissions.domain.overview import AccountLeases, EndedAttempts, Measures, OpenAlerts, StepSeconds
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import State
from oem_submissions.ledger.tables import alerts, attempts, claims, events, lease_log, leases

WINDOW = timedelta(hours=1)
NEWEST = 1000
"""So many confirmed attempts, of all OEMs, are looked at for the seconds of their steps."""
_NOW = func.clock_timestamp()
_STEPS = (
    ("fill", "started_at", "armed_at"),
    ("click", "armed_at", "sent_at"),
    ("answer", "sent_at", "responded_at"),
    ("confirm", "responded_at", "ended_at"),
    ("seal", "ended_at", "sealed_at"),
    ("sync", "sealed_at", "synced_at"),
)


class MeasuresBook:
    """The ledger's figures for monitoring."""

    _engine: Engine

    def measures(self, oems: Sequence[str]) -> Measures:
        """What is counted and timed for these OEMs."""
        with self._engine.connect() as connection:
            ended = connection.execute(ended_query(oems))
            return Measures(
                connection.execute(select(_NOW)).scalar_one(),
                [
                    EndedAttempts(r.oem, State(r.ended_as), ReasonCode(r.reason) if r.reason else None, r.attempts)
                    for r in ended
                ],
                _seconds(connection.execute(steps_query(oems))),
                _leases(connection, oems),
                [OpenAlerts(row.kind, row.oem, row.alerts) for row in connection.execute(alerts_query())],
            )


# --- the queries -----------------------------------------------------------------------------------------------------


def ended_query(oems: Sequence[str]) -> Select[Any]:
    """From the index by the end of attempts; each claim by its key.

    Without the limit PostgreSQL may read all claims from end to end, to join them with an hour's attempts.
    """
    claim = lateral(select(claims.c.oem).where(claims.c.claim_id == attempts.c.claim_id).limit(1))
    kind = (claim.c.oem, attempts.c.ended_as, attempts.c.reason)
    return (
        select(*kind, func.count().label("attempts"))
        .select_from(attempts.join(claim, true()))
        .where(attempts.c.ended_at > func.now() - WINDOW, claim.c.oem.in_(oems), attempts.c.ended_as.is_not(None))
        .group_by(*kind)
    )


def steps_query(oems: Sequence[str]) -> Select[Any]:
    """Likewise, with the moments at which the claim was sealed and told to the CRM, from its own events."""
    last = (
        select(attempts)
        .where(attempts.c.ended_at > func.now() - WINDOW, attempts.c.ended_as == State.CONFIRMED)
        .order_by(attempts.c.ended_at.desc())
        .limit(NEWEST)
        .subquery()
    )
    after = lateral(
        select(
            func.min(events.c.at).filter(events.c.to_state == State.SEALED).label("sealed_at"),
            func.min(events.c.at).filter(events.c.to_state == State.SYNCED).label("synced_at"),
        ).where(events.c.claim_id == last.c.claim_id)
    )
    moments = [last.c[name] for name in ("started_at", "armed_at", "sent_at", "responded_at", "ended_at")]
    return (
        select(claims.c.oem, *moments, after.c.sealed_at, after.c.synced_at)
        .select_from(last.join(claims, claims.c.claim_id == last.c.claim_id).join(after, true()))
        .where(claims.c.oem.in_(oems))
    )


def held_query(oems: Sequence[str]) -> Select[Any]:
    """From the index of the leases that nobody released."""
    overdue = func.count().filter(leases.c.expires_at <= _NOW)
    return (
        select(leases.c.oem, func.count().label("held"), overdue.label("overdue"))
        .where(leases.c.released_at.is_(None), leases.c.oem.in_(oems))
        .group_by(leases.c.oem)
    )


def lost_query(oems: Sequence[str]) -> Select[Any]:
    """From the index of the leases that ran out. The log is append-only: the count never goes down."""
    return (
        select(lease_log.c.oem, func.count().label("lost"))
        .where(lease_log.c.kind == "expired", lease_log.c.oem.in_(oems))
        .group_by(lease_log.c.oem)
    )


def alerts_query() -> Select[Any]:
    """From the index of the alerts that are open."""
    return (
        select(alerts.c.kind, alerts.c.oem, func.count().label("alerts"))
        .where(alerts.c.resolved_at.is_(None))
        .group_by(alerts.c.kind, alerts.c.oem)
    )


def _leases(connection: Connection, oems: Sequence[str]) -> list[AccountLeases]:
    held = {row.oem: (row.held, row.overdue) for row in connection.execute(held_query(oems))}
    lost = {row.oem: row.lost for row in connection.execute(lost_query(oems))}
    return [AccountLeases(oem, *held.get(oem, (0, 0)), lost.get(oem, 0)) for oem in oems]


def _seconds(rows: Iterable[Row[Any]]) -> list[StepSeconds]:
    """A step whose beginning or end was not seen is no measurement."""
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        for step, since, until in _STEPS:
            begun, done = row._mapping[since], row._mapping[until]
            if begun is not None and done is not None and done >= begun:
                took[row.oem, step].append((done - begun).total_seconds())
    return [
        StepSeconds(oem, step, *(float(value) for value in np.quantile(seconds, (0.5, 0.95))))
        for (oem, step), seconds in sorted(took.items())
    ]
