"""Log-ins in a person's hands, in SQL: who has one, the newest picture, what was done. All of it is sealed by others.

The database's clock says what is past its deadline. Nothing of a picture or of a deed outlives the hand-over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, func, insert, null, select, update

from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.hand_over import HandOver, HandOverEnding
from oem_submissions.domain.texts import keepable, shortened
from oem_submissions.ledger.tables import hand_over_deeds, hand_overs
from oem_submissions.ports import WrappedKey

_TEXT = 500
_UNREAD = 50
"""Deeds that wait for the worker."""
_GRACE = timedelta(minutes=2)
"""A worker that lives ends its hand-over itself, shortly after the deadline."""
_KNOWN = [hand_overs.c[name] for name in HandOver.__dataclass_fields__]
_IS_OPEN = hand_overs.c.ended_at.is_(None)
_NOW: Any = func.clock_timestamp()


class HandOverBook:
    """Hand-overs: reads and writes."""

    _engine: Engine

    # --- the worker ---

    def open_hand_over(
        self, hand_over_id: str, oem: str, dealer: str, run_id: str, asks: str, seconds: float, key: WrappedKey
    ) -> HandOver:
        """From now on a person can take it, for so many seconds."""
        values = {
            "hand_over_id": hand_over_id, "oem": oem, "dealer": dealer, "run_id": run_id,
            "asks": shortened(keepable(asks), _TEXT), "opened_at": func.now(),
            "deadline": func.now() + timedelta(seconds=seconds), "picture": 0, "wrapped": key.wrapped,
            "wrapped_by": key.wrapped_by,
        }  # fmt: skip
        with self._engine.begin() as connection:
            return _hand_over_of(connection.execute(insert(hand_overs).values(values).returning(*_KNOWN)).one())

    def show(self, hand_over_id: str, site: str, sealed: bytes) -> int | None:
        """Put another picture in the place of the last one; its number. None when the hand-over has ended."""
        values = {"picture": hand_overs.c.picture + 1, "pictured_at": _NOW, "site": site, "sealed": sealed}
        mine = update(hand_overs).where(hand_overs.c.hand_over_id == hand_over_id, _IS_OPEN).values(values)
        with self._engine.begin() as connection:
            return connection.execute(mine.returning(hand_overs.c.picture)).scalar_one_or_none()

    def read_deeds(self, hand_over_id: str) -> tuple[HandOver, list[tuple[int, bytes]]]:
        """How it stands, and what was done since it was asked last, each with its picture's number; once, ever."""
        mine = delete(hand_over_deeds).where(hand_over_deeds.c.hand_over_id == hand_over_id)
        with self._engine.begin() as connection:
            rows = connection.execute(mine.returning(hand_over_deeds)).all()
            known = connection.execute(select(*_KNOWN).where(hand_overs.c.hand_over_id == hand_over_id)).one()
        in_order = sorted(rows, key=lambda row: row.number)
        return _hand_over_of(known), [(row.picture, row.sealed) for row in in_order]

    def end_hand_over(self, hand_over_id: str, ending: HandOverEnding) -> None:
        """It is over, and nothing is left of what was shown and done; once it has ended, nothing changes."""
        with self._engine.begin() as connection:
            _end(connection, ending, hand_overs.c.hand_over_id == hand_over_id)

    def end_lost_hand_overs(self) -> None:
        """Those that their worker did not end: it died."""
        with self._engine.begin() as connection:
            _end(connection, HandOverEnding.BROKEN, hand_overs.c.deadline < _NOW - _GRACE)

    # --- people ---

    def open_hand_overs(self) -> list[HandOver]:
        """Those that a person can still help with, the oldest first."""
        query = select(*_KNOWN).where(_IS_OPEN, hand_overs.c.deadline > _NOW).order_by(hand_overs.c.opened_at)
        with self._engine.connect() as connection:
            return [_hand_over_of(row) for row in connection.execute(query)]

    def hand_over(self, hand_over_id: str) -> HandOver | None:
        """One of them, also when it has ended."""
        with self._engine.connect() as connection:
            query = select(*_KNOWN).where(hand_overs.c.hand_over_id == hand_over_id)
            row = connection.execute(query).one_or_none()
        return _hand_over_of(row) if row else None

    def take_hand_over(self, hand_over_id: str, by: str) -> HandOver | None:
        """Have it, if nobody has; None when somebody else does, or it is over."""
        mine = _live(hand_over_id) + [hand_overs.c.taken_by.is_(None) | (hand_overs.c.taken_by == by)]
        with self._engine.begin() as connection:
            taken = update(hand_overs).where(*mine).values(taken_by=by).returning(*_KNOWN)
            row = connection.execute(taken).one_or_none()
        return _hand_over_of(row) if row else None

    def give_up_hand_over(self, hand_over_id: str, by: str) -> bool:
        """The person who has it can't do it: the worker ends it. False when it is not theirs, or over."""
        mine = [*_live(hand_over_id), hand_overs.c.taken_by == by]
        with self._engine.begin() as connection:
            given_up = update(hand_overs).where(*mine).values(given_up_at=_NOW)
            return connection.execute(given_up).rowcount == 1

    def hand_over_key(self, hand_over_id: str, by: str) -> WrappedKey | None:
        """For the person who has it; None for others, and when it is over."""
        with self._engine.connect() as connection:
            row = connection.execute(select(hand_overs).where(*_live(hand_over_id, by))).one_or_none()
        return WrappedKey(row.wrapped, row.wrapped_by) if row else None

    def picture_shown(self, hand_over_id: str, by: str) -> bytes | None:
        """The newest picture, sealed, for the person who has it; None before the first, and when it is over."""
        with self._engine.connect() as connection:
            return connection.scalar(select(hand_overs.c.sealed).where(*_live(hand_over_id, by)))

    def add_deeds(self, hand_over_id: str, by: str, picture: int, sealed: Sequence[bytes]) -> None:
        """What the person who has it does. Raises `StateConflict` when it is not theirs, over, or too much at once."""
        with self._engine.begin() as connection:
            locked = select(hand_overs.c.hand_over_id).where(*_live(hand_over_id, by)).with_for_update()
            if connection.execute(locked).one_or_none() is None:
                raise StateConflict("This log-in is over, or somebody else has it.")
            mine = hand_over_deeds.c.hand_over_id == hand_over_id
            unread = connection.scalar(select(func.count()).select_from(hand_over_deeds).where(mine)) or 0
            if unread + len(sealed) > _UNREAD:
                raise StateConflict("The worker has not yet done what you did before.")
            values = [{"hand_over_id": hand_over_id, "picture": picture, "sealed": piece} for piece in sealed]
            connection.execute(insert(hand_over_deeds), values)


def _live(hand_over_id: str, by: str | None = None) -> list[ColumnElement[bool]]:
    """That it can still be helped with; if somebody is named, by them."""
    mine = [hand_overs.c.taken_by == by] if by is not None else []
    return [
        hand_overs.c.hand_over_id == hand_over_id, _IS_OPEN, hand_overs.c.deadline > _NOW,
        hand_overs.c.given_up_at.is_(None), *mine,
    ]  # fmt: skip


def _end(connection: Connection, ending: HandOverEnding, which: ColumnElement[bool]) -> None:
    values = {"ended_at": _NOW, "ending": ending, "sealed": null(), "wrapped": null(), "wrapped_by": null()}
    ended = update(hand_overs).where(which, _IS_OPEN).values(values).returning(hand_overs.c.hand_over_id)
    ids = connection.scalars(ended).all()
    if ids:
        connection.execute(delete(hand_over_deeds).where(hand_over_deeds.c.hand_over_id.in_(ids)))


def _hand_over_of(row: Row[Any]) -> HandOver:
    ending = HandOverEnding(row.ending) if row.ending is not None else None
    return HandOver(**{**row._mapping, "ending": ending})
