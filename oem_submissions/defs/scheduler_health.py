"""The scheduler's health and the dead letters in Dagster: two assets and their checks, and the sensor that looks.

The sensor reports what it saw without a run: health that waits in the queue for a worker's slot says nothing when the
queue stands still, and a run every few minutes costs more than all that it looks at. The job does the same by hand.
"""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    AssetSelection,
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    MaterializeResult,
    MetadataValue,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    asset,
    asset_check,
    define_asset_job,
    sensor,
)

from oem_submissions.defs.metadata import text_table
from oem_submissions.domain.overview import DeadKind
from oem_submissions.domain.scheduler_health import Health, OemHealth
from oem_submissions.ports import ClaimRules
from oem_submissions.services.bound import Services

SCHEDULER_HEALTH = AssetKey("scheduler_health")
DEAD_LETTERS = AssetKey("dead_letters")
_CHECKS = {
    "no_orphans": "No lease ran out that nobody put right, and no claim in the middle of its way is nobody's.",
    "no_overlapping_leases": "No account was ever held by two workers at once.",
    "queue_age": "No claim and no queued run waits longer than two intervals of its OEM's schedule.",
    "no_missed_ticks": "Every tick of every OEM's schedule was evaluated in time.",
}
_ATTENDED = "dead_letters_attended"
_ATTEND_SECONDS = 24 * 3600.0
_LOOK_SECONDS = 120
_REPORT_SECONDS = 900.0
"""After so long it is reported again although nothing has changed."""
_SAID = 10
"""Problems that a check names."""


def scheduler_health_asset(adapters: Mapping[str, ClaimRules]) -> AssetsDefinition:
    """What the append-only logs of the last 24 hours say, per OEM."""

    @asset(
        key=SCHEDULER_HEALTH,
        required_resource_keys={"services"},
        group_name="operations",
        description="Of the last 24 hours, per OEM: ticks, leases, lost workers, stuck claims, the queue's age.",
        kinds={"postgres"},
        owners=["team:submissions"],
    )
    def scheduler_health(context: AssetExecutionContext) -> MaterializeResult:
        health = _look(context.resources.services, context.instance, adapters)
        return MaterializeResult(metadata=_metadata(health))

    return scheduler_health


def dead_letters_asset() -> AssetsDefinition:
    """How many claims wait for a person, and why."""

    @asset(
        key=DEAD_LETTERS,
        required_resource_keys={"services"},
        group_name="operations",
        description="Claims that only a person, or a correction in the CRM, brings further: by OEM and reason.",
        kinds={"postgres"},
        owners=["team:submissions"],
    )
    def dead_letters(context: AssetExecutionContext) -> MaterializeResult:
        services: Services = context.resources.services
        return MaterializeResult(metadata=_dead_metadata(services.ledger.dead_kinds()))

    return dead_letters


def scheduler_health_checks(adapters: Mapping[str, ClaimRules]) -> list[AssetChecksDefinition]:
    """The four of the scheduler, and the one of the dead letters."""

    def check(name: str) -> AssetChecksDefinition:
        @asset_check(asset=SCHEDULER_HEALTH, name=name, description=_CHECKS[name], required_resource_keys={"services"})
        def checked(context: AssetCheckExecutionContext) -> AssetCheckResult:
            health = _look(context.resources.services, context.instance, adapters)
            return AssetCheckResult(**_checked(name, health))

        return checked

    @asset_check(
        asset=DEAD_LETTERS,
        name=_ATTENDED,
        description="No dead letter lies untouched for longer than a day.",
        required_resource_keys={"services"},
    )
    def dead_letters_attended(context: AssetCheckExecutionContext) -> AssetCheckResult:
        services: Services = context.resources.services
        return AssetCheckResult(**_attended(services.ledger.unattended(_ATTEND_SECONDS)))

    return [*(check(name) for name in _CHECKS), dead_letters_attended]


def scheduler_health_job() -> Any:
    """Looks once, by hand; before all filing runs in the queue."""
    return define_asset_job(
        "scheduler_health_job",
        selection=AssetSelection.assets(SCHEDULER_HEALTH, DEAD_LETTERS),
        description="Judge the scheduler by its logs, and look for dead letters that nobody attends to.",
        tags={"dagster/priority": "100000"},
    )


