"""Dagster's queue, with one addition: every run carries `oem`, `dealer` and `period`.

So does one that a backfill or the UI launched. The queue's limits per OEM and per dealer are on these tags, so a run
without them would slip through. It is Dagster's documented extension point for run attribution; `dagster.yaml` names
this class.
"""

from __future__ import annotations

from typing import Any

from dagster import DagsterRun, QueuedRunCoordinator

from oem_submissions.defs.reading import SWEEP, reads_only

_PARTITION = "dagster/partition"


class TaggingRunCoordinator(QueuedRunCoordinator):
    """A `QueuedRunCoordinator` that stamps runs before they are queued."""

    def submit_run(self, context: Any) -> DagsterRun:
        """Stamp the run, then queue it."""
        run = context.dagster_run
        missing = {name: value for name, value in business_tags(run).items() if name not in run.tags}
        if missing:
            self._instance.add_run_tags(run.run_id, missing)
        return super().submit_run(context)


def business_tags(run: DagsterRun) -> dict[str, str]:
    """OEM, dealer and period of a run that uses a portal account, those of them that it has; a sweep has no period."""
    oems = {key.path[0] for key in run.asset_selection or () if len(key.path) == 2}
    oem = run.tags.get("oem") or (oems.pop() if len(oems) == 1 else None)
    dealer, period = run.tags.get(f"{_PARTITION}/dealer"), run.tags.get(f"{_PARTITION}/period")
    if reads_only(run) == SWEEP:
        dealer = run.tags.get(_PARTITION)
    tags = {"oem": oem, "dealer": dealer, "period": period}
    return {name: value for name, value in tags.items() if value}
