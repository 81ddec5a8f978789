"""Which runs only read a portal's history. They share a dealer's account with filing runs, and are none."""

from __future__ import annotations

from dagster import DagsterRun

DISPOSITIONS = "dispositions"
SWEEP = "history_sweep"
_JOBS = {"dispositions_job": DISPOSITIONS, "sweep_job": SWEEP}


def reads_only(run: DagsterRun) -> str | None:
    """The name of the one asset that such a run makes, however it was launched; None for any other run."""
    for ending, name in _JOBS.items():
        if run.job_name.endswith(f"_{ending}"):
            return name
    names = {key.path[-1] for key in run.asset_selection or ()}
    return names.pop() if len(names) == 1 and names <= set(_JOBS.values()) else None
