"""The outbox of alerts, in SQL: how far each channel is with the log, and the findings and beats that alerts come from.

Here is no URL and no message: `alerts` sends, this remembers what was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, case, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as upsert

from oem_submissions.domain.alerting import ChannelState, Failing, Finding, Transition
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import AlertKind, AlertSeverity
from oem_submissions.domain.states import State
from oem_submissions.domain.texts import keepable, shortened
from oem_submissions.ledger.alerts import told_query, transition_of
from oem_submissions.ledger.moves import database_now
from oem_submissions.ledger.tables import (
    alert_channels,
    alert_deliveries,
    alert_transitions,
    alerts,
    beats,
    claims,
    findings,
)

_TEXT, _PROBLEM, _EXAMPLES = 1000, 300, 5


@dataclass(frozen=True)
class Outbox:
    """One channel's way through the log. Nobody else has it meanwhile; each call is durable when it returns."""

    channel: str
    _connection: Connection
    _now: datetime | None

    def pending(self, limit: int) -> list[Transition]:
        """What the channel was not told yet, in order; nothing of what was over before it was there."""
        told = select(alert_channels.c.told).where(alert_channels.c.channel == self.channel).scalar_subquery()
        added = select(alert_channels.c.added_at).where(alert_channels.c.channel == self.channel).scalar_subquery()
        query = (
            told_query()
            .where(alert_transitions.c.number > told)
            .where(or_(alerts.c.resolved_at.is_(None), alerts.c.resolved_at >= added))
            .order_by(alert_transitions.c.number)
            .limit(limit)
        )
        with self._connection.begin():
            return [transition_of(row) for row in self._connection.execute(query)]

    def passed(self, number: int, sent: bool) -> None:
        """The channel took it, or it is not for this channel."""
        with self._connection.begin():
            now = self._now or database_now(self._connection)
            done: dict[str, Any] = {"told": number}
            if sent:
                took = {"number": number, "channel": self.channel, "at": now}
                self._connection.execute(insert(alert_deliveries).values(**took))
                done |= _well() | {"sent_at": now}
            self._connection.execute(self._mine().values(done))

    def failed(self, problem: str, again_seconds: float) -> None:
        """The channel did not take it; it is tried again after so many seconds."""
        with self._connection.begin():
            now = self._now or database_now(self._connection)
            values = {
                "failures": alert_channels.c.failures + 1,
                "failing_since": func.coalesce(alert_channels.c.failing_since, now),
                "next_try_at": now + timedelta(seconds=again_seconds),
                "problem": shortened(problem, _PROBLEM),
            }
            self._connection.execute(self._mine().values(values))

    def failures(self) -> int:
        """How often it failed in a row."""
        query = select(alert_channels.c.failures).where(alert_channels.c.channel == self.channel)
        with self._connection.begin():
            return int(self._connection.execute(query).scalar_one())

    def _mine(self) -> Any:
        return update(alert_channels).where(alert_channels.c.channel == self.channel)


