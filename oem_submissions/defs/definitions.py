"""Puts the Dagster objects of all OEMs together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import Definitions, ResourceDefinition, in_process_executor

from oem_submissions.defs.alerting import alerts_sensor
from oem_submissions.defs.assets import filing_assets, filing_ops, intake_asset
from oem_submissions.defs.automation import (
    breaker_probes_sensor,
    crm_intake_sensor,
    enqueue_requests_sensor,
    enqueue_schedule,
    filing_job,
    lost_workers_sensor,
    missed_ticks_sensor,
    new_dealers_sensor,
    reconcile_unknowns_sensor,
)
from oem_submissions.defs.checks import VerifyBundle, partition_checks
from oem_submissions.defs.evidence_log import (
    evidence_log_asset,
    evidence_log_checks,
    evidence_log_job,
    evidence_log_schedule,
)
from oem_submissions.defs.history import (
    dispositions_asset,
    dispositions_job,
    history_checks,
    poll_dispositions_sensor,
    sweep_asset,
    sweep_job,
    sweep_schedule,
)
from oem_submissions.defs.probe import probe_asset, probe_check, probe_job, probe_schedule
from oem_submissions.defs.pruning import prune_sensor
from oem_submissions.defs.queues import queue_sensors
from oem_submissions.defs.release import release_asset, release_checks, release_gate_sensor
from oem_submissions.defs.scheduler_health import (
    dead_letters_asset,
    scheduler_health_asset,
    scheduler_health_checks,
    scheduler_health_job,
    scheduler_health_sensor,
)
from oem_submissions.ports import ClaimRules
from oem_submissions.settings import Settings


def all_definitions(
    adapters: Mapping[str, ClaimRules], services: ResourceDefinition, verify: VerifyBundle, settings: Settings
) -> Definitions:
    """One asset group, job and schedule per OEM; the log; the sensors; and `services`, which all work through."""
    ops = filing_ops(settings.attempts_budget, settings.retry_seconds)
    jobs: dict[str, Any] = {oem: filing_job(rules) for oem, rules in adapters.items()}
    polls: dict[str, Any] = {oem: dispositions_job(rules) for oem, rules in adapters.items()}
    sweeps: dict[str, Any] = {oem: sweep_job(rules) for oem, rules in adapters.items()}
    probes: dict[str, Any] = {oem: probe_job(rules) for oem, rules in adapters.items()}
    again = (settings.attempts_budget, settings.retry_seconds)
    checks = [check for rules in adapters.values() for check in partition_checks(rules, settings.start_date, verify)]
    checks += [check for rules in adapters.values() for check in history_checks(rules, settings.start_date)]
    checks += [check for rules in adapters.values() for check in release_checks(rules)]
    checks += [probe_check(rules) for rules in adapters.values()]
    checks += evidence_log_checks()
    checks += scheduler_health_checks(adapters)
    log_job = evidence_log_job()
    return Definitions(
        assets=[
            intake_asset(),
            evidence_log_asset(),
            scheduler_health_asset(adapters),
            dead_letters_asset(),
            *(filing_assets(rules, settings.start_date, ops) for rules in adapters.values()),
            *(dispositions_asset(rules, settings.start_date, *again) for rules in adapters.values()),
            *(sweep_asset(rules, *again) for rules in adapters.values()),
            *(release_asset(rules) for rules in adapters.values()),
            *(probe_asset(rules) for rules in adapters.values()),
        ],
        asset_checks=checks,
        jobs=[log_job, scheduler_health_job(), *jobs.values(), *polls.values(), *sweeps.values(), *probes.values()],
        schedules=[
            evidence_log_schedule(log_job),
            *(enqueue_schedule(rules, jobs[oem]) for oem, rules in adapters.items()),
            *(sweep_schedule(rules, sweeps[oem]) for oem, rules in adapters.items()),
            *(probe_schedule(rules, probes[oem]) for oem, rules in adapters.items()),
        ],
        sensors=[
            crm_intake_sensor(settings.intake_seconds),
            new_dealers_sensor(adapters),
            prune_sensor(settings.run_retention_days),
            enqueue_requests_sensor(jobs),
            missed_ticks_sensor(adapters),
            scheduler_health_sensor(adapters),
            lost_workers_sensor(jobs),
            reconcile_unknowns_sensor(jobs),
            breaker_probes_sensor(jobs),
            release_gate_sensor(adapters, jobs, probes),
            poll_dispositions_sensor(polls),
            *queue_sensors(settings),
            alerts_sensor(adapters),
        ],
        resources={"services": services},
        executor=in_process_executor,
    )
