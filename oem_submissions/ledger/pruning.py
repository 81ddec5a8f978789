"""What the ledger lets go of: old lines of the logs that are only read for a day or two. Claims and proof stay.

Evidence past its retention is `keeping`'s. Dagster's runs are Dagster's; here is which of them somebody may still need.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    Table,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    text,
    union,
)

from oem_submissions.domain.states import AT_REST, State
from oem_submissions.ledger.keeping import held_claims_query
from oem_submissions.ledger.tables import (
    PRUNED,
    alerts,
    attempts,
    claims,
    history_reads,
    kept_sessions,
    leases,
    releases,
    runs,
    sweep_findings,
    sweeps,
    worker_beats,
)

_STREAK = 50
"""So many of a release's last runs are looked at by its gate."""
_NEEDED: dict[str, ColumnElement[bool]] = {
    "sweeps": exists().where(sweep_findings.c.sweep_id == sweeps.c.sweep_id),
    "history_reads": exists().where(sweeps.c.read_id == history_reads.c.read_id),
}
"""What a sweep found stays, and the read that it was found in. Of the tables in `PRUNED`: sweeps go before reads."""
_OPEN = sorted(set(State) - AT_REST)


class PruningBook:
    """Deletes what is old, a little at a time; a kill in between costs nothing."""

    _engine: Engine

    def prune_logs(self, days: int, limit: int = 5000) -> int:
        """Delete lines older than that, at most `limit` of each log, the oldest first; how many went.

        And kept sessions as soon as they have expired.

        The database itself refuses to let go of anything that is not 30 days old.
        """
        long_ago = func.clock_timestamp() - timedelta(days=days)
        gone = 0
        for table in PRUNED:
            gone += self._prune(table, table.c.at, long_ago, limit, _NEEDED.get(table.name, false()))
        # The newest of an account stays: what an older lease writes is refused by it.
        newer = leases.alias()
        mine = (newer.c.oem == leases.c.oem, newer.c.dealer == leases.c.dealer)
        newest = ~exists().where(*mine, newer.c.fencing_token > leases.c.fencing_token)
        gone += self._prune(leases, leases.c.released_at, long_ago, limit, newest)
        with self._engine.begin() as connection:
            expired = delete(kept_sessions).where(kept_sessions.c.expires_at <= func.clock_timestamp())
            gone += connection.execute(expired).rowcount
        return gone + self._prune(worker_beats, worker_beats.c.at, long_ago, limit, false())

    def _prune(
        self, table: Table, moment: Column[Any], before: ColumnElement[Any], limit: int, needed: ColumnElement[bool]
    ) -> int:
        """Of the oldest ones that nobody needs: looked at in the order of their numbers, not for their age."""
        key = next(iter(table.primary_key))
        oldest = select(key, moment.label("moment")).where(~needed).order_by(key).limit(limit).subquery()
        old = select(oldest.c[key.name]).where(oldest.c.moment < before)
        with self._engine.begin() as connection:
            connection.execute(text("SET LOCAL oem_submissions.pruning = 'on'"))
            return connection.execute(delete(table).where(key.in_(old))).rowcount

    def runs_in_use(self, run_ids: Collection[str]) -> set[str]:
        """Of these runs, those that belong to an open or held claim, an open alert, or the last runs of a release."""
        worked_on = (
            select(attempts.c.run_id)
            .join(claims, claims.c.claim_id == attempts.c.claim_id)
            .where(attempts.c.run_id.in_(run_ids))
            .where(or_(claims.c.state.in_(_OPEN), claims.c.claim_id.in_(held_claims_query())))
        )
        looked_up = select(claims.c.run_id).where(claims.c.state.in_(_OPEN), claims.c.run_id.in_(run_ids))
        alerted = select(alerts.c.run_id).where(alerts.c.resolved_at.is_(None), alerts.c.run_id.in_(run_ids))
        last = (
            select(runs.c.run_id)
            .where(runs.c.release_id == releases.c.release_id)
            .order_by(runs.c.number.desc())
            .limit(_STREAK)
            .lateral()
        )
        judged = select(last.c.run_id).select_from(releases.join(last, text("true"))).where(last.c.run_id.in_(run_ids))
        with self._engine.connect() as connection:
            return set(connection.scalars(union(worked_on, looked_up, alerted, judged)))
