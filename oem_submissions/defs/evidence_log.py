"""The evidence log in Dagster: an asset that is stamped and looked at hourly, and its checks. No claim waits for it."""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

from typing import Any

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    DefaultScheduleStatus,
    MaterializeResult,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    asset,
    asset_check,
    define_asset_job,
    schedule,
)

from oem_submissions.defs.automation import UNFINISHED
from oem_submissions.ports import SigningUnavailable, TimestampRefused, TimestampUnavailable
from oem_submissions.services.bound import Services

EVIDENCE_LOG = AssetKey("evidence_log")
STAMP_CRON = "5 * * * *"
_JOB = "evidence_log_job"


def evidence_log_asset() -> AssetsDefinition:
    """How far the log reaches. It is made also when no stamp is to be had: the check says so."""

    @asset(
        key=EVIDENCE_LOG,
        required_resource_keys={"services"},
        group_name="evidence",
        description="The Merkle log of all bundles: its newest checkpoint is time-stamped by an authority.",
        kinds={"postgres"},
        owners=["team:submissions"],
    )
    def evidence_log(context: AssetExecutionContext) -> MaterializeResult:
        services: Services = context.resources.services
        trouble = ""
        try:
            services.stamp_log()
        except (TimestampUnavailable, TimestampRefused) as error:
            trouble = str(error)
            context.log.warning(trouble)
        newest, stamp = services.log_head()
        return MaterializeResult(
            metadata={
                "bundles": newest.size if newest else 0,
                "newest checkpoint": newest.note if newest else "none",
                "time-stamped up to": stamp.size if stamp else 0,
                "time-stamped at": stamp.stamp.stamped_at.isoformat() if stamp else "never",
                "trouble": trouble or "none",
            }
        )

    return evidence_log


def evidence_log_checks() -> list[AssetChecksDefinition]:
    """That the log continues what was signed, and that an authority saw it lately."""

    @asset_check(
        asset=EVIDENCE_LOG,
        name="log_consistent",
        description="The newest checkpoint is signed by our key, and continues the one that was time-stamped.",
        required_resource_keys={"services"},
    )
    def log_consistent(context: AssetCheckExecutionContext) -> AssetCheckResult:
        services: Services = context.resources.services
        try:
            problems = services.log_problems()
        except SigningUnavailable as error:
            problems = [f"The log's signatures can't be checked: {error}"]
        said = " ".join([*problems, "Run `oem-submissions evidence audit`."]) if problems else "It continues."
        return AssetCheckResult(passed=not problems, severity=AssetCheckSeverity.ERROR, description=said)

    @asset_check(
        asset=EVIDENCE_LOG,
        name="log_stamped",
        description="A time-stamp authority saw the newest checkpoint.",
        required_resource_keys={"services"},
    )
    def log_stamped(context: AssetCheckExecutionContext) -> AssetCheckResult:
        services: Services = context.resources.services
        newest, stamp = services.log_head()
        behind = (newest.size if newest else 0) - (stamp.size if stamp else 0)
        if services.timestamps is None:
            said = "No authority is set: OEM_SUBMISSIONS_TSA_URL."
        else:
            said = f"{behind} bundles are not time-stamped yet: see the run's log." if behind else "All of it."
        passed = services.timestamps is None or behind == 0
        return AssetCheckResult(passed=passed, severity=AssetCheckSeverity.WARN, description=said)

    return [log_consistent, log_stamped]


def evidence_log_job() -> Any:
    """Stamps the log and looks at it once."""
    return define_asset_job(
        _JOB,
        selection=AssetSelection.assets(EVIDENCE_LOG),
        description="Have the evidence log's newest checkpoint time-stamped, and see that the log is consistent.",
    )


def evidence_log_schedule(job: Any) -> ScheduleDefinition:
    """A run an hour, when there is something new to stamp or to look at. The tick itself asks no authority."""

    @schedule(
        name="evidence_log",
        job=job,
        cron_schedule=STAMP_CRON,
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        required_resource_keys={"services"},
        description="Has the evidence log's newest checkpoint time-stamped.",
    )
    def evidence_log(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        services: Services = context.resources.services
        newest, stamp = services.log_head()
        if newest is None:
            return SkipReason("Nothing is logged yet.")
        if context.instance.get_runs(RunsFilter(job_name=_JOB, statuses=UNFINISHED)):
            return SkipReason("A run is at it.")
        if services.timestamps is not None and (stamp is None or stamp.size < newest.size):
            return RunRequest()
        # Dagster remembers the key: a log that has not grown is looked at once.
        return RunRequest(run_key=f"evidence log {newest.size}")

    return evidence_log
