"""The drift rules' runs as tables, for people. pandas, and nothing of it in the rules."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from oem_submissions.domain.drift import Verdict, baseline, success_drift, time_drift


def time_table(seconds: Sequence[float]) -> pd.DataFrame:
    """A line per run, newest first: seconds, the same by the baseline's median, the CUSUM, the rules that alarmed."""
    median = baseline(seconds, ()).median_seconds
    frame = pd.DataFrame({"seconds": pd.Series(seconds, dtype="float64")})
    frame["times the baseline"] = frame["seconds"] / median if median else frame["seconds"]
    return _with(frame, time_drift(seconds))


def success_table(outcomes: Sequence[bool], runs_a_day: float) -> pd.DataFrame:
    """A line per run, newest first: how it ended, the CUSUM, the rule that alarmed."""
    ended = ["well" if fine else "failed" for fine in outcomes]
    return _with(pd.DataFrame({"ended": pd.Series(ended, dtype="object")}), success_drift(outcomes, runs_a_day))


def _with(frame: pd.DataFrame, verdict: Verdict) -> pd.DataFrame:
    """The runs' numbers on the left; sum and alarms on the right."""
    frame["CUSUM"] = pd.Series(verdict.series, dtype="float64")
    frame["alarms"] = ""
    for alarm in verdict.alarms:
        told = str(frame.at[alarm.run - 1, "alarms"])
        frame.at[alarm.run - 1, "alarms"] = f"{told}, {alarm.rule}" if told else str(alarm.rule)
    frame.insert(0, "run", range(1, len(frame) + 1))
    return frame.iloc[::-1].reset_index(drop=True)
