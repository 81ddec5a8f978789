"""The ledger was put back to an older time: what it may have forgotten is in doubt until it was looked up.

Here claims come into doubt, all at once; a look, or a person's verdict, takes them out of it (`looks`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Identity, delete, func, insert, literal, select, text
from sqlalchemy.dialects.postgresql import distinct_on

from oem_submissions.domain.records import Restore
from oem_submissions.domain.states import FILED, State
from oem_submissions.ledger.chain import append_event
from oem_submissions.ledger.moves import compare_and_set, database_now
from oem_submissions.ledger.reading import claim_of
from oem_submissions.ledger.tables import claims, fencing_tokens, kept_sessions, metadata, restores

_SURE = sorted(FILED | {State.REJECTED, State.WITHDRAWN})
"""In these states nothing files a claim any more, whatever was forgotten."""
_LEAP = 10_000_000
"""Numbers that nobody had time to give between the backup and the restore."""


class RestoreBook:
    """What a restore left in doubt."""

    _engine: Engine

    def hold_after_restore(self, oems: Collection[str], since: datetime, by: str, why: str, only: bool = False) -> int:
        """Put every claim in doubt that may have been filed after `since`; how many. `only`: of these OEMs alone.

        Whatever state it is in, it is not filed before it was looked up; nor is a claim that is taken in from now on,
        until `restore_is_over`. A worker that has one in hand can't arm it any more.
        """
        with self._engine.begin() as connection:
            _leap(connection)
            now = database_now(connection)
            mine = [claims.c.oem.in_(oems)] if only else []
            known = set() if only else set(connection.scalars(select(claims.c.oem).distinct()))
            for oem in sorted(known.union(oems)):
                _note(connection, oem, now, since, by, why, is_over=False)
            query = select(claims).where(claims.c.state.not_in(_SURE), *mine).order_by(claims.c.claim_id)
            doubted = [claim_of(row) for row in connection.execute(query.with_for_update())]
            for claim in doubted:
                values = {"in_doubt_since": now, "looks": 0, "look_again_at": None}
                compare_and_set(connection, claim, values, now)
                details = {"restored_to": since.isoformat(), "why": why}
                append_event(connection, claim.claim_id, now, by, "doubted", None, None, details)
            connection.execute(delete(kept_sessions))  # used since, or ended: nobody knows
            return len(doubted)

    def restore_is_over(self, restore: Restore, by: str, why: str) -> None:
        """Claims that are taken in from now on are not in doubt; those that are stay so until they were looked up."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            _note(connection, restore.oem, now, restore.since, by, why, is_over=True)

    def restores(self) -> list[Restore]:
        """Of each OEM that was ever restored, its last entry."""
        newest = select(restores).ext(distinct_on(restores.c.oem)).order_by(restores.c.oem, restores.c.entry.desc())
        with self._engine.connect() as connection:
            names = Restore.__dataclass_fields__
            return [Restore(**{name: row._mapping[name] for name in names}) for row in connection.execute(newest)]

    def in_doubt(self) -> list[tuple[str, State, int]]:
        """How many claims are in doubt, by OEM and state."""
        query = (
            select(claims.c.oem, claims.c.state, func.count().label("claims"))
            .where(claims.c.in_doubt_since.is_not(None))
            .group_by(claims.c.oem, claims.c.state)
            .order_by(claims.c.oem, claims.c.state)
        )
        with self._engine.connect() as connection:
            return [(row.oem, State(row.state), row.claims) for row in connection.execute(query)]


def doubt_of_new(oem: str, now: datetime) -> ColumnElement[Any]:
    """Since when a claim is in doubt that is taken in now: null, unless a restore is not over."""
    mine = select(restores).where(restores.c.oem == oem).order_by(restores.c.entry.desc()).limit(1).subquery()
    return select(literal(now)).select_from(mine).where(~mine.c.is_over).scalar_subquery()


def _note(
    connection: Connection, oem: str, now: datetime, since: datetime, by: str, why: str, *, is_over: bool
) -> None:
    values = {"oem": oem, "at": now, "since": since, "is_over": is_over, "by": by, "why": why}
    connection.execute(insert(restores).values(values))


def _leap(connection: Connection) -> None:
    """No number is given twice that is known outside: fencing tokens, attempts' folders in the store, sensors' cursors.

    A leap is never taken back, also when the transaction is: more than enough does no harm.
    """
    for table in metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.server_default, Identity):
                name = func.pg_get_serial_sequence(table.name, column.name)
                _leap_of(connection, connection.scalar(select(name)))
    _leap_of(connection, fencing_tokens.name)


def _leap_of(connection: Connection, sequence: str | None) -> None:
    connection.execute(text(f"SELECT setval('{sequence}', nextval('{sequence}') + {_LEAP})"))
