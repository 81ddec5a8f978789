"""Dagster's event log as findings: how asset checks and runs ended. What becomes of them is in `services.alerting`."""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

import json
import time
from collections.abc import Collection
from typing import Any, Literal

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DefaultSensorStatus,
    EventLogRecord,
    EventRecordsFilter,
    RunsFilter,
    RunStatusChangeRecordsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from oem_submissions.domain.alerting import Finding
from oem_submissions.domain.records import AlertSeverity
from oem_submissions.services.alerting import DAEMON
from oem_submissions.services.bound import Services

LOOK_BACK = 1000
"""Events get their numbers before they are committed: so many are read again, which changes nothing but finds those
that came late."""
_MOST = 2 * LOOK_BACK
_FIRST_SECONDS = 86400.0
"""Without a cursor, the events of a day are read."""
_ENDINGS: tuple[Literal[DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS], ...] = (
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_SUCCESS,
)


def alerts_sensor(oems: Collection[str]) -> SensorDefinition:
    """Failed checks and runs become alerts, which Dagster's open-source edition doesn't do; then people are told."""

    @sensor(
        name="alerts",
        minimum_interval_seconds=15,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
        description="Raises and resolves alerts, and gives every channel what it was not told yet.",
    )
    def alerts(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        services: Services = context.resources.services
        services.ledger.sign_of_life(DAEMON)
        before: dict[str, int] = json.loads(context.cursor or "{}")
        found, after = findings_since(context.instance, before, oems)
        services.ledger.note_findings(found)
        if before:  # what this tick has read again, the next one may, too
            services.ledger.forget_findings(min(before.values()) - LOOK_BACK)
        services.observe_alerts()
        services.deliver_alerts()
        return SensorResult(
            skip_reason=SkipReason(
                f"{sum(finding.failed for finding in found)} of the last {len(found)} findings failed."
            ),
            cursor=json.dumps(after),
        )

    return alerts


def findings_since(
    instance: DagsterInstance, cursor: dict[str, int], oems: Collection[str]
) -> tuple[list[Finding], dict[str, int]]:
    """How checks and runs ended after the cursor, and shortly before it; and the next cursor.

    Runs are read first: then the checks of a run that failed are among those read after it.
    """
    runs: list[EventLogRecord] = []
    after = dict(cursor)
    for ending in _ENDINGS:
        ends = RunStatusChangeRecordsFilter(ending, **_from(cursor.get(ending.value), "after_storage_id"))
        new = instance.fetch_run_status_changes(ends, limit=_MOST, ascending=True).records
        after[ending.value] = max([cursor.get(ending.value, 0), *(record.storage_id for record in new)])
        runs += new
    kind = DagsterEventType.ASSET_CHECK_EVALUATION
    evaluated = EventRecordsFilter(kind, **_from(cursor.get(kind.value), "after_cursor"))
    # Not the instance's method of this name, which is deprecated and has no successor for checks.
    checks = instance.event_log_storage.get_event_records(evaluated, limit=_MOST, ascending=True)
    after[kind.value] = max([cursor.get(kind.value, 0), *(record.storage_id for record in checks)])
    known = _runs(instance, {record.run_id for record in runs})
    found = [_ended(instance, record, known[record.run_id]) for record in runs if record.run_id in known]
    return [_evaluated(record, oems) for record in checks] + found, after


def _from(cursor: int | None, name: str) -> dict[str, Any]:
    return {"after_timestamp": time.time() - _FIRST_SECONDS} if cursor is None else {name: max(cursor - LOOK_BACK, 0)}


def _runs(instance: DagsterInstance, run_ids: set[str]) -> dict[str, DagsterRun]:
    return {run.run_id: run for run in instance.get_runs(RunsFilter(run_ids=sorted(run_ids)))} if run_ids else {}


def _evaluated(record: EventLogRecord, oems: Collection[str]) -> Finding:
    event = record.event_log_entry.dagster_event
    assert event is not None
    check = event.event_specific_data
    assert isinstance(check, AssetCheckEvaluation)
    group = check.asset_key.path[0]
    return Finding(
        event=record.storage_id,
        failed=not check.passed,
        check=(check.asset_key.to_user_string(), check.check_name),
        job=record.event_log_entry.job_name or "",
        partition=check.partition or "",
        severity=AlertSeverity.CRITICAL if check.severity is AssetCheckSeverity.ERROR else AlertSeverity.WARNING,
        run_id=record.run_id,
        text=check.description or "",
        oem=group if group in oems else None,
    )


def _ended(instance: DagsterInstance, record: EventLogRecord, run: DagsterRun) -> Finding:
    event = record.event_log_entry.dagster_event
    assert event is not None
    failed = event.event_type is DagsterEventType.RUN_FAILURE
    return Finding(
        event=record.storage_id,
        failed=failed,
        check=None,
        job=run.job_name,
        partition=run.tags.get("dagster/partition", ""),
        severity=AlertSeverity.WARNING,
        run_id=run.run_id,
        text=_why(instance, run.run_id) or event.message or "" if failed else "",
        oem=run.tags.get("oem"),
    )


def _why(instance: DagsterInstance, run_id: str) -> str:
    """The error of the first step that failed, its first line."""
    for record in instance.get_records_for_run(run_id, of_type=DagsterEventType.STEP_FAILURE, limit=1).records:
        event = record.event_log_entry.dagster_event
        if event is None or (error := event.step_failure_data.error) is None:
            continue
        while error.cause is not None:
            error = error.cause
        return f"Step {event.step_key}: {(error.message.strip() or 'it failed').splitlines()[0]}"
    return ""
