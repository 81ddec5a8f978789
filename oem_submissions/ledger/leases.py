"""Leases on portal accounts, in SQL.

Time is the database's clock; every change is also a line of the append-only lease log.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from oem_submissions.domain.failures import LeaseLost
from oem_submissions.domain.records import Lease
from oem_submissions.ledger.tables import fencing_tokens, lease_log, leases

_NOW = func.clock_timestamp()


def is_live(lease: Lease, for_seconds: float = 0.0) -> ColumnElement[bool]:
    """A condition: the lease is held, and will be for so many seconds more."""
    return exists().where(
        leases.c.lease_id == lease.lease_id,
        leases.c.fencing_token == lease.fencing_token,
        leases.c.released_at.is_(None),
        leases.c.expires_at > _NOW + timedelta(seconds=for_seconds),
    )


def is_newest(lease: Lease) -> ColumnElement[bool]:
    """A condition: nobody took the account after us.

    Past the click, knowledge is kept even when the lease has run out.
    """
    return ~exists().where(
        leases.c.oem == lease.oem, leases.c.dealer == lease.dealer, leases.c.fencing_token > lease.fencing_token
    )


def acquire(connection: Connection, oem: str, dealer: str, run_id: str, worker: str, seconds: float) -> Lease | None:
    """Take the account when it is free or its lease has expired; None when it is held."""
    expired = connection.execute(
        update(leases)
        .where(
            leases.c.oem == oem,
            leases.c.dealer == dealer,
            leases.c.released_at.is_(None),
            leases.c.expires_at <= _NOW,
        )
        .values(released_at=_NOW)
        .returning(*leases.c)
    ).one_or_none()
    if expired is not None:
        _log(connection, "expired", expired)
    row = connection.execute(
        upsert(leases)
        .values(
            oem=oem,
            dealer=dealer,
            run_id=run_id,
            worker=worker,
            fencing_token=fencing_tokens.next_value(),
            acquired_at=_NOW,
            expires_at=_NOW + timedelta(seconds=seconds),
        )
        .on_conflict_do_nothing()
        .returning(*leases.c)
    ).one_or_none()
    if row is None:
        return None
    _log(connection, "acquired", row)
    return lease_of(row)


def renew(connection: Connection, lease: Lease, seconds: float) -> Lease:
    """Move the expiry on. Raises `LeaseLost` when the lease is not live any more: late is lost.

    The conditions are on the row itself, not in a subquery: when the update has waited for another's on the same row,
    PostgreSQL judges the row anew, but a subquery by what it was before.
    """
    row = connection.execute(
        update(leases)
        .where(
            leases.c.lease_id == lease.lease_id,
            leases.c.fencing_token == lease.fencing_token,
            leases.c.released_at.is_(None),
            leases.c.expires_at > _NOW,
        )
        .values(expires_at=_NOW + timedelta(seconds=seconds))
        .returning(*leases.c)
    ).one_or_none()
    if row is None:
        raise LeaseLost(f"{lease.oem}/{lease.dealer}: the lease of {lease.worker} has expired or was taken over.")
    _log(connection, "renewed", row)
    return lease_of(row)


def release(connection: Connection, lease: Lease) -> None:
    """End the lease, if it has not ended."""
    row = connection.execute(
        update(leases)
        .where(leases.c.lease_id == lease.lease_id, leases.c.released_at.is_(None))
        .values(released_at=_NOW)
        .returning(*leases.c)
    ).one_or_none()
    if row is not None:
        _log(connection, "released", row)


def held_leases(connection: Connection) -> list[Lease]:
    """Leases that nobody released, run out or not, oldest first."""
    rows = connection.execute(select(leases).where(leases.c.released_at.is_(None)).order_by(leases.c.acquired_at))
    return [lease_of(row) for row in rows]


def expired_leases(connection: Connection) -> list[Lease]:
    """Leases that ran out and that nobody released: their workers are lost."""
    rows = connection.execute(
        select(leases).where(leases.c.released_at.is_(None), leases.c.expires_at <= _NOW).order_by(leases.c.expires_at)
    )
    return [lease_of(row) for row in rows]


def lease_of(row: Row[Any]) -> Lease:
    """The row as a record."""
    return Lease(row.lease_id, row.oem, row.dealer, row.run_id, row.worker, row.fencing_token, row.expires_at)


def _log(connection: Connection, kind: str, row: Row[Any]) -> None:
    connection.execute(
        insert(lease_log).values(
            at=_NOW,
            kind=kind,
            oem=row.oem,
            dealer=row.dealer,
            run_id=row.run_id,
            worker=row.worker,
            fencing_token=row.fencing_token,
            expires_at=row.expires_at,
        )
    )
