"""Whether a release drifts: its runs as the statistics want them, and what follows from an alarm.

Slow-downs degrade a release: it goes on, and people are told. Failures above the service level suspend it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from oem_submissions.domain.breaker import is_fault
from oem_submissions.domain.drift import VERIFICATION, Baseline, Rule, Verdict, baseline, success_drift, time_drift
from oem_submissions.domain.records import AlertKind, NewAlert, RunMeasure
from oem_submissions.domain.releases import Cause, Note, Release
from oem_submissions.ports import Ledger
from oem_submissions.services.release import drift_key, suspend

_ACTOR = "drift"
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Drift:
    """A release's runs against its own baseline and the service level."""

    baseline: Baseline
    time: Verdict
    success: Verdict
    timed: tuple[RunMeasure, ...]
    """The runs behind `time`, oldest first."""
    seconds: tuple[float, ...]
    """Of each of them: the median of its filings."""
    outcomes: tuple[bool, ...]
    """The runs behind `success`, oldest first: whether each went without a fault of portal or robot."""
    runs_a_day: float

    @property
    def is_slower(self) -> bool:
        """Whether an alarm of the times holds. One run that took far too long is forgotten after five that did not."""
        if not self.time.alarm:
            return False
        newest = self.time.alarms[-1]
        return newest.rule is not Rule.CAP or newest.run > len(self.seconds) - VERIFICATION


def drift_of(ledger: Ledger, release: Release) -> Drift:
    """The statistics over the release's runs since its baseline began."""
    measures = ledger.run_measures(release)
    timed = [m for m in measures if m.seconds]
    seconds = [max(statistics.median(m.seconds), 1e-3) for m in timed]
    since, often = release.judged_since, _runs_a_day(measures)
    outcomes = _outcomes([m for m in measures if since is None or m.started_at > since])
    return Drift(
        baseline(seconds, _outcomes(measures)),
        time_drift(seconds),
        success_drift(outcomes, often),
        tuple(timed),
        tuple(seconds),
        tuple(outcomes),
        often,
    )


def watch_drift(ledger: Ledger, release: Release) -> list[str]:
    """Note what the statistics say of a release in production; what happened, a sentence each."""
    if not release.is_production:
        return []
    found, happened = drift_of(ledger, release), []
    if found.success.alarm and Cause.DRIFT not in release.suspended_by:
        if suspend(ledger, release, Cause.DRIFT, _ACTOR, found.success.why):
            happened.append(f"{release.oem}: release {release.name} is suspended: {found.success.why}")
    elif found.is_slower and not release.drifts:
        if ledger.note_release(release, Note.DEGRADED, _ACTOR, found.time.why):
            text = f"Release {release.name} of {release.oem} drifts: {found.time.why}"
            ledger.raise_alert(NewAlert(drift_key(release), AlertKind.DRIFT, text, release.oem))
            happened.append(text)
    elif (
        release.drifts
        and not found.is_slower
        and ledger.note_release(release, Note.RECOVERED, _ACTOR, "The runs since are as fast as in the baseline.")
    ):
        ledger.resolve_alert(drift_key(release))
        happened.append(f"{release.oem}: release {release.name} is as fast as in its baseline again.")
    return happened


def _outcomes(measures: Sequence[RunMeasure]) -> list[bool]:
    """Whether each run went without a fault of portal or robot; a run that says nothing of them is left out."""
    told = ([fault for ending in m.endings if (fault := is_fault(ending)) is not None] for m in measures)
    return [not any(faults) for faults in told if faults]


def _runs_a_day(measures: Sequence[RunMeasure]) -> float:
    if not measures:
        return 0.0
    last = measures[-1].started_at
    recent = [m for m in measures if m.started_at > last - _WEEK]
    days = max((last - recent[0].started_at) / timedelta(days=1), 1.0)
    return len(recent) / days
