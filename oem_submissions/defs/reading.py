"""Which runs file nothing: they read a portal's history, or probe it. They share accounts with filing runs."""

from __future__ import annotations

from dagster import DagsterRun

DISPOSITIONS = "dispositions"
SWEEP = "history_sweep"
PROBE = "portal_probe"
_JOBS = {"dispositions_job": DISPOSITIONS, "sweep_job": SWEEP, "probe_job": PROBE}


def reads_only(run: DagsterRun) -> str | None:
    """The name of the one asset that such a run makes, however it was launched; None for any other run."""
    for ending, name in _JOBS.items():
        if run.job_name.endswith(f"_{ending}"):
            return name
    names = {key.path[-1] for key in run.asset_selection or ()}
    return names.pop() if len(names) == 1 and names <= set(_JOBS.values()) else None
