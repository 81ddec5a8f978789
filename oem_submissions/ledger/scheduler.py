"""The scheduler's logs, in SQL: ticks, and what its health is judged by. Every query has its index.

What is judged is in `domain.scheduler_health`; leases are in `leases`, alerts in `alerts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    Date,
    Engine,
    Select,
    Text,
    case,
    cast,
    func,
    insert,
    lateral,
    literal,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from oem_submissions.domain.lease_log import LeaseEntry
from oem_submissions.domain.overview import DeadKind
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.scheduler_health import MAY_STICK, UNFILED, Stuck
from oem_submissions.domain.scheduling import AtRisk, CatchUp, Source, Tick
from oem_submissions.domain.states import LOOKED_UP, State
from oem_submissions.ledger.tables import claims, enqueue_requests, lease_log, leases, ticks

_NOW = func.clock_timestamp()
_CATCH_UP = "catch-up"
_MOST_STUCK = 200
_NAMED = 20
"""Claims that an alert names."""


class SchedulerBook:
    """The tick log, and the reads that the scheduler's health needs."""

    _engine: Engine

    # --- ticks ---

    def record_tick(
        self, oem: str, source: str, scheduled_for: datetime, requested: int, cadence: str | None = None
    ) -> None:
        """Note that a schedule was evaluated, also when nothing was due. `cadence`: what made that moment a tick."""
        row = _tick_row(oem, source, scheduled_for, requested, cadence)
        with self._engine.begin() as connection:
            connection.execute(insert(ticks).values(row))

    def noted_tick(self, oem: str, cadence: str, scheduled_for: datetime) -> Source | None:
        """How the log has this very tick; None when it has not. The schedule's own word comes first."""
        query = select(ticks.c.source).where(
            ticks.c.oem == oem, ticks.c.cadence == cadence, ticks.c.scheduled_for == scheduled_for
        )
        with self._engine.connect() as connection:
            sources = {Source(source) for source in connection.scalars(query)}
        return Source.SCHEDULE if Source.SCHEDULE in sources else next(iter(sources), None)

    def newest_ticks(self, cadences: Mapping[str, str]) -> dict[str, datetime]:
        """By OEM: the log's newest tick of the cadence that the OEM has now; without those that have none yet."""
        with self._engine.connect() as connection:
            return {row.oem: row.scheduled_for for row in connection.execute(end_tick_query(cadences, newest=True))}

    def first_ticks(self, cadences: Mapping[str, str]) -> dict[str, datetime]:
        """As `newest_ticks`, the oldest: from then on ticks are expected."""
        with self._engine.connect() as connection:
            return {row.oem: row.scheduled_for for row in connection.execute(end_tick_query(cadences, newest=False))}

    def ticks_since(self, cadences: Mapping[str, str], since: datetime) -> list[Tick]:
        """The log's ticks from then on, as scheduled, of the cadences that the OEMs have now."""
        with self._engine.connect() as connection:
            rows = connection.execute(ticks_query(cadences, since))
            return [Tick(row.oem, row.scheduled_for, row.at, Source(row.source), row.requested) for row in rows]

    def make_up(self, oem: str, cadence: str, what: CatchUp) -> bool:
        """Note the missed ticks and ask the queue once for all of them, in one transaction; whether it was this one.

        Two daemons, or one that was killed and began again, ask once: the log's newest tick is looked at under a lock.
        """
        lacking = (*what.missed, *((what.made_up,) if what.made_up else ()))
        rows = [_tick_row(oem, Source.MISSED, missed, 0, cadence) for missed in what.missed]
        with self._engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"ticks {oem}"})
            newest = connection.execute(end_tick_query({oem: cadence}, newest=True)).one_or_none()
            if newest is not None and newest.scheduled_for >= lacking[0]:
                return False
            if what.made_up is not None:
                rows.append(_tick_row(oem, Source.CATCH_UP, what.made_up, 0, cadence))
                request = insert(enqueue_requests).values(oem=oem, dealers=[], period=None, requested_by=_CATCH_UP)
                connection.execute(request)
            connection.execute(insert(ticks), rows)
            return True

    # --- health ---

    def lease_entries(self, since: datetime) -> list[LeaseEntry]:
        """The lease log from then on, in the order it was written."""
        with self._engine.connect() as connection:
            return [LeaseEntry(**row._mapping) for row in connection.execute(lease_log_query(since))]

    def oldest_ready(self, oems: Sequence[str]) -> dict[str, datetime]:
        """By OEM: since when the due claim that waits longest could be filed; without those where none waits."""
        with self._engine.connect() as connection:
            return {row.oem: row.oldest for row in connection.execute(oldest_query(oems))}

    def stuck_claims(self, seconds: float) -> list[Stuck]:
        """Claims in the middle of their way that have not moved for so long, in accounts that nobody holds."""
        with self._engine.connect() as connection:
            return [
                Stuck(row.claim_id, row.oem, row.dealer, State(row.state), row.since)
                for row in connection.execute(stuck_query(seconds))
            ]

    def unattended(self, seconds: float) -> list[DeadKind]:
        """Dead letters that nobody has touched for so long, counted by OEM and reason."""
        with self._engine.connect() as connection:
            return [
                DeadKind(row.oem, ReasonCode(row.reason) if row.reason else None, None, row.claims)
                for row in connection.execute(unattended_query(seconds))
            ]

    def at_risk(self, due: Mapping[str, tuple[date, date]]) -> list[AtRisk]:
        """By OEM: claims not filed that came due on the second day or earlier; dead letters after the first day only.

        A dead letter whose deadline is behind it is not urgent any more.
        """
        with self._engine.connect() as connection:
            return [
                AtRisk(row.oem, row.claims, row.earliest, tuple(row.claim_ids[:_NAMED]))
                for row in connection.execute(at_risk_query(due))
            ]


