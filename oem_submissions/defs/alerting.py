"""Dagster's event log as findings: how asset checks and runs ended. What becomes of them is in `services.alerting`."""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

import json
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    EventLogRecord,
    EventRecordsFilter,
    RunRecord,
    RunsFilter,
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

CHECKS, RUNS = "checks", "runs"
LOOK_BACK = {CHECKS: 1000.0, RUNS: 600.0}
"""Checks by the number of their event, runs by the second of their end. An event has its number before it is
committed, and machines' clocks differ: so much is read again, which changes nothing, but finds what came late."""
_MOST = 2000
_FIRST_SECONDS = 86400.0
"""Without a cursor, what happened in a day is read."""


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
        before: dict[str, float] = json.loads(context.cursor or "{}")
        found, after = findings_since(context.instance, before, oems)
        services.ledger.note_findings(found)
        for what, cursor in before.items():  # what this tick has read again, the next one may, too
            services.ledger.forget_findings(what == CHECKS, _number(cursor - LOOK_BACK[what], what))
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
    instance: DagsterInstance, cursor: dict[str, float], oems: Collection[str]
) -> tuple[list[Finding], dict[str, float]]:
    """How checks and runs ended after the cursor, and shortly before it; and the next cursor.

    Runs are read first: then the checks of a run that failed are among those read after it.
    """
    first = time.time() - _FIRST_SECONDS
    since = datetime.fromtimestamp(cursor[RUNS] - LOOK_BACK[RUNS] if RUNS in cursor else first, UTC)
    ended = RunsFilter(statuses=[DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS], updated_after=since)
    runs = instance.get_run_records(ended, limit=_MOST, order_by="update_timestamp", ascending=True)
    from_here: dict[str, Any] = {"after_timestamp": first}
    if CHECKS in cursor:
        from_here = {"after_cursor": max(int(cursor[CHECKS] - LOOK_BACK[CHECKS]), 0)}
    # Not the instance's method of this name, which is deprecated and has no successor for checks.
    checks = instance.event_log_storage.get_event_records(
        EventRecordsFilter(DagsterEventType.ASSET_CHECK_EVALUATION, **from_here), limit=_MOST, ascending=True
    )
    after = {
        RUNS: max([cursor.get(RUNS, first), *(_moment(record.update_timestamp) for record in runs)]),
        CHECKS: max([cursor.get(CHECKS, 0), *(record.storage_id for record in checks)]),
    }
    found = [_evaluated(record, oems) for record in checks]
    return found + [_ended(instance, record) for record in runs], after


def _number(cursor: float, what: str) -> int:
    """As findings are numbered: by event, or by the microsecond."""
    return int(cursor) if what == CHECKS else int(cursor * 1e6)


def _moment(at: datetime) -> float:
    """Dagster's storage gives UTC, with or without saying so."""
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


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


def _ended(instance: DagsterInstance, record: RunRecord) -> Finding:
    run = record.dagster_run
    failed = run.status is DagsterRunStatus.FAILURE
    return Finding(
        event=_number(record.end_time or _moment(record.update_timestamp), RUNS),
        failed=failed,
        check=None,
        job=run.job_name,
        partition=run.tags.get("dagster/partition", ""),
        severity=AlertSeverity.WARNING,
        run_id=run.run_id,
        text=_why(instance, run.run_id) if failed else "",
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
    return "No step failed: see the run's log."
