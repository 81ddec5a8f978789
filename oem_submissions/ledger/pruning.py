"""What the ledger lets go of: old lines of the logs that are only read for a day or two. Claims and proof stay.

Evidence past its retention is `keeping`'s. Dagster's runs are Dagster's; here is which of them somebody may still need.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Engine, delete, func, or_, select, text, union

from oem_submissions.domain.states import AT_REST, State
from oem_submissions.ledger.keeping import held_claims_query
from oem_submissions.ledger.tables import PRUNED, alerts, attempts, claims, releases, runs

_STREAK = 50
"""So many of a release's last runs are looked at by its gate."""
_OPEN = sorted(set(State) - AT_REST)


class PruningBook:
    """Deletes what is old, a little at a time; a kill in between costs nothing."""

    _engine: Engine

    def prune_logs(self, days: int, limit: int = 5000) -> int:
        """Delete lines older than that, at most `limit` of each log, the oldest first; how many went.

        The database itself refuses to let go of anything that is not 30 days old.
        """
        gone = 0
        for table in PRUNED:
            key = next(iter(table.primary_key))
            oldest = select(key, table.c.at).order_by(key).limit(limit).subquery()
            old = select(oldest.c[key.name]).where(oldest.c.at < func.clock_timestamp() - timedelta(days=days))
            with self._engine.begin() as connection:
                connection.execute(text("SET LOCAL oem_submissions.pruning = 'on'"))
                gone += connection.execute(delete(table).where(key.in_(old))).rowcount
        return gone

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
