"""Starts runs in processes forked from a warm one; falls back to Dagster's own way, and says so.

A run launcher is Dagster's extension point; `dagster.yaml` names this class, and production on Kubernetes another.
Any process that has the instance may ask it for a worker's health or end: what it knows is on disk, see `warm_pool`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

from dagster import DagsterRun, DefaultRunLauncher, Field
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import ConfigurableClassData, serialize_value

from oem_submissions.defs.warm_pool import WarmPool, WarmUnavailable, Worker, pool_below
from oem_submissions.settings import warm_runs

log = logging.getLogger("oem_submissions.defs.run_launcher")
_AGAIN_SECONDS = 60.0
"""For so long after the server could not be reached it is not tried: the queue waits while it is."""
_TAIL = 20


class WarmRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher, but for where a run's process comes from."""

    def __init__(self, inst_data: ConfigurableClassData | None = None, **limits: float) -> None:
        super().__init__(inst_data)
        self._limits = limits
        self._not_before = 0.0

    @classmethod
    def config_type(cls) -> Any:
        """When an idle server ends; the memory of a worker with its browser above which it is ended, 0 for any."""
        return {
            "idle_minutes": Field(float, is_required=False, default_value=15.0),
            "memory_mib": Field(int, is_required=False, default_value=4096),
            "watch_seconds": Field(float, is_required=False, default_value=15.0),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> WarmRunLauncher:
        """From `dagster.yaml`."""
        limits = dict(config_value)
        return cls(inst_data, idle_seconds=60.0 * limits.pop("idle_minutes"), **limits)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Begin the run in a forked process; where there can be none, as Dagster does by itself."""
        if not warm_runs():
            return super().launch_run(context)
        run = context.dagster_run
        try:
            self._launch_warm(run)
        except WarmUnavailable as error:
            message = f"Not started from a warm process, but slowly, in Dagster's own way: {error}"
            log.error(message)  # noqa: TRY400 - the sentence says it all
            self._instance.report_engine_event(message, run, cls=type(self))
            super().launch_run(context)

    def _launch_warm(self, run: DagsterRun) -> None:
        origin = run.job_code_origin
        if origin is None or origin.repository_origin.executable_path != sys.executable:
            raise WarmUnavailable(f"The run's code wants another Python than {sys.executable}.")
        if time.monotonic() < self._not_before:
            raise WarmUnavailable(f"The warm server could not be reached less than {_AGAIN_SECONDS:.0f} s ago.")
        try:
            self._pool.launch(run.run_id, serialize_value(self._instance.get_ref()))
        except WarmUnavailable:
            self._not_before = time.monotonic() + _AGAIN_SECONDS
            raise

    def terminate(self, run_id: str) -> bool:
        """Ask the worker to end, as Ctrl-C does."""
        worker = self._worker(run_id)
        if worker is None:
            return bool(super().terminate(run_id))
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return worker.interrupt()

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's run monitoring asks."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether that very process lives, whoever started it; of one that Dagster's own way started nobody knows."""
        worker = self._worker(run.run_id)
        if worker is None:
            if GRPC_INFO_TAG in run.tags:
                return CheckRunHealthResult(WorkerStatus.RUNNING, "started in Dagster's own way, which can't tell")
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "no worker was ever started")
        if worker.alive:
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(worker.pid))
        code = worker.exit_code
        ended = "ended" if code is None else f"ended with code {code}"
        why = f": {worker.why_killed}" if worker.why_killed else ""
        status = WorkerStatus.NOT_FOUND if code is None else WorkerStatus.FAILED
        return CheckRunHealthResult(
            status, f"process {worker.pid} {ended}{why}", transient=False, run_worker_id=str(worker.pid)
        )

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """The end of what the worker wrote outside of its steps: where the reason stands when it died early."""
        worker = self._worker(run.run_id)
        if worker is None or not worker.log.exists():
            return None
        lines = worker.log.read_text(errors="replace").splitlines()[-_TAIL:]
        return "\n".join([f"The end of {worker.log}:", *lines]) if lines else None

    def _worker(self, run_id: str) -> Worker | None:
        return self._pool.worker(run_id) if self.has_instance else None

    @property
    def _pool(self) -> WarmPool:
        return pool_below(self._instance.root_directory, **self._limits)
