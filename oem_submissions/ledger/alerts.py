"""Alerts, in SQL: raised once per cause, counted, escalated, resolved; and the log of what people are told.

How channels take the log is in `outbox`. One transaction touches one alert: its row first, then the log's lock, so that
two never wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from oem_submissions.domain.alerting import Transition, due_change, severity_of
from oem_submissions.domain.records import Alert, AlertChange, AlertKind, AlertSeverity, NewAlert
from oem_submissions.domain.texts import keepable, shortened
from oem_submissions.ledger.moves import database_now
from oem_submissions.ledger.tables import alert_deliveries, alert_transitions, alerts

_TEXT = 2000
_LOG = 7_402_117_012
"""The key of the advisory lock that whoever appends to the log holds until its commit."""


class AlertBook:
    """Alerts: reads and writes. `now` is the database's clock unless a caller says otherwise."""

    _engine: Engine

    def raise_alert(self, alert: NewAlert, now: datetime | None = None) -> bool:
        """Open an alert, or count it once more while it is open; whether it was opened by this."""
        with self._engine.begin() as connection:
            return _raise(connection, alert, now or database_now(connection))

    def resolve_alert(self, key: str, now: datetime | None = None) -> bool:
        """The cause is gone; whether the alert was open."""
        with self._engine.begin() as connection:
            at = now or database_now(connection)
            done = update(alerts).where(alerts.c.key == key, alerts.c.resolved_at.is_(None)).values(resolved_at=at)
            row = connection.execute(done.returning(alerts)).one_or_none()
            if row is not None and row.told_at is not None:
                _append(connection, alert_of(row), AlertChange.RESOLVED, at)
            return row is not None

    def settle_alerts(self, prefix: str, true: Sequence[NewAlert], now: datetime | None = None) -> None:
        """Of the alerts whose key begins with the prefix, exactly these are open afterwards."""
        known = {alert.key: alert for alert in self._open(prefix)}
        for new in true:
            if not _is_told_by(known.get(new.key), new):
                self.raise_alert(new, now)
        for key in sorted(known.keys() - {new.key for new in true}):
            self.resolve_alert(key, now)

    def advance_alerts(self, now: datetime | None = None) -> None:
        """Note what people should be told of open alerts by now: those that are open for too long, new counts."""
        with self._engine.connect() as connection:
            at = now or database_now(connection)
            found = [alert_of(row) for row in connection.execute(select(alerts).where(alerts.c.resolved_at.is_(None)))]
        for alert in found:
            if due_change(alert, at) is not None:
                with self._engine.begin() as connection:
                    mine = select(alerts).where(alerts.c.alert_id == alert.alert_id, alerts.c.resolved_at.is_(None))
                    row = connection.execute(mine.with_for_update()).one_or_none()
                    if row is not None:
                        _tell_if_due(connection, alert_of(row), at)

    def was_raised(self, key: str) -> bool:
        """Whether there ever was an alert of this key."""
        with self._engine.connect() as connection:
            query = select(alerts.c.alert_id).where(alerts.c.key == key).limit(1)
            return connection.execute(query).first() is not None

    def alerts(self, only_open: bool = True, limit: int = 100) -> list[Alert]:
        """Alerts, the newest first."""
        query = select(alerts).order_by(alerts.c.raised_at.desc(), alerts.c.alert_id.desc()).limit(limit)
        if only_open:
            query = query.where(alerts.c.resolved_at.is_(None))
        with self._engine.connect() as connection:
            return [alert_of(row) for row in connection.execute(query)]

    def alert_transitions(self, alert_ids: Sequence[int]) -> list[Transition]:
        """What people were told of these alerts, oldest first, with the channels that took it."""
        query = told_query().where(alert_transitions.c.alert_id.in_(alert_ids)).order_by(alert_transitions.c.number)
        taken = (
            select(alert_deliveries)
            .join(alert_transitions, alert_transitions.c.number == alert_deliveries.c.number)
            .where(alert_transitions.c.alert_id.in_(alert_ids))
            .order_by(alert_deliveries.c.at)
        )
        by: dict[int, list[tuple[str, datetime]]] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(taken):
                by.setdefault(row.number, []).append((row.channel, row.at))
            rows = connection.execute(query).all()
        return [transition_of(row, tuple(by.get(row.number, ()))) for row in rows]

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """Whether nobody else does this at the moment; nobody begins before it ends, whatever becomes of us."""
        key = func.hashtextextended(what, 0)
        with self._engine.connect() as connection:
            mine = bool(connection.execute(select(func.pg_try_advisory_lock(key))).scalar_one())
            connection.commit()
            try:
                yield mine
            finally:
                if mine:
                    connection.execute(select(func.pg_advisory_unlock(key)))
                    connection.commit()

    def _open(self, prefix: str) -> list[Alert]:
        query = select(alerts).where(alerts.c.resolved_at.is_(None), alerts.c.key.startswith(prefix, autoescape=True))
        with self._engine.connect() as connection:
            return [alert_of(row) for row in connection.execute(query)]