def _tick_row(oem: str, source: str, scheduled_for: datetime, requested: int, cadence: str | None) -> dict[str, Any]:
    return {
        "oem": oem,
        "source": source,
        "scheduled_for": scheduled_for,
        "requested": requested,
        "cadence": cadence,
    }


# --- the queries -----------------------------------------------------------------------------------------------------


def _named(cadences: Mapping[str, str]) -> Any:
    pairs = (literal(list(cadences), ARRAY(Text)), literal(list(cadences.values()), ARRAY(Text)))
    return func.unnest(*pairs).table_valued("oem", "cadence").render_derived("named")


def end_tick_query(cadences: Mapping[str, str], *, newest: bool) -> Select[Any]:
    """One step into the index by OEM, cadence and moment each."""
    named = _named(cadences)
    order = ticks.c.scheduled_for.desc() if newest else ticks.c.scheduled_for
    mine = (ticks.c.oem == named.c.oem, ticks.c.cadence == named.c.cadence)
    end = lateral(select(ticks.c.scheduled_for).where(*mine).order_by(order).limit(1))
    return select(named.c.oem, end.c.scheduled_for).select_from(named.join(end, true()))


def ticks_query(cadences: Mapping[str, str], since: datetime) -> Select[Any]:
    """A stretch of the same index each."""
    named = _named(cadences)
    mine = (ticks.c.oem == named.c.oem, ticks.c.cadence == named.c.cadence)
    late = lateral(select(ticks).where(*mine, ticks.c.scheduled_for >= since))
    columns = [late.c[name] for name in Tick.__dataclass_fields__]
    return select(*columns).select_from(named.join(late, true())).order_by(late.c.oem, late.c.scheduled_for)


def lease_log_query(since: datetime) -> Select[Any]:
    """From the index by time."""
    columns = [lease_log.c[name] for name in LeaseEntry.__dataclass_fields__]
    return select(*columns).where(lease_log.c.at >= since).order_by(lease_log.c.entry)


def oldest_query(oems: Sequence[str]) -> Select[Any]:
    """The claims that wait are few, and their index leads to them. One that comes due later does not wait yet."""
    since = func.greatest(claims.c.created_at, cast(claims.c.due_on, claims.c.created_at.type))
    return (
        select(claims.c.oem, func.min(since).label("oldest"))
        .where(claims.c.oem.in_(oems), claims.c.state == State.READY, claims.c.due_on <= func.current_date())
        .group_by(claims.c.oem)
    )


def stuck_query(seconds: float) -> Select[Any]:
    """From the index by state and time: what is in the middle of its way is little."""
    looked_up = claims.c.state.in_(sorted(LOOKED_UP))
    since = case((looked_up, func.greatest(claims.c.updated_at, claims.c.look_again_at)), else_=claims.c.updated_at)
    held = (
        select(leases.c.lease_id)
        .where(leases.c.oem == claims.c.oem, leases.c.dealer == claims.c.dealer)
        .where(leases.c.released_at.is_(None), leases.c.expires_at > _NOW)
    )
    long_ago = _NOW - timedelta(seconds=seconds)
    return (
        select(claims.c.claim_id, claims.c.oem, claims.c.dealer, claims.c.state, since.label("since"))
        .where(claims.c.state.in_(sorted(MAY_STICK)), claims.c.updated_at < long_ago, since < long_ago)
        .where(~held.exists())
        .order_by(claims.c.updated_at)
        .limit(_MOST_STUCK)
    )


def unattended_query(seconds: float) -> Select[Any]:
    """From the index by state and time."""
    long_ago = _NOW - timedelta(seconds=seconds)
    return (
        select(claims.c.oem, claims.c.reason, func.count().label("claims"))
        .where(claims.c.state == State.DEAD, claims.c.updated_at < long_ago)
        .group_by(claims.c.oem, claims.c.reason)
        .order_by(claims.c.oem, claims.c.reason)
    )


def at_risk_query(due: Mapping[str, tuple[date, date]]) -> Select[Any]:
    """From the index by OEM and state."""
    lost = cast([pair[0] for pair in due.values()], ARRAY(Date))
    near = cast([pair[1] for pair in due.values()], ARRAY(Date))
    given = func.unnest(literal(list(due), ARRAY(Text)), lost, near)
    named = given.table_valued("oem", "lost", "near").render_derived("named")
    urgent = claims.c.state.in_(sorted(UNFILED)) & (claims.c.due_on <= named.c.near)
    hopeless = (claims.c.state == State.DEAD) & (claims.c.due_on <= named.c.lost)
    mine = lateral(
        select(
            func.count().label("claims"),
            func.min(claims.c.due_on).label("earliest"),
            func.array_agg(aggregate_order_by(claims.c.claim_id, claims.c.due_on, claims.c.claim_id)).label(
                "claim_ids"
            ),
        ).where(claims.c.oem == named.c.oem, urgent, ~hopeless)
    )
    return select(named.c.oem, mine).select_from(named.join(mine, true())).where(mine.c.claims > 0)
