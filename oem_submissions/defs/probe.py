"""The probe of each OEM's portal, its check, job and schedule. Nothing here files."""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

from collections.abc import Sequence
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
    DagsterInstance,
    DefaultScheduleStatus,
    Failure,
    MaterializeResult,
    MetadataValue,
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

from oem_submissions.defs.assets import worker_name
from oem_submissions.defs.automation import UNFINISHED
from oem_submissions.defs.metadata import pictures, pin_tags, text_table
from oem_submissions.defs.reading import PROBE, reads_only
from oem_submissions.domain.contracts import ProbeRecord, Severity, probe_picture_key
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.ports import ClaimRules
from oem_submissions.services.bound import Services

PROBE_CRON = "40 * * * *"
"""In the OEM's time zone: before the batches, which begin at the full hour."""
_COLUMNS = ("severity", "form", "page", "what changed")


def probe_asset(rules: ClaimRules) -> AssetsDefinition:
    """What a walk through the portal found. It is made also when the probe is red: the check says so."""
    oem = rules.oem

    @asset(
        key=AssetKey([oem, PROBE]),
        required_resource_keys={"services"},
        group_name=oem,
        description="A walk up to every form's submit button: log-in, page contracts, locators. Nothing is filed.",
        kinds={"playwright", "postgres"},
        tags={"oem": oem},
        owners=["team:submissions"],
    )
    def portal_probe(context: AssetExecutionContext) -> MaterializeResult:
        services: Services = context.resources.services
        run = context.run
        dealer = run.tags.get("dealer") or services.dealer_to_probe(oem)
        try:
            with services.portals(run.run_id) as portals:
                records = []
                for pack in services.packs_to_probe(oem):
                    portal = portals.portal(oem, pack)
                    tags = {"oem": oem, **({"dealer": dealer} if dealer else {}), **pin_tags(portal)}
                    context.instance.add_run_tags(run.run_id, tags)
                    records.append(services.probe(oem, dealer, run.run_id, worker_name(), portal))
                    context.log.info(f"Pack {records[-1].pins.pack_version}: {records[-1].text}")
        except ConfigurationError as error:
            raise Failure(str(error), allow_retries=False) from error
        return MaterializeResult(metadata=_metadata(services, _worst(records)))

    return portal_probe


def probe_check(rules: ClaimRules) -> AssetChecksDefinition:
    """ERROR when nothing should be filed, WARN when claims are filed but runs are not clean."""
    oem = rules.oem

    @asset_check(
        asset=AssetKey([oem, PROBE]),
        name="portal_contract",
        description="The log-in works, and every page is as its contract says.",
        required_resource_keys={"services"},
    )
    def portal_contract(context: AssetCheckExecutionContext) -> AssetCheckResult:
        services: Services = context.resources.services
        records = services.ledger.probes(oem)
        own = [record for record in records if record.run_id == context.op_execution_context.run_id]
        if not records:
            return AssetCheckResult(
                passed=False, severity=AssetCheckSeverity.WARN, description="It was never probed: run the probe's job."
            )
        record = _worst(own or records[:1])
        return AssetCheckResult(
            passed=not record.red and record.worst is not Severity.WARN,
            severity=AssetCheckSeverity.ERROR if record.red else AssetCheckSeverity.WARN,
            description=record.text,
            metadata=_metadata(services, record),
        )

    return portal_contract


def _worst(records: Sequence[ProbeRecord]) -> ProbeRecord:
    """Of the packs that were probed: the one that people have to look at."""
    return max(records, key=lambda record: (record.red, record.worst is Severity.WARN))


def _metadata(services: Services, record: ProbeRecord) -> dict[str, Any]:
    rows = [dict(zip(_COLUMNS, (str(c.severity), c.form, c.page, c.words), strict=True)) for c in record.changes]
    return {
        "pack": record.pins.pack_version,
        "verdict": "red" if record.red else "green",
        "found": record.text,
        "dealer": record.dealer,
        "seconds": MetadataValue.float(round(record.seconds, 1)),
        "changes": text_table(rows, _COLUMNS),
        **pictures(services, "changed pages", probe_picture_key(record, "")),
    }


def probe_job(rules: ClaimRules) -> Any:
    """Probes the portal once."""
    return define_asset_job(
        f"{rules.oem}_probe_job",
        selection=AssetSelection.assets(AssetKey([rules.oem, PROBE])),
        description=f"Walk through {rules.oem}'s portal up to the submit button, and file nothing.",
        tags={"oem": rules.oem},
    )


def probe_schedule(rules: ClaimRules, job: Any) -> ScheduleDefinition:
    """One run an hour, through the queue. It talks to no portal."""

    @schedule(
        name=f"{rules.oem}_probe",
        job=job,
        cron_schedule=PROBE_CRON,
        execution_timezone=rules.cadence.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        required_resource_keys={"services"},
        description=f"Looks whether {rules.oem}'s portal is as its pack says, before claims are filed.",
    )
    def probe(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
        services: Services = context.resources.services
        if _is_under_way(context.instance, rules.oem):
            return SkipReason("A probe is under way.")
        dealer = services.dealer_to_probe(rules.oem)
        if dealer is None:
            return SkipReason("No dealer has a log-in that works.")
        return RunRequest(tags={"oem": rules.oem, "dealer": dealer})

    return probe


def _is_under_way(instance: DagsterInstance, oem: str) -> bool:
    runs = instance.get_runs(RunsFilter(tags={"oem": oem}, statuses=UNFINISHED))
    return any(reads_only(run) == PROBE for run in runs)
