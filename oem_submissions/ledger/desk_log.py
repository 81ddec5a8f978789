"""The desk's log in the ledger: who did what there, or was not let."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Engine, Row, insert, select

from oem_submissions.domain.desk_log import DeskAction, DeskEntry, DeskRecord
from oem_submissions.domain.texts import keepable, shortened
from oem_submissions.ledger.tables import desk_log

_TEXT = 500


class DeskBook:
    """What the ledger remembers of the desk: reads and writes."""

    _engine: Engine

    def note_access(self, entry: DeskEntry) -> None:
        """Append it."""
        values = {name: _kept(value) for name, value in asdict(entry).items()}
        with self._engine.begin() as connection:
            connection.execute(insert(desk_log).values(values))

    def access_log(self, limit: int = 100, who: str | None = None) -> list[DeskRecord]:
        """The newest lines, newest first; of one user, if one is named."""
        query = select(desk_log).order_by(desk_log.c.number.desc()).limit(limit)
        if who is not None:
            query = query.where(desk_log.c.who == who)
        with self._engine.connect() as connection:
            return [_record_of(row) for row in connection.execute(query)]


def _kept(value: str | None) -> str | None:
    return None if value is None else shortened(keepable(value), _TEXT)


def _record_of(row: Row[Any]) -> DeskRecord:
    told = {name: value for name, value in row._mapping.items() if name not in ("number", "at", "action")}
    return DeskRecord(row.number, row.at, DeskEntry(DeskAction(row.action), **told))
