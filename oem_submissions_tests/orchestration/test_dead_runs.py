"""A run whose process is gone gives its place in the queue back, and its work is asked for again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRunStatus, build_sensor_context
from dagster._core.definitions.partitions.context import partition_loading_context

from oem_submissions import wiring
from oem_submissions.defs.assets import WORKER
from oem_submissions.defs.dead_runs import is_gone, worker_of
from oem_submissions.defs.partitions import add_dealers
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.orchestration.test_filing_runs import OEM, PERIOD, Everything, everything

__all__ = ["everything"]

HOST = socket.gethostname()


def tick(everything: Everything, name: str = "dead_runs") -> Any:
    sensor = everything.defs.resolve_sensor_def(name)
    with (
        partition_loading_context(dynamic_partitions_store=everything.instance),
        wiring.build(everything.settings, **everything.parts) as services,
        build_sensor_context(
            instance=everything.instance,
            resources={"services": services},
            sensor_name=name,
            repository_def=everything.defs.get_repository_def(),
        ) as context,
    ):
        return sensor.evaluate_tick(context)


def a_started_run(everything: Everything, pid: int) -> str:
    """A run as Dagster has it whose worker has begun to work on it."""
    instance = everything.instance
    add_dealers(instance, OEM, ["10234"])
    job = everything.defs.resolve_job_def("aurora_filing_job")
    tags = {"oem": OEM, "dealer": "10234", "period": PERIOD}
    run = instance.create_run_for_job(job, tags=tags, status=DagsterRunStatus.STARTING)
    instance.report_dagster_event(DagsterEvent(DagsterEventType.RUN_START.value, job.name), run.run_id)
    instance.add_run_tags(run.run_id, {WORKER: f"{HOST}:{pid}/{run.run_id}"})
    return run.run_id


@pytest.fixture
def dead() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


def status(everything: Everything, run_id: str) -> DagsterRunStatus:
    run = everything.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_whose_process_is_gone_fails_and_what_is_left_of_its_work_is_asked_for(
    everything: Everything, dead: int
) -> None:
    everything.add(1)
    everything.take_in()
    run_id = a_started_run(everything, dead)
    (request,) = tick(everything).run_requests
    assert status(everything, run_id) is DagsterRunStatus.FAILURE
    assert (request.partition_key, request.job_name) == (f"10234|{PERIOD}", "aurora_filing_job")
    assert tick(everything).run_requests == []


def test_a_run_that_is_alive_is_left_alone(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    run_id = a_started_run(everything, os.getpid())
    assert tick(everything).run_requests == []
    assert status(everything, run_id) is DagsterRunStatus.STARTED


def test_every_run_says_which_process_it_is(everything: Everything) -> None:
    result = everything.run()
    run = everything.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert worker_of(run.tags[WORKER], run.run_id) == f"{HOST}:{os.getpid()}"
    assert worker_of(run.tags[WORKER], "the re-execution that inherited the tag") is None


@pytest.mark.parametrize(
    ("worker", "born", "gone"),
    [
        (f"{HOST}:7", 90.0, False),
        (f"{HOST}:7", None, True),
        (f"{HOST}:7", 101.0, True),  # another process got its id
        ("elsewhere:7", None, False),
    ],
)
def test_a_run_is_gone_when_its_process_is_or_another_has_its_id(worker: str, born: float | None, gone: bool) -> None:
    assert is_gone(worker, started=100.0, now=200.0, born=lambda _: born) is gone


def test_a_run_that_never_says_which_process_it_is_is_gone_after_a_while() -> None:
    now = time.time()
    assert not is_gone(None, started=now - 60, now=now, born=lambda _: None)
    assert is_gone(None, started=now - 600, now=now, born=lambda _: None)


def test_two_accounts_whose_workers_were_lost_at_once_both_get_a_run(everything: Everything) -> None:
    dealers = ["10234", "10871"]
    add_dealers(everything.instance, OEM, dealers)
    for number, dealer in enumerate(dealers):
        everything.ledger.add_claim(new_claim(number, dealer=dealer))
        assert everything.ledger.acquire_lease(OEM, dealer, f"run-{dealer}", "host:1", 0) is not None
    requests = tick(everything, "lost_workers").run_requests
    assert sorted(request.partition_key for request in requests) == [f"{dealer}|{PERIOD}" for dealer in dealers]
    assert len({request.run_key for request in requests}) == 2  # Dagster makes one run of one key
