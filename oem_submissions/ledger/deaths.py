"""Dead letters on their way to a queue, in SQL.

What is still to be forwarded is read from the chains and held against what was: a cursor over a growing number would
pass by the row of a transaction that commits late, and an outbox would make every filing write for a queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, and_, exists, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Death
from oem_submissions.domain.states import State
from oem_submissions.ledger.tables import DEATH, claims, events, forwarded_deaths

_DEATHS = (
    select(
        *(events.c[name] for name in ("claim_id", "sequence", "at", "run_id")),
        *(claims.c[name] for name in ("oem", "dealer", "period", "claim_type")),
        events.c.details["reason"].astext.label("reason"),
    )
    .join(claims, claims.c.claim_id == events.c.claim_id)
    .where(text(DEATH))
)


class DeathBook:
    """What the ledger knows of claims that became dead letters."""

    _engine: Engine

    def unforwarded(self, limit: int) -> list[Death]:
        """Dead letters that no queue has yet, the oldest first; also of claims that live again since."""
        done = and_(forwarded_deaths.c.claim_id == events.c.claim_id, forwarded_deaths.c.sequence == events.c.sequence)
        query = _DEATHS.where(~exists().where(done)).order_by(events.c.at, events.c.claim_id).limit(limit)
        with self._engine.connect() as connection:
            return [_death_of(row) for row in connection.execute(query)]

    def note_forwarded(self, deaths: Sequence[Death]) -> None:
        """The queue has them. Noted twice is noted once."""
        if deaths:
            rows = [{"claim_id": death.claim_id, "sequence": death.sequence} for death in deaths]
            with self._engine.begin() as connection:
                connection.execute(upsert(forwarded_deaths).values(rows).on_conflict_do_nothing())

    def death(self, claim_id: str) -> Death | None:
        """How the claim became the dead letter that it is now; None when it is none, or was redriven since."""
        later = events.alias()
        redriven = exists().where(
            later.c.claim_id == events.c.claim_id,
            later.c.sequence > events.c.sequence,
            later.c.kind == "redriven",
        )
        query = (
            _DEATHS.where(events.c.claim_id == claim_id, claims.c.state == State.DEAD, ~redriven)
            .order_by(events.c.sequence.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
            return _death_of(row) if row else None


def _death_of(row: Any) -> Death:
    return Death(**{**row._mapping, "reason": ReasonCode(row.reason) if row.reason else None})
