"""Lets go of what is old: Dagster's runs with their events, and old lines of the ledger's daily logs.

What was filed is in the ledger, for ever; a partition whose run went looks unmaterialised, and a backfill over it files
nothing. Evidence is not touched: that is `oem-submissions evidence prune`.
"""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

from datetime import UTC, datetime, timedelta

from dagster import (
    AssetSelection,
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)

from oem_submissions.defs.assets import CRM_INTAKE
from oem_submissions.ports import Ledger

FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
_RUNS = 50
"""Of one tick: some seconds' work, far from the tick's limit of a minute."""


def prune_runs(
    instance: DagsterInstance, ledger: Ledger, days: int, after: str | None, limit: int = _RUNS
) -> tuple[int, str | None]:
    """Delete finished runs that nothing has touched for so many days, the oldest first; how many, and where to go on.

    What is still needed stays, and the next call begins behind it: `after` is the last run that stayed.
    """
    before = datetime.now(UTC) - timedelta(days=days)
    old = RunsFilter(statuses=FINISHED, updated_before=before)
    found = [run.run_id for run in instance.get_runs(old, cursor=after, limit=limit, ascending=True)]
    needed = ledger.runs_in_use(found)
    for run_id in found:
        if run_id not in needed:
            instance.delete_run(run_id)
    stayed = [run_id for run_id in found if run_id in needed]
    return len(found) - len(stayed), (stayed[-1] if stayed else after) if len(found) == limit else None


def prune_sensor(days: int) -> SensorDefinition:
    """A little every minute, so that no tick is long and a kill costs nothing."""

    @sensor(
        name="prune",
        minimum_interval_seconds=60,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
        asset_selection=AssetSelection.assets(CRM_INTAKE),
    )
    def prune(context: SensorEvaluationContext) -> SkipReason:
        ledger = context.resources.services.ledger
        runs, after = prune_runs(context.instance, ledger, days, context.cursor or None)
        context.update_cursor(after or "")
        lines = ledger.prune_logs(days)
        return SkipReason(f"{runs} runs and {lines} lines of logs were older than {days} days, and are deleted.")

    return prune
