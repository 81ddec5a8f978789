"""Signed-in sessions between two runs of their account, encrypted by others. Times are the database's.

Taking one deletes it in the same statement: a run that dies with it, or ends in any doubt, leaves none behind.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert as upsert

from oem_submissions.domain.records import Lease, ShelvedSession
from oem_submissions.ledger.leases import is_live
from oem_submissions.ledger.tables import kept_sessions
from oem_submissions.ports import SealedSession, WrappedKey

_NOW = func.clock_timestamp()
_ACCOUNT = ("oem", "dealer")


class SessionBook:
    """The kept sessions, one of an account at the most."""

    _engine: Engine

    def take_session(self, lease: Lease) -> SealedSession | None:
        """The account's session if it is still good, for the holder of the account alone; good or not, it is gone."""
        table = kept_sessions
        taken = (
            delete(table)
            .where(table.c.oem == lease.oem, table.c.dealer == lease.dealer, is_live(lease))
            .returning(
                *table.c,
                (table.c.expires_at > _NOW).label("is_good"),
                func.extract("epoch", _NOW - table.c.signed_in_at).label("seconds"),
            )
        )
        with self._engine.begin() as connection:
            row = connection.execute(taken).one_or_none()
        if row is None or not row.is_good:
            return None
        return SealedSession(WrappedKey(row.wrapped, row.wrapped_by), row.sealed, float(row.seconds))

    def keep_session(self, lease: Lease, session: SealedSession, good_seconds: float) -> bool:
        """Keep it in the place of any other of the account, until so long after its log-in; not without the lease."""
        signed_in = _NOW - timedelta(seconds=session.seconds)
        values: dict[str, Any] = {
            "oem": literal(lease.oem),
            "dealer": literal(lease.dealer),
            "wrapped": literal(session.key.wrapped),
            "wrapped_by": literal(session.key.wrapped_by),
            "sealed": literal(session.sealed),
            "signed_in_at": signed_in,
            "kept_at": _NOW,
            "expires_at": signed_in + timedelta(seconds=good_seconds),
            "run_id": literal(lease.run_id),
        }
        kept = upsert(kept_sessions).from_select(list(values), select(*values.values()).where(is_live(lease)))
        others = {name: kept.excluded[name] for name in values if name not in _ACCOUNT}
        done = kept.on_conflict_do_update(index_elements=_ACCOUNT, set_=others).returning(kept_sessions.c.kept_at)
        with self._engine.begin() as connection:
            return connection.execute(done).one_or_none() is not None

    def kept_sessions(self) -> list[ShelvedSession]:
        """All that are still good, without what is encrypted."""
        names = list(ShelvedSession.__dataclass_fields__)
        query = select(*(kept_sessions.c[name] for name in names)).where(kept_sessions.c.expires_at > _NOW)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(*(kept_sessions.c[name] for name in _ACCOUNT)))
            return [ShelvedSession(*row) for row in rows]

    def forget_sessions(self, oem: str, dealer: str | None = None) -> int:
        """Throw away those of the OEM, or of one of its dealers; how many there were."""
        mine = [kept_sessions.c.oem == oem, *([kept_sessions.c.dealer == dealer] if dealer else [])]
        with self._engine.begin() as connection:
            return connection.execute(delete(kept_sessions).where(*mine)).rowcount
