"""Runs whose process is gone, on this machine: without this they would hold their place in the queue for ever.

A worker that dies with the account's lease is found by the lease (`lost_workers`). One that dies before it, or while it
seals or tells the CRM, is found here, by its process: Dagster's default launcher looks after none whose code server
died with it. On Kubernetes the launcher does.
"""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

import socket
import time
from collections.abc import Callable
from typing import Any

import psutil
from dagster import (
    DagsterRunStatus,
    DefaultSensorStatus,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from oem_submissions.defs.assets import WORKER
from oem_submissions.defs.automation import run_request, runs_under_way
from oem_submissions.services.bound import Services

_NAMELESS_SECONDS = 300.0
"""A run that has not said so by then never will."""


def dead_runs_sensor(jobs: dict[str, Any]) -> SensorDefinition:
    """Fails runs whose process is gone, and asks for the rest of their work."""

    @sensor(
        name="dead_runs",
        jobs=list(jobs.values()),
        minimum_interval_seconds=15,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
    )
    def dead_runs(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        services: Services = context.resources.services
        requests = []
        for record in context.instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
            run, started = record.dagster_run, record.start_time
            oem, dealer = run.tags.get("oem"), run.tags.get("dealer")
            worker = worker_of(run.tags.get(WORKER), run.run_id)
            if oem not in jobs or dealer is None or started is None:
                continue
            if not is_gone(worker, started, time.time(), _born):
                continue
            why = f"The process of this run ({worker or 'which never said what it is'}) is gone; its work goes on."
            context.log.error(f"Run {run.run_id} of {oem}/{dealer}: {why}")
            context.instance.report_run_failed(run, why)
            requests += [
                run_request(item, f"dead:{run.run_id}:{item.period}", jobs[oem].name)
                for item in services.due(oem, runs_under_way(context.instance, oem), [dealer])
            ]
        return SensorResult(run_requests=requests) if requests else SkipReason("No run is dead that left work.")

    return dead_runs


def worker_of(tag: str | None, run_id: str) -> str | None:
    """Host and pid of the run's process; None while it has not said so, whatever the run before it said."""
    worker, _, of = (tag or "").rpartition("/")
    return worker if of == run_id else None


def is_gone(worker: str | None, started: float, now: float, born: Callable[[int], float | None]) -> bool:
    """Whether a run's process is no more. Times are UNIX seconds; of another host's process nothing is known.

    `born`: when the process with this id was started; None when there is none. One that is younger than the run is
    another that got its id.
    """
    if worker is None:
        return now - started > _NAMELESS_SECONDS
    host, _, pid = worker.rpartition(":")
    if host != socket.gethostname():
        return False
    since = born(int(pid))
    return since is None or since > started


def _born(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