def scheduler_health_sensor(adapters: Mapping[str, ClaimRules]) -> SensorDefinition:
    """Looks every two minutes, reports what has changed, and watches deadlines."""

    @sensor(
        name="scheduler_health",
        minimum_interval_seconds=_LOOK_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
        asset_selection=AssetSelection.assets(SCHEDULER_HEALTH, DEAD_LETTERS),
    )
    def scheduler_health(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        services: Services = context.resources.services
        services.watch_deadlines()
        health = _look(services, context.instance, adapters)
        dead, unattended = services.ledger.dead_kinds(), services.ledger.unattended(_ATTEND_SECONDS)
        results = {name: _checked(name, health) for name in _CHECKS} | {_ATTENDED: _attended(unattended)}
        before: dict[str, Any] = json.loads(context.cursor or "{}")
        said = {name: result["description"] for name, result in results.items()}
        if said == before.get("said") and time.time() - before["at"] < _REPORT_SECONDS:
            return SkipReason("Nothing has changed.")
        events: list[Any] = [
            AssetMaterialization(SCHEDULER_HEALTH, metadata=_metadata(health)),
            AssetMaterialization(DEAD_LETTERS, metadata=_dead_metadata(dead)),
        ]
        for name, result in results.items():
            key = DEAD_LETTERS if name == _ATTENDED else SCHEDULER_HEALTH
            events.append(AssetCheckEvaluation(asset_key=key, check_name=name, **result))
        return SensorResult(asset_events=events, cursor=json.dumps({"said": said, "at": time.time()}))

    return scheduler_health


def oldest_queued(instance: DagsterInstance, oems: Sequence[str]) -> dict[str, datetime]:
    """By OEM: when the run that waits longest was put in Dagster's queue."""
    oldest = {}
    for oem in oems:
        waiting = RunsFilter(statuses=[DagsterRunStatus.QUEUED], tags={"oem": oem})
        for record in instance.get_run_records(waiting, limit=1, ascending=True):
            oldest[oem] = record.create_timestamp
    return oldest


# --- what is shown ------------------------------------------------------------------------------------------------


def _look(services: Services, instance: DagsterInstance, adapters: Mapping[str, ClaimRules]) -> Health:
    return services.scheduler_health(oldest_queued(instance, list(adapters)))


def _checked(name: str, health: Health) -> dict[str, Any]:
    severity = AssetCheckSeverity.ERROR
    match name:
        case "no_orphans":
            problems = [orphan.sentence() for orphan in health.orphans]
            problems += [stuck.sentence() for stuck in health.stuck]
        case "no_overlapping_leases":
            problems = [overlap.sentence() for overlap in health.overlaps]
        case "queue_age":
            problems = [queue.sentence() for queue in health.late]
        case _:
            problems = [missed.sentence() for missed in health.missed]
            if all(missed.made_up_at for missed in health.missed):
                severity = AssetCheckSeverity.WARN
    return {
        "passed": not problems,
        "severity": severity,
        "description": _words(problems) or _CHECKS[name],
        "metadata": {"problems": len(problems)},
    }


def _attended(unattended: Sequence[DeadKind]) -> dict[str, Any]:
    problems = [f"{kind.oem}: {kind.claims} × {kind.reason or 'no reason'}" for kind in unattended]
    said = f"{_words(problems)}. Redrive them, or correct their records: `oem-submissions dead-letters list`."
    return {
        "passed": not problems,
        "severity": AssetCheckSeverity.WARN,
        "description": said if problems else "No dead letter lies untouched for longer than a day.",
        "metadata": {"unattended": sum(kind.claims for kind in unattended)},
    }


def _words(problems: Sequence[str]) -> str:
    more = len(problems) - _SAID
    return " ".join([*problems[:_SAID], *([f"And {more} more."] if more > 0 else [])])


def _metadata(health: Health) -> dict[str, Any]:
    columns = tuple(_row(health.oems[0])) if health.oems else ()
    return {
        "since": MetadataValue.text(f"{health.since:%Y-%m-%d %H:%M} UTC"),
        "missed ticks": len(health.missed),
        "orphans": len(health.orphans),
        "overlapping leases": len(health.overlaps),
        "stuck claims": len(health.stuck),
        "OEMs": text_table([_row(oem) for oem in health.oems], columns),
    }


def _row(oem: OemHealth) -> dict[str, Any]:
    queue = oem.queue
    return {
        "OEM": oem.oem,
        "ticks": str(oem.ticks_expected),
        "missed": str(len(oem.missed)),
        "made up": str(sum(missed.made_up_at is not None for missed in oem.missed)),
        "orphans": str(len(oem.orphans)),
        "overlaps": str(len(oem.overlaps)),
        "workers lost": str(oem.lost_workers),
        "stuck": str(len(oem.stuck)),
        "oldest ready": f"{queue.oldest_ready:%Y-%m-%d %H:%M}" if queue.oldest_ready else None,
        "oldest queued": f"{queue.oldest_queued:%Y-%m-%d %H:%M}" if queue.oldest_queued else None,
        "late": " and ".join(queue.late) or queue.quiet or None,
    }


def _dead_metadata(kinds: Sequence[DeadKind]) -> dict[str, Any]:
    rows = [
        {"OEM": k.oem, "reason": k.reason and str(k.reason), "pack": k.pack, "claims": str(k.claims)} for k in kinds
    ]
    return {
        "claims": sum(kind.claims for kind in kinds),
        "by reason": text_table(rows, ("OEM", "reason", "pack", "claims")),
    }
