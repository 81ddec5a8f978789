"""What reads the portals' histories: dispositions and the nightly sweep. Nothing here files.

Both work under the account's lease, one run at a time per dealer, and read an account's history once.
"""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd
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
    DagsterRun,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Failure,
    MaterializeResult,
    MetadataValue,
    PreviewWarning,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    asset,
    asset_check,
    define_asset_job,
    schedule,
    sensor,
)

from oem_submissions.defs.assets import CrmNotTold, asset_keys, retry_policy, worker_name
from oem_submissions.defs.automation import UNFINISHED, run_request
from oem_submissions.defs.metadata import links, pin_tags, text_table
from oem_submissions.defs.partitions import add_dealers, dealers_of, partition_of, partition_tags, partitions_of
from oem_submissions.defs.reading import DISPOSITIONS, SWEEP, reads_only
from oem_submissions.domain.dispositions import Disposition, Standing
from oem_submissions.domain.failures import ConfigurationError, SubmissionError
from oem_submissions.domain.polling import DuePoll
from oem_submissions.domain.reasons import REASONS
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import FILED
from oem_submissions.domain.sweeping import Sweep
from oem_submissions.ports import ClaimRules
from oem_submissions.services.bound import Services
from oem_submissions.services.dispositions import Polled, poll_dispositions
from oem_submissions.services.submit import Partition
from oem_submissions.services.sweep import sweep_account

SWEEP_CRON = "10 5 * * *"
"""In the OEM's time zone: after its nightly batch and its maintenance, before the dealers' day."""


_AFTER_FILING = {"dagster/priority": "-1"}
"""In the queue, reading comes after filing: hundreds of accounts are swept at once."""
_CLAIM_COLUMNS = ("claim_id", "reference", "disposition", "the portal says", "since", "overdue")


class HistoryNotRead(Exception):
    """The portal's history could not be read; the run comes back to it. Nothing was concluded."""


# --- assets ------------------------------------------------------------------------------------------------------


def dispositions_asset(rules: ClaimRules, start: date, budget: int, retry_seconds: float) -> AssetsDefinition:
    """What the OEM decided of a partition's filed claims; a run polls the whole account, unless it was just read."""
    oem = rules.oem

    @asset(
        key=AssetKey([oem, DISPOSITIONS]),
        deps=[asset_keys(oem)[-1]],
        partitions_def=partitions_of(rules, start),
        retry_policy=retry_policy(budget, retry_seconds),
        required_resource_keys={"services"},
        group_name=oem,
        description="What the OEM decided of the filed claims, as its history says, and as the CRM was told.",
        kinds={"playwright", "postgres"},
        tags={"oem": oem},
        owners=["team:submissions"],
    )
    def dispositions(context: AssetExecutionContext) -> MaterializeResult:
        services: Services = context.resources.services
        partition = partition_of(context.op_execution_context, oem)
        polled = _with_portal(context, services, oem, partition.dealer, poll_dispositions)
        for problem in polled.problems:
            context.log.warning(problem)
        untold = services.tell_dispositions(partition, context.run.run_id, worker_name())
        if untold and context.op_execution_context.retry_number < budget:
            raise CrmNotTold("; ".join(f"{item.claim.claim_id}: {item.problem}" for item in untold))
        metadata = {"not taken by the CRM": len(untold), **_dispositions_metadata(services, partition, polled)}
        return MaterializeResult(metadata=metadata)

    return dispositions


def sweep_asset(rules: ClaimRules, budget: int, retry_seconds: float) -> AssetsDefinition:
    """What a dealer's history at the portal and the ledger say of each other. It reports, and moves nothing."""
    oem = rules.oem

    @asset(
        key=AssetKey([oem, SWEEP]),
        deps=[asset_keys(oem)[0]],
        partitions_def=dealers_of(oem),
        retry_policy=retry_policy(budget, retry_seconds),
        required_resource_keys={"services"},
        group_name=oem,
        description="The portal's history against the ledger, both ways: orphans, duplicates, missing and different.",
        kinds={"playwright", "postgres"},
        tags={"oem": oem},
        owners=["team:submissions"],
    )
    def history_sweep(context: AssetExecutionContext) -> MaterializeResult:
        services: Services = context.resources.services
        dealer = context.partition_key
        done = _with_portal(context, services, oem, dealer, sweep_account)
        if done.trouble and REASONS[done.trouble.reason].retries and context.op_execution_context.retry_number < budget:
            raise HistoryNotRead(str(done.trouble))
        context.log.info(done.sweep.text)
        return MaterializeResult(metadata=_sweep_metadata(services, dealer, done.sweep))

    return history_sweep


def _with_portal(
    context: AssetExecutionContext, services: Services, oem: str, dealer: str, work: Callable[[Any], Any]
) -> Any:
    """The work on the account, with its pins as the run's tags. A configuration that is wrong is not tried again."""
    try:
        with services.portals(context.run.run_id) as portals:
            portal = services.reading_portal(portals, oem)
            context.instance.add_run_tags(context.run.run_id, {"oem": oem, "dealer": dealer, **pin_tags(portal)})
            return work(services.reader(oem, dealer, context.run.run_id, worker_name(), portal))
    except ConfigurationError as error:
        raise Failure(str(error), allow_retries=False) from error
    except SubmissionError as error:  # the account is another run's
        context.log.warning(str(error))
        raise


