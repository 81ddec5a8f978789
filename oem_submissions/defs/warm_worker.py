"""What a process that was forked for a run does: executes it, as `dagster api execute_run` does; or reports its death.

Imported in the child and nowhere else. It uses what Dagster keeps to itself, each covered by a test: the body of that
command, its handling of interrupts, and the tail that copies captured output to a process's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterInstance, DagsterRunStatus
from dagster._cli.api import _execute_run_command_body
from dagster._core.execution import compute_logs
from dagster._core.instance import InstanceRef
from dagster._serdes import deserialize_value
from dagster._utils.interrupts import capture_interrupts


def execute(instance_ref: str, run_id: str) -> int:
    """Execute the run; its exit code."""
    compute_logs.tail_to_stream = _no_copy
    with capture_interrupts(), DagsterInstance.from_ref(deserialize_value(instance_ref, InstanceRef)) as instance:
        return _execute_run_command_body(run_id, instance, lambda event: None, set_exit_code_on_failure=True)


def report_death(instance_ref: str, run_id: str, code: int, why: str) -> None:
    """A worker that ended on its own said so itself; of one that was killed Dagster must be told."""
    with DagsterInstance.from_ref(deserialize_value(instance_ref, InstanceRef)) as instance:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return
        message = f"The run's worker ended with code {code}{f': {why}' if why else ''}."
        if run.status is DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, message)
        else:
            instance.report_run_failed(run, message)


@contextmanager
def _no_copy(path: str, stream: object) -> Iterator[tuple[None, None]]:
    """Captured output goes to its file alone: a copy in the daemon's log costs four processes a run."""
    yield None, None
