"""Jobs, schedules and sensors. They only enqueue, or look: each is a few lines over a service."""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

import time
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

from dagster import (
    AssetMaterialization,
    AssetSelection,
    DagsterInstance,
    DagsterRunStatus,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    define_asset_job,
    schedule,
    sensor,
)

from oem_submissions.defs.assets import CRM_INTAKE, asset_keys, worker_name
from oem_submissions.defs.partitions import add_dealers, partition_key
from oem_submissions.defs.reading import reads_only
from oem_submissions.domain.records import DueLook, DueWork
from oem_submissions.domain.scheduling import Source
from oem_submissions.ports import ClaimRules
from oem_submissions.services.bound import Services
from oem_submissions.services.health import tell_of_loss

_MUTE_SECONDS = 300.0
"""A started run that has not beaten by then never will."""
UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def filing_job(rules: ClaimRules) -> Any:
    """The OEM's job: its three assets and their checks, one partition per run."""
    return define_asset_job(
        f"{rules.oem}_filing_job",
        selection=AssetSelection.assets(*asset_keys(rules.oem)),
        description=f"File {rules.oem}'s due claims, seal the evidence, tell the CRM.",
        tags={"oem": rules.oem},
    )


def enqueue_schedule(rules: ClaimRules, job: Any) -> ScheduleDefinition:
    """The OEM's cadence. It asks the ledger for dealers with due work, requests one run each, and returns.

    A tick that comes too late is left to `missed_ticks`. It is noted last, so that one that failed was none; the keys
    of its runs are the tick's, so that one that is evaluated twice asks for no run twice.
    """

    @schedule(
        name=f"{rules.oem}_enqueue",
        job=job,
        cron_schedule=rules.cadence.cron,
        execution_timezone=rules.cadence.timezone,
        default_status=DefaultScheduleStatus.RUNNING,
        required_resource_keys={"services"},
        description=f"Puts {rules.oem}'s due claims in the queue.",
    )
    def enqueue(context: ScheduleEvaluationContext) -> list[RunRequest] | SkipReason:
        services: Services = context.resources.services
        scheduled = context.scheduled_execution_time.astimezone(UTC)
        is_new, why_not = services.look_at_tick(rules.oem, scheduled)
        if why_not:
            return SkipReason(why_not)
        work = services.due(rules.oem, runs_under_way(context.instance, rules.oem))
        add_dealers(context.instance, rules.oem, (item.dealer for item in work))
        if is_new:
            services.ledger.record_tick(rules.oem, Source.SCHEDULE, scheduled, len(work), str(rules.cadence))
        requests = [run_request(item, f"{scheduled:%Y-%m-%dT%H:%MZ}:{item.dealer}:{item.period}") for item in work]
        return requests or SkipReason("Nothing is due that is not under way.")

    return enqueue


def missed_ticks_sensor(adapters: Mapping[str, ClaimRules]) -> SensorDefinition:
    """Makes up what no schedule asked for: its daemon was down, the ledger was, or a clock was wrong.

    All ticks that an OEM missed are one row in the queue's requests, in one transaction with the tick log: nothing is
    lost or asked for twice, whoever dies when. `enqueue_requests` answers.
    """

    @sensor(
        name="missed_ticks",
        minimum_interval_seconds=30,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
        asset_selection=AssetSelection.assets(CRM_INTAKE),
    )
    def missed_ticks(context: SensorEvaluationContext) -> SkipReason:
        services: Services = context.resources.services
        states = context.instance.all_instigator_state()
        stopped = {state.instigator_name for state in states if state.status.value == "STOPPED"}
        said = services.make_up_ticks({oem for oem in adapters if f"{oem}_enqueue" in stopped})
        return SkipReason(" ".join(said) or "No tick was missed.")

    return missed_ticks