def _dispositions_metadata(services: Services, partition: Partition, polled: Polled) -> dict[str, Any]:
    pairs = _standings(services, partition)
    counts = pd.Series([_word(standing) for _, standing in pairs], dtype="str").value_counts()
    rows = [
        {
            "claim_id": claim.claim_id,
            "reference": claim.reference,
            "disposition": _word(standing),
            "the portal says": standing.text if standing else "",
            "since": f"{standing.changed_at:%Y-%m-%d %H:%M}" if standing else "",
            "overdue": "yes" if standing and standing.overdue else "",
        }
        for claim, standing in pairs
    ]
    return {
        "history": polled.text,
        "changed in this account": len(polled.changed),
        "problems": MetadataValue.json(list(polled.problems)),
        **{str(word).lower().replace("_", " "): int(count) for word, count in counts.items()},
        "claims": text_table(rows, _CLAIM_COLUMNS),
        **links(services.settings, partition),
    }


def _sweep_metadata(services: Services, dealer: str, sweep: Sweep) -> dict[str, Any]:
    counts = pd.Series([str(finding.kind) for finding in sweep.findings], dtype="str").value_counts()
    rows = [
        {"kind": str(f.kind), "what": f.text, "claim_id": f.claim_id, "reference": f.reference} for f in sweep.findings
    ]
    return {
        "conclusive": sweep.conclusive,
        "history": sweep.text,
        **{str(kind).lower().replace("_", " "): int(count) for kind, count in counts.items()},
        "findings": text_table(rows, ("kind", "what", "claim_id", "reference")),
        "evidence desk": MetadataValue.url(f"{services.settings.desk_url}/?q={dealer}"),
    }


def _word(standing: Standing | None) -> str:
    return str(standing.disposition if standing else Disposition.UNDECIDED)


def _standings(services: Services, partition: Partition) -> list[tuple[Claim, Standing | None]]:
    known = services.ledger.standings(partition.oem, partition.dealer)
    return [(claim, known.get(claim.claim_id)) for claim in services.claims(partition) if claim.state in FILED]


# --- checks ------------------------------------------------------------------------------------------------------


def history_checks(rules: ClaimRules, start: date) -> list[AssetChecksDefinition]:
    """None of them blocks: nothing is made from what they look at."""
    oem = rules.oem
    partitions = partitions_of(rules, start)

    def check(name: str, description: str, on: str, of: Any) -> Callable[..., Any]:
        def declare(function: Callable[..., Any]) -> Any:
            with warnings.catch_warnings():
                # Partitioned checks are marked preview; we rely on them.
                warnings.simplefilter("ignore", PreviewWarning)
                return asset_check(
                    asset=AssetKey([oem, on]),
                    name=name,
                    description=description,
                    partitions_def=of,
                    required_resource_keys={"services"},
                )(function)

        return declare

    def standings_in(context: AssetCheckExecutionContext) -> list[tuple[Claim, Standing]]:
        pairs = _standings(context.resources.services, partition_of(context.op_execution_context, oem))
        return [(claim, standing) for claim, standing in pairs if standing is not None]

    @check("disposition_overdue", "Every filed claim was decided within the OEM's time.", DISPOSITIONS, partitions)
    def disposition_overdue(context: AssetCheckExecutionContext) -> AssetCheckResult:
        late = [(claim, standing) for claim, standing in standings_in(context) if standing.overdue]
        return _warning(late, "without a decision for too long: ask the OEM", "No decision is late.")

    @check("dispositions_understood", "Every decision is one that the pack knows and that may follow.", DISPOSITIONS,
           partitions)  # fmt: skip
    def dispositions_understood(context: AssetCheckExecutionContext) -> AssetCheckResult:
        strange = [(claim, standing) for claim, standing in standings_in(context) if _is_strange(standing)]
        what = "not understood: look at the claim, and add the portal's word to the next version of the pack"
        return _warning(strange, what, "Every decision is understood.")

    @check("crm_has_dispositions", "The CRM was told every decision, and read back.", DISPOSITIONS, partitions)
    def crm_has_dispositions(context: AssetCheckExecutionContext) -> AssetCheckResult:
        behind = [(claim, standing) for claim, standing in standings_in(context) if standing.needs_telling]
        return _warning(behind, "not known to the CRM yet; it is told again by itself", "The CRM knows every decision.")

    @check("no_orphans_or_duplicates", "The portal's history and the ledger agree.", SWEEP, dealers_of(oem))
    def no_orphans_or_duplicates(context: AssetCheckExecutionContext) -> AssetCheckResult:
        services: Services = context.resources.services
        return _judged(services.ledger.last_sweep(oem, context.op_execution_context.partition_key))

    return [disposition_overdue, dispositions_understood, crm_has_dispositions, no_orphans_or_duplicates]


def _is_strange(standing: Standing) -> bool:
    return not standing.expected or standing.disposition is Disposition.UNRECOGNISED