def _raise(connection: Connection, new: NewAlert, now: datetime) -> bool:
    text = shortened(keepable(new.text), _TEXT)
    values = {
        "key": new.key,
        "kind": new.kind,
        "oem": new.oem,
        "dealer": new.dealer,
        "run_id": new.run_id,
        "text": text,
        "claim_ids": list(new.claim_ids),
        "count": 1 if new.count is None else new.count,
        "severity": severity_of(new.kind, new.severity),
    }
    changed: dict[str, Any] = {"last_at": now, "text": text, "run_id": new.run_id, "claim_ids": values["claim_ids"]}
    if new.count is None:
        changed = {"last_at": now, "text": text, "count": alerts.c.count + 1}
    else:  # what there is less of now is told again when it is more than that
        changed |= {"count": new.count, "told_count": func.least(alerts.c.told_count, new.count)}
    row = connection.execute(
        upsert(alerts)
        .values(**values, raised_at=now, last_at=now)
        .on_conflict_do_update(index_elements=["key"], index_where=alerts.c.resolved_at.is_(None), set_=changed)
        .returning(alerts, literal_column("xmax = 0").label("opened"))
    ).one()
    alert = alert_of(row)
    if values["severity"] is AlertSeverity.CRITICAL and alert.severity is not AlertSeverity.CRITICAL:
        _worsen(connection, alert, now)
    else:
        _tell_if_due(connection, alert, now)
    return bool(row.opened)


def _worsen(connection: Connection, alert: Alert, now: datetime) -> None:
    """It became critical: that is told, if the alert itself was."""
    mine = update(alerts).where(alerts.c.alert_id == alert.alert_id).values(severity=AlertSeverity.CRITICAL)
    worse = alert_of(connection.execute(mine.returning(alerts)).one())
    if worse.told_at is None:
        _tell_if_due(connection, worse, now)
    else:
        _append(connection, worse, AlertChange.ESCALATED, now)


def _tell_if_due(connection: Connection, alert: Alert, now: datetime) -> None:
    if (change := due_change(alert, now)) is not None:
        _append(connection, alert, change, now)


def _append(connection: Connection, alert: Alert, change: AlertChange, now: datetime) -> None:
    """To the log, in the order of the commits. The alert's row is locked by now."""
    told: dict[str, Any] = {"told_at": now, "told_count": alert.count}
    if change is AlertChange.ESCALATED:
        told |= {"escalated_at": now, "severity": AlertSeverity.CRITICAL}
    mine = update(alerts).where(alerts.c.alert_id == alert.alert_id).values(told)
    severity = connection.execute(mine.returning(alerts.c.severity)).scalar_one()
    connection.execute(select(func.pg_advisory_xact_lock(_LOG)))
    line = {"at": now, "alert_id": alert.alert_id, "change": change, "severity": severity}
    connection.execute(insert(alert_transitions).values(**line, count=alert.count, text=alert.text))


def _is_told_by(known: Alert | None, new: NewAlert) -> bool:
    """Whether raising it would change nothing."""
    if known is None or new.count is None:
        return False
    critical = AlertSeverity.CRITICAL
    worse = known.severity is not critical and severity_of(new.kind, new.severity) is critical
    same = (known.count, known.text, known.claim_ids) == (
        new.count,
        shortened(keepable(new.text), _TEXT),
        new.claim_ids,
    )
    return same and not worse


def told_query() -> Any:
    """Lines of the log, each with its alert's columns beside its own."""
    own = [alert_transitions.c[name].label(f"then_{name}") for name in ("at", "change", "severity", "count", "text")]
    return select(alert_transitions.c.number, *own, *alerts.c).join(
        alerts, alerts.c.alert_id == alert_transitions.c.alert_id
    )


def transition_of(row: Row[Any], channels: tuple[tuple[str, datetime], ...] = ()) -> Transition:
    """A row of `told_query`."""
    change, severity = AlertChange(row.then_change), AlertSeverity(row.then_severity)
    return Transition(row.number, row.then_at, alert_of(row), change, severity, row.then_count, row.then_text, channels)


def alert_of(row: Row[Any]) -> Alert:
    """A row of `alerts`."""
    values = {name: row._mapping[name] for name in Alert.__dataclass_fields__}
    return Alert(
        **{
            **values,
            "kind": AlertKind(row.kind),
            "severity": AlertSeverity(row.severity),
            "claim_ids": tuple(row.claim_ids),
        }
    )
