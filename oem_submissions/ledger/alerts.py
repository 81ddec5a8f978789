"""Alerts, in SQL: raised once per cause and counted from then on, resolved when the cause is gone."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from oem_submissions.domain.records import Alert, AlertKind, NewAlert
from oem_submissions.ledger.tables import alerts

_NOW = func.clock_timestamp()
_TEXT = 2000


def raise_alert(connection: Connection, new: NewAlert) -> bool:
    """Open the alert, or count it once more; whether it was opened by this."""
    values = {
        "key": new.key,
        "kind": new.kind,
        "oem": new.oem,
        "dealer": new.dealer,
        "run_id": new.run_id,
        "text": new.text[:_TEXT],
        "claim_ids": list(new.claim_ids),
    }
    row = connection.execute(
        upsert(alerts)
        .values(**values, raised_at=_NOW, last_at=_NOW)
        .on_conflict_do_update(
            index_elements=["key"],
            index_where=alerts.c.resolved_at.is_(None),
            set_={"count": alerts.c.count + 1, "last_at": _NOW, "text": values["text"]},
        )
        .returning(alerts.c.count)
    ).one()
    return bool(row.count == 1)


def was_raised(connection: Connection, key: str) -> bool:
    """Whether there ever was such an alert."""
    return connection.execute(select(alerts.c.alert_id).where(alerts.c.key == key).limit(1)).first() is not None


def resolve(connection: Connection, key: str) -> bool:
    """Close the alert; whether it was open."""
    done = connection.execute(
        update(alerts).where(alerts.c.key == key, alerts.c.resolved_at.is_(None)).values(resolved_at=_NOW)
    )
    return bool(done.rowcount)


def find(connection: Connection, only_open: bool, limit: int) -> list[Alert]:
    """Alerts, the newest first."""
    query = select(alerts).order_by(alerts.c.raised_at.desc(), alerts.c.alert_id.desc()).limit(limit)
    if only_open:
        query = query.where(alerts.c.resolved_at.is_(None))
    return [
        Alert(**{**row._mapping, "kind": AlertKind(row.kind), "claim_ids": tuple(row.claim_ids)})
        for row in connection.execute(query)
    ]