def _warning(found: Sequence[tuple[Claim, Standing]], what: str, fine: str) -> AssetCheckResult:
    said = "; ".join(
        f"{claim.claim_id} ({claim.reference}) is {standing.disposition}, '{standing.text}', {what}"
        for claim, standing in found
    )
    return AssetCheckResult(
        passed=not found, severity=AssetCheckSeverity.WARN, description=said or fine, metadata={"claims": len(found)}
    )


def _judged(sweep: Sweep | None) -> AssetCheckResult:
    """ERROR for what may cost money or was filed twice; WARN for what people keyed in, and where nothing is known."""
    if sweep is None:
        return AssetCheckResult(passed=False, severity=AssetCheckSeverity.WARN, description="It was never swept.")
    serious = [finding for finding in sweep.findings if finding.kind.serious]
    said = "; ".join(finding.text for finding in sweep.findings)
    return AssetCheckResult(
        passed=sweep.conclusive and not sweep.findings,
        severity=AssetCheckSeverity.ERROR if serious else AssetCheckSeverity.WARN,
        description=f"{said} {sweep.text}".strip(),
        metadata={"findings": len(sweep.findings), "serious": len(serious), "conclusive": sweep.conclusive},
    )


# --- jobs, schedule, sensor --------------------------------------------------------------------------------------


def dispositions_job(rules: ClaimRules) -> Any:
    """Polls one partition's account."""
    return define_asset_job(
        f"{rules.oem}_dispositions_job",
        selection=AssetSelection.assets(AssetKey([rules.oem, DISPOSITIONS])),
        description=f"Ask {rules.oem} what it decided of filed claims, and tell the CRM.",
        tags={"oem": rules.oem, **_AFTER_FILING},
    )


def sweep_job(rules: ClaimRules) -> Any:
    """Sweeps one dealer's account."""
    return define_asset_job(
        f"{rules.oem}_sweep_job",
        selection=AssetSelection.assets(AssetKey([rules.oem, SWEEP])),
        description=f"Hold {rules.oem}'s history against the ledger.",
        tags={"oem": rules.oem, **_AFTER_FILING},
    )


def sweep_schedule(rules: ClaimRules, job: Any) -> ScheduleDefinition:
    """Every night one run per account of the OEM, through the queue. It talks to no portal."""

    @schedule(
        name=f"{rules.oem}_sweep",
        job=job,
        cron_schedule=SWEEP_CRON,
        execution_timezone=rules.cadence.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        required_resource_keys={"services"},
        description=f"Holds {rules.oem}'s history against the ledger, account by account.",
    )
    def sweep(context: ScheduleEvaluationContext) -> list[RunRequest] | SkipReason:
        dealers = context.resources.services.ledger.dealers(rules.oem)
        busy = {dealer for dealer, _, name in _under_way(context.instance, rules.oem) if name == SWEEP}
        add_dealers(context.instance, rules.oem, dealers)
        wanted = [dealer for dealer in dealers if dealer not in busy]
        tags = {"oem": rules.oem}
        requests = [
            RunRequest(partition_key=dealer, tags={**tags, "dealer": dealer, **partition_tags(dealer)})
            for dealer in wanted
        ]
        return requests or SkipReason("No account has claims that is not being swept.")

    return sweep


def poll_dispositions_sensor(jobs: Mapping[str, Any]) -> SensorDefinition:
    """Requests runs for accounts whose history is due to be read, and for partitions whose CRM records are behind."""

    @sensor(
        name="poll_dispositions",
        jobs=list(jobs.values()),
        minimum_interval_seconds=60,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
    )
    def poll(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        services, requests = context.resources.services, []
        for oem, job in jobs.items():
            due = services.due_polls(oem)
            busy = (
                {(d, p) for d, p, name in _under_way(context.instance, oem) if name == DISPOSITIONS} if due else set()
            )
            idle = [poll for poll in due if (poll.work.dealer, poll.work.period) not in busy]
            add_dealers(context.instance, oem, (poll.work.dealer for poll in idle))
            requests += [run_request(poll.work, poll_key(poll), job.name) for poll in idle]
        return SensorResult(run_requests=requests) if requests else SkipReason("No history is due to be read.")

    return poll


def poll_key(poll: DuePoll) -> str:
    """A run key per read or change, never the business key: Dagster remembers keys for ever.

    A run that changed nothing, because it died or the CRM is down, gets successors after 10, 20, 40 … minutes.
    """
    tries = (max(int(poll.overdue_seconds), 0) // 600).bit_length()
    return f"poll:{poll.work.oem}:{poll.work.period}:{poll.what}:{tries}"


def _under_way(instance: DagsterInstance, oem: str) -> set[tuple[str, str, str]]:
    """(dealer, period, asset) of every queued or running run of the OEM that reads a history."""
    runs = instance.get_runs(RunsFilter(tags={"oem": oem}, statuses=UNFINISHED))
    return {(_tag(run, "dealer"), _tag(run, "period"), name) for run in runs if (name := reads_only(run)) is not None}


def _tag(run: DagsterRun, name: str) -> str:
    return run.tags.get(name, "")