class OutboxBook:
    """Channels, findings and beats: reads and writes."""

    _engine: Engine

    # --- channels -------------------------------------------------------------------------------------------------

    def see_channels(self, channels: Sequence[str], now: datetime | None = None) -> None:
        """These are in use. A new one begins with the alerts that are open."""
        with self._engine.begin() as connection:
            at = now or database_now(connection)
            still = select(func.min(alert_transitions.c.number) - 1).join(
                alerts, alerts.c.alert_id == alert_transitions.c.alert_id
            )
            begin = func.coalesce(
                still.where(alerts.c.resolved_at.is_(None)).scalar_subquery(),
                select(func.max(alert_transitions.c.number)).scalar_subquery(),
                0,
            )
            for channel in channels:
                connection.execute(
                    upsert(alert_channels)
                    .values(channel=channel, added_at=at, seen_at=at, told=begin)
                    .on_conflict_do_update(index_elements=["channel"], set_={"seen_at": at})
                )

    @contextmanager
    def delivering(self, channel: str, now: datetime | None = None) -> Iterator[Outbox | None]:
        """The channel's outbox, or None: somebody else delivers, or it failed just now and is left alone for a while.

        The lock is the connection's: it is gone with us, and who has lost it can't note that anything was sent.
        """
        key = func.hashtextextended(f"alert channel {channel}", 0)
        with self._engine.connect() as connection:
            with connection.begin():
                mine = bool(connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one())
            try:
                yield Outbox(channel, connection, now) if mine and _is_due(connection, channel, now) else None
            finally:
                if mine:
                    with connection.begin():
                        connection.execute(select(func.pg_advisory_unlock(key)))

    def alert_channels(self) -> list[ChannelState]:
        """Every channel there ever was, with what it was not told yet."""
        waiting = select(func.count()).where(alert_transitions.c.number > alert_channels.c.told).scalar_subquery()
        query = select(alert_channels, waiting.label("waiting")).order_by(alert_channels.c.channel)
        with self._engine.connect() as connection:
            return [ChannelState(**row._mapping) for row in connection.execute(query)]

    # --- findings -------------------------------------------------------------------------------------------------

    def note_findings(self, found: Sequence[Finding]) -> None:
        """The newest finding of each subject and partition counts, in whatever order and however often they come."""
        newest = {(one.subject, one.partition): one for one in sorted(found, key=lambda one: one.event)}
        if not newest:
            return
        with self._engine.begin() as connection:
            now = database_now(connection)
            rows = [
                _row_of(one, now) for _, one in sorted(newest.items())
            ]  # in one order: two never wait for each other
            new = upsert(findings).values(rows)
            values = {name: new.excluded[name] for name in rows[0] if name not in ("subject", "part")}
            connection.execute(
                new.on_conflict_do_update(
                    index_elements=["subject", "part"], set_=values, where=findings.c.event < new.excluded.event
                )
            )

    def forget_findings(self, of_checks: bool, before: int) -> None:
        """Those of checks, or of runs, that are well, up to an event that nobody reads again."""
        kind = "check " if of_checks else "run "
        with self._engine.begin() as connection:
            connection.execute(
                delete(findings).where(
                    findings.c.subject.startswith(kind), ~findings.c.failed, findings.c.event <= before
                )
            )

    def failing(self) -> list[Failing]:
        """Every subject with a partition that fails. Runs whose failure something more exact tells are not among it."""
        newest = findings.c.event.desc()
        critical = func.bool_or(findings.c.severity == AlertSeverity.CRITICAL)
        query = (
            select(
                findings.c.subject,
                func.max(findings.c.oem).label("oem"),
                func.count().label("parts"),
                case((critical, AlertSeverity.CRITICAL), else_=AlertSeverity.WARNING).label("severity"),
                func.array_agg(aggregate_order_by(findings.c.part, newest))[1:_EXAMPLES].label("examples"),
                func.array_agg(aggregate_order_by(findings.c.run_id, newest))[1].label("run_id"),
                func.array_agg(aggregate_order_by(findings.c.text, newest))[1].label("text"),
            )
            .where(findings.c.failed, ~and_(findings.c.subject.startswith("run "), _is_told_elsewhere()))
            .group_by(findings.c.subject)
            .order_by(findings.c.subject)
        )
        with self._engine.connect() as connection:
            return [_failing_of(row) for row in connection.execute(query)]

    def dead_reasons(self) -> list[tuple[str, ReasonCode | None, int]]:
        """How many dead letters each OEM has of each reason; not those that were erased: nobody can redrive them."""
        kind = (claims.c.oem, claims.c.reason)
        where = (claims.c.state == State.DEAD, claims.c.erased_at.is_(None))
        query = select(*kind, func.count().label("claims")).where(*where).group_by(*kind).order_by(*kind)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [(row.oem, ReasonCode(row.reason) if row.reason else None, row.claims) for row in rows]

    # --- beats ----------------------------------------------------------------------------------------------------

    def sign_of_life(self, name: str) -> None:
        """Say that a part lives."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            values = {"name": name, "at": now}
            connection.execute(
                upsert(beats).values(values).on_conflict_do_update(index_elements=["name"], set_={"at": now})
            )

    def last_sign_of_life(self, name: str) -> datetime | None:
        """When it last said so; None: never."""
        with self._engine.connect() as connection:
            return connection.execute(select(beats.c.at).where(beats.c.name == name)).scalar_one_or_none()


def _row_of(found: Finding, now: datetime) -> dict[str, Any]:
    return {
        "subject": found.subject,
        "part": found.partition,
        "event": found.event,
        "failed": found.failed,
        "oem": found.oem,
        "severity": found.severity,
        "run_id": found.run_id,
        "text": shortened(keepable(found.text), _TEXT),
        "at": now,
    }


def _well() -> dict[str, Any]:
    return {"failures": 0, "failing_since": None, "next_try_at": None, "problem": None}


def _is_due(connection: Connection, channel: str, now: datetime | None) -> bool:
    query = select(alert_channels.c.next_try_at).where(alert_channels.c.channel == channel)
    with connection.begin():
        next_try = connection.execute(query).scalar_one_or_none()
        return next_try is None or next_try <= (now or database_now(connection))


def _is_told_elsewhere() -> Any:
    """Of a run: by a failed check, a dead letter, or a lost worker."""
    other = findings.alias("other")
    check = exists().where(other.c.run_id == findings.c.run_id, other.c.failed, other.c.subject.startswith("check "))
    dead = exists().where(claims.c.state == State.DEAD, claims.c.run_id == findings.c.run_id)
    lost = exists().where(alerts.c.kind == AlertKind.WORKER_LOST, alerts.c.key == "worker lost " + findings.c.run_id)
    return or_(check, dead, lost)


def _failing_of(row: Row[Any]) -> Failing:
    return Failing(
        row.subject,
        row.oem,
        row.parts,
        AlertSeverity(row.severity),
        tuple(part for part in row.examples if part),
        row.run_id,
        row.text,
    )
