"""A run launcher for measuring what surrounds runs."""

from __future__ import annotations

from typing import Any

from dagster import DagsterEvent, DagsterEventType
from dagster._core.launcher import LaunchRunContext, RunLauncher
from dagster._serdes import ConfigurableClass


class DoneAtOnce(RunLauncher, ConfigurableClass):
    """Says that a run succeeded, and does nothing."""

    def __init__(self, inst_data: Any = None) -> None:
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> Any:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> DoneAtOnce:
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        for kind in (DagsterEventType.RUN_START, DagsterEventType.RUN_SUCCESS):
            event = DagsterEvent(event_type_value=kind.value, job_name=run.job_name)
            self._instance.report_dagster_event(event, run.run_id)

    def terminate(self, run_id: str) -> bool:
        return False