def enqueue_requests_sensor(jobs: dict[str, Any]) -> SensorDefinition:
    """Answers `oem-submissions enqueue`: the same question as the schedules', asked from a shell or a CronJob.

    The run key is the request and the partition, never the business key: a tick that is evaluated twice asks for no
    run twice.
    """

    @sensor(
        name="enqueue_requests",
        jobs=list(jobs.values()),
        minimum_interval_seconds=2,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
    )
    def enqueue_requests(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        services = context.resources.services
        requests = services.ledger.enqueue_requests(after=int(context.cursor or 0))
        if not requests:
            return SkipReason("Nobody asked.")
        runs: dict[tuple[str, str, str], RunRequest] = {}
        for request in requests:
            under_way = runs_under_way(context.instance, request.oem)
            for item in services.due(request.oem, under_way, request.dealers, request.period):
                key = f"{request.request_id}:{item.dealer}:{item.period}"
                runs.setdefault((item.oem, item.dealer, item.period), run_request(item, key, jobs[item.oem].name))
        for oem, dealer, _ in runs:
            add_dealers(context.instance, oem, [dealer])
        return SensorResult(run_requests=list(runs.values()), cursor=str(requests[-1].request_id))

    return enqueue_requests


def crm_intake_sensor(every_seconds: int) -> SensorDefinition:
    """Takes due claims in from the CRM.

    A failed read is not an empty read: it is an error of the tick, and nothing follows from it.
    """

    @sensor(
        name="crm_intake",
        minimum_interval_seconds=every_seconds,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
        asset_selection=AssetSelection.assets(CRM_INTAKE),
    )
    def crm_intake(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        report = context.resources.services.take_in()
        if not (report.taken_in or report.amended or report.refused):
            return SkipReason("The CRM has nothing new that is due.")
        counts = {"taken in": len(report.taken_in), "amended": len(report.amended), "refused": len(report.refused)}
        return SensorResult(asset_events=[AssetMaterialization(CRM_INTAKE, metadata=counts)])

    return crm_intake


def new_dealers_sensor(oems: Iterable[str]) -> SensorDefinition:
    """Makes partitions for dealers that the ledger has claims of. It never removes one."""
    known = sorted(oems)

    @sensor(
        name="new_dealers",
        minimum_interval_seconds=30,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
        asset_selection=AssetSelection.assets(CRM_INTAKE),
    )
    def new_dealers(context: SensorEvaluationContext) -> SkipReason:
        ledger = context.resources.services.ledger
        new = [f"{oem}/{dealer}" for oem in known for dealer in add_dealers(context.instance, oem, ledger.dealers(oem))]
        return SkipReason(f"New dealers: {', '.join(new)}." if new else "No new dealer.")

    return new_dealers


def lost_workers_sensor(jobs: dict[str, Any]) -> SensorDefinition:
    """Puts right what lost workers left, by the side of the click, and tells people.

    The lease log says who was lost, also when a new run or `oem-submissions watch` took the account over first. The
    lost worker's Dagster run is marked failed, or it would keep its place in the queue for ever; the rest goes on.
    """

    @sensor(
        name="lost_workers",
        jobs=list(jobs.values()),
        minimum_interval_seconds=10,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
    )
    def lost_workers(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        services: Services = context.resources.services
        lost = services.recover(f"lost_workers@{worker_name()}", after=int(context.cursor or 0))
        accounts: dict[tuple[str, str], str] = {}
        for worker in lost:
            context.log.error(worker.sentence())
            _fail_run(context.instance, worker.lease.run_id, worker.sentence())
            accounts[worker.lease.oem, worker.lease.dealer] = worker.lease.run_id
        accounts |= _fail_silent_runs(context, services)
        for oem, dealer in accounts:
            add_dealers(context.instance, oem, [dealer])
        requests = [
            run_request(item, f"lost:{run_id}:{item.period}", jobs[oem].name)
            for (oem, dealer), run_id in accounts.items()
            for item in services.due(oem, runs_under_way(context.instance, oem), [dealer])
        ]
        cursor = str(lost[-1].lease.entry) if lost else context.cursor
        if not accounts:
            return SkipReason("Every worker is alive.")
        return SensorResult(run_requests=requests, cursor=cursor)

    return lost_workers


def breaker_probes_sensor(jobs: dict[str, Any]) -> SensorDefinition:
    """Requests one run for each OEM that is left alone and whose probe is due. The run probes before it files.

    Without a run key: a probe that was made moves the breaker, and one that is under way is not asked for again.
    """

    @sensor(
        name="breaker_probes",
        jobs=list(jobs.values()),
        minimum_interval_seconds=15,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
    )
    def breaker_probes(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        services: Services = context.resources.services
        requests = []
        for breaker in services.ledger.breakers():
            if breaker.oem not in jobs or not breaker.probe_is_due:
                continue
            due = services.due(breaker.oem, runs_under_way(context.instance, breaker.oem))
            add_dealers(context.instance, breaker.oem, (item.dealer for item in due))
            requests += [run_request(item, None, jobs[breaker.oem].name) for item in due]
        return SensorResult(run_requests=requests) if requests else SkipReason("No probe is due.")

    return breaker_probes


def reconcile_unknowns_sensor(jobs: dict[str, Any]) -> SensorDefinition:
    """Requests runs for partitions with held claims whose look into the portal's history is due."""

    @sensor(
        name="reconcile_unknowns",
        jobs=list(jobs.values()),
        minimum_interval_seconds=30,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
    )
    def reconcile_unknowns(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        ledger, requests = context.resources.services.ledger, []
        for oem, job in jobs.items():
            due = ledger.partitions_to_look_up(oem)
            under_way = runs_under_way(context.instance, oem) if due else set()
            idle = [look for look in due if (look.work.dealer, look.work.period) not in under_way]
            add_dealers(context.instance, oem, (look.work.dealer for look in idle))
            requests += [run_request(look.work, look_key(look), job.name) for look in idle]
        return SensorResult(run_requests=requests) if requests else SkipReason("No look is due that is not under way.")

    return reconcile_unknowns


def look_key(look: DueLook) -> str:
    """A run key per look, never the business key: Dagster remembers keys for ever.

    A run that died before its look began gets a successor after ten minutes.
    """
    return f"look:{look.claim_id}:{look.version}:{int(look.overdue_seconds // 600)}"


def runs_under_way(instance: DagsterInstance, oem: str) -> set[tuple[str, str]]:
    """(dealer, period) of every queued or running run of the OEM that may file, however it was launched."""
    runs = instance.get_runs(RunsFilter(tags={"oem": oem}, statuses=UNFINISHED))
    return {(run.tags.get("dealer", ""), run.tags.get("period", "")) for run in runs if reads_only(run) is None}


def run_request(work: DueWork, run_key: str | None = None, job_name: str | None = None) -> RunRequest:
    """A run for one unit of work, with the tags that the queue's limits and people look at."""
    return RunRequest(
        run_key=run_key,
        job_name=job_name,
        partition_key=partition_key(work.dealer, work.period),
        tags={
            "oem": work.oem,
            "dealer": work.dealer,
            "period": work.period,
            **({"dagster/priority": str(work.priority)} if work.priority else {}),
        },
    )


def _fail_silent_runs(context: SensorEvaluationContext, services: Services) -> dict[tuple[str, str], str]:
    """Runs whose process died while it held no account, sealing or telling the CRM; their accounts."""
    ledger, lost = services.ledger, {}
    for run_id, worker in ledger.silent_runs(services.settings.lease_seconds):
        run = context.instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            lost[run_id] = (run, f"Worker {worker}")
        ledger.forget_beats(run_id)
    for record in context.instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
        run, since = record.dagster_run, time.time() - (record.start_time or time.time())
        if "oem" in run.tags and since > _MUTE_SECONDS and run.run_id not in lost and not ledger.has_beaten(run.run_id):
            lost[run.run_id] = (run, "A worker that never said a word")
    for run_id, (run, who) in lost.items():
        why = f"{who} was lost in run {run_id}: nothing is filed twice, and what is left goes on."
        context.log.error(why)
        tell_of_loss(run_id, why, ledger, run.tags.get("oem"), run.tags.get("dealer"))
        _fail_run(context.instance, run_id, why)
    accounts = {(run.tags.get("oem", ""), run.tags.get("dealer", "")): run_id for run_id, (run, _) in lost.items()}
    return {account: run_id for account, run_id in accounts.items() if all(account)}


def _fail_run(instance: DagsterInstance, run_id: str, why: str) -> None:
    """A run whose worker is lost never ends by itself, and would hold its place in the queue for ever."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, why)
