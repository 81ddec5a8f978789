"""Whether an OEM's runs fail more often, or take longer, than they should. Pure: no clock, no ledger.

Three rules watch the seconds of a release's runs, one its outcomes. The baseline is frozen at 30 runs; what moves it is
a new release or a recorded act, after which the caller passes the runs since. What each constant costs (false alarms,
delay) is simulated by `make bench BENCH_ARGS=drift`, with these same functions.

Arrays have the runs on their first axis, oldest first; further axes are releases of their own.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

Array = NDArray[np.float64]

FAILURE, SUCCESS = 24.0, -1.0
"""Steps of the Bernoulli CUSUM: the log-likelihood ratios of 10 % failures against 1 %, as whole numbers."""
SUCCESS_LIMIT, BUSY_SUCCESS_LIMIT = 58.0, 68.0
"""An alarm at the third failure in a row; the higher one is for OEMs with more than `BUSY` runs a day."""
BUSY = 50.0

BASELINE = 30
"""Runs after which the baseline is frozen."""
VERIFICATION = 5
"""Runs of the release gate."""
PRIOR_SD, PRIOR_FREEDOM = 0.3, 10.0
"""What is known of the seconds' spread (of their logarithms) before the first run, and how many runs that is worth."""
WINSOR = 2.5
"""A single run counts no more than this many standard deviations."""
REFERENCE = 0.5
"""The CUSUM's k: half of the slow-down, in standard deviations, that it is made for."""
TIME_LIMIT = 8.0
"""The CUSUM's h."""
PROVISIONAL_LIMIT, PROVISIONAL_UNTIL = 2.5, 40
"""Standard errors, and the last run that the provisional test looks at."""
CAP = 3.0
"""Times the baseline's median: one run is enough."""


class Rule(StrEnum):
    """What raised an alarm."""

    FAILURES = "failures"  # the CUSUM of outcomes
    SLOWER = "slower"  # the CUSUM of seconds
    SLOWER_THAN_VERIFIED = "slower than verified"  # the provisional test against the release gate's runs
    CAP = "cap"  # one run far too long


@dataclass(frozen=True)
class Alarm:
    """One alarm. A longer series has it, too: only a new baseline takes it away."""

    run: int
    """From 1."""
    rule: Rule
    why: str
    """What is so, and what to do."""


@dataclass(frozen=True)
class Verdict:
    """What a series says, up to its last run."""

    alarms: tuple[Alarm, ...]
    """Oldest first."""
    why: str
    """Of the newest alarm; without one, how things stand."""
    series: tuple[float, ...]
    """The CUSUM after every run. It begins anew after it reached its limit."""
    limit: float

    @property
    def alarm(self) -> bool:
        """Whether there is any."""
        return bool(self.alarms)

    @property
    def statistic(self) -> float:
        """The CUSUM after the last run."""
        return self.series[-1] if self.series else 0.0


@dataclass(frozen=True)
class Baseline:
    """What a release's first runs say, `BASELINE` of them at most: later ones do not move it."""

    runs: int
    """How many times it rests on."""
    median_seconds: float | None
    mean_log: float | None
    """Of the natural logarithms of the seconds, with single runs winsorised."""
    sd_log: float
    """Pooled with the prior."""
    success_rate: float | None
    wilson: tuple[float, float]
    """The 95 % interval of the success rate (E. B. Wilson, 1927)."""

    @property
    def frozen(self) -> bool:
        """Whether it has all its runs."""
        return self.runs >= BASELINE


@dataclass(frozen=True)
class Moments:
    """Running mean and spread of log seconds, pooled with the prior spread."""

    runs: int
    mean: Array
    squares: Array
    """Sum of squared deviations."""

    @classmethod
    def of_first(cls, logs: Array) -> Moments:
        """Of the first run of each release."""
        return cls(1, logs[0], np.zeros_like(logs[0]))

    @property
    def freedom(self) -> float:
        """Degrees of freedom."""
        return PRIOR_FREEDOM + self.runs - 1

    @property
    def sd(self) -> Array:
        """Standard deviation."""
        pooled: Array = np.sqrt((PRIOR_FREEDOM * PRIOR_SD**2 + self.squares) / self.freedom)
        return pooled

    @property
    def prediction_error(self) -> Array:
        """Standard error of the next run's log."""
        return self.sd * math.sqrt(1 + 1 / self.runs)

    def score(self, logs: Array) -> Array:
        """Standard normal while nothing changes, at most `WINSOR` either way."""
        normal: Array = ndtri(stdtr(self.freedom, (logs - self.mean) / self.prediction_error))
        return np.clip(normal, -WINSOR, WINSOR)

    def add(self, log: Array) -> Moments:
        """With one more run, winsorised: one hanging run would widen the spread for the whole release."""
        reach = stdtrit(self.freedom, ndtr(WINSOR)) * self.prediction_error
        kept = np.clip(log, self.mean - reach, self.mean + reach)
        mean = self.mean + (kept - self.mean) / (self.runs + 1)
        return Moments(self.runs + 1, mean, self.squares + (kept - self.mean) * (kept - mean))


def moments(logs: Array) -> Moments:
    """Of the baseline's runs."""
    known = Moments.of_first(logs)
    for log in logs[1:BASELINE]:
        known = known.add(log)
    return known


def scores(logs: Array) -> Array:
    """How far each run is from those before it, or from the frozen baseline, as normal scores; the first is 0.

    Self-starting (D. M. Hawkins and D. H. Olwell, Cumulative Sum Charts and Charting for Quality Improvement, 1998).
    """
    known, scored = Moments.of_first(logs), np.zeros_like(logs)
    for run, log in enumerate(logs[1:BASELINE], start=1):
        scored[run] = known.score(log)
        known = known.add(log)
    scored[BASELINE:] = known.score(logs[BASELINE:])
    return scored


def cusum(steps: Array, limit: float) -> Array:
    """The sum of the steps after every run, never below 0. After it reached the limit, it begins anew at 0."""
    series, level = np.empty_like(steps), np.zeros_like(steps[:1].sum(axis=0))
    for run, step in enumerate(steps):
        series[run] = np.maximum(level + step, 0.0)
        level = np.where(series[run] >= limit, 0.0, series[run])
    return series


def success_steps(outcomes: NDArray[np.bool_]) -> Array:
    """The Bernoulli CUSUM's steps."""
    return np.where(outcomes, SUCCESS, FAILURE)


def time_steps(logs: Array) -> Array:
    """The steps of the CUSUM of log seconds: only slow-downs add up."""
    return scores(logs) - REFERENCE


def provisional(logs: Array) -> Array:
    """By how many standard errors, under the prior, the runs since verification are slower than those of it.

    Their median against the mean of the five. 0 for the runs of verification and after run `PROVISIONAL_UNTIL`. It
    finds what the CUSUM takes for its baseline: a change right after verification.
    """
    errors, verified = np.zeros_like(logs), logs[:VERIFICATION].mean(axis=0)
    for run in range(VERIFICATION, min(len(logs), PROVISIONAL_UNTIL)):
        since = logs[VERIFICATION : run + 1]
        error = PRIOR_SD * math.sqrt(1 / VERIFICATION + math.pi / 2 / len(since))
        errors[run] = (np.median(since, axis=0) - verified) / error
    return errors


def capped(seconds: Array) -> Array:
    """Each run as a multiple of the baseline's median before it; 0 for the runs of verification."""
    multiples = np.zeros_like(seconds)
    for run in range(VERIFICATION, min(len(seconds), BASELINE)):
        multiples[run] = seconds[run] / np.median(seconds[:run], axis=0)
    if len(seconds) > BASELINE:
        multiples[BASELINE:] = seconds[BASELINE:] / np.median(seconds[:BASELINE], axis=0)
    return multiples


def success_limit(runs_a_day: float) -> float:
    """The limit of the Bernoulli CUSUM: busy OEMs get a higher one, or they would see an alarm a month for nothing."""
    return BUSY_SUCCESS_LIMIT if runs_a_day > BUSY else SUCCESS_LIMIT


def success_drift(outcomes: Sequence[bool], runs_a_day: float) -> Verdict:
    """Whether more runs fail than the service level (1 %) allows.

    `outcomes`: oldest first, True for a run without a fault of portal or robot. The caller leaves business rejections
    out: they are a series of their own.
    """
    limit = success_limit(runs_a_day)
    series = cusum(success_steps(np.asarray(outcomes, dtype=np.bool_)), limit)
    alarms = tuple(
        Alarm(run + 1, Rule.FAILURES, _failing(outcomes, _rise(series, run, limit), run))
        for run in _runs(series >= limit)
    )
    failed = len(outcomes) - sum(outcomes)
    quiet = f"No drift: {failed} of {len(outcomes)} runs failed."
    return Verdict(alarms, alarms[-1].why if alarms else quiet, tuple(series.tolist()), limit)


def time_drift(seconds: Sequence[float]) -> Verdict:
    """Whether submitting takes longer than in the baseline.

    `seconds`: of all runs of the release since its baseline began, oldest first, above 0; else `ValueError`.
    """
    times = _times(seconds)
    logs = np.log(times)
    if not len(times):
        return Verdict((), "No run was timed yet.", (), TIME_LIMIT)
    series = cusum(time_steps(logs), TIME_LIMIT)
    alarms = [Alarm(run + 1, Rule.CAP, _too_long(times, run)) for run in _runs(capped(times) >= CAP)]
    for run in _runs(provisional(logs) > PROVISIONAL_LIMIT)[:1]:
        alarms.append(Alarm(run + 1, Rule.SLOWER_THAN_VERIFIED, _slower(times, VERIFICATION, run, VERIFICATION)))
    for run in _runs(series >= TIME_LIMIT):
        since = _rise(series, run, TIME_LIMIT)
        alarms.append(Alarm(run + 1, Rule.SLOWER, _slower(times, since, run, min(since, BASELINE))))
    alarms.sort(key=lambda alarm: alarm.run)
    return Verdict(tuple(alarms), alarms[-1].why if alarms else _steady(times), tuple(series.tolist()), TIME_LIMIT)


def baseline(seconds: Sequence[float], outcomes: Sequence[bool]) -> Baseline:
    """What the first runs since the baseline began say. Both oldest first, seconds above 0; else `ValueError`."""
    times, known = _times(seconds)[:BASELINE], list(outcomes[:BASELINE])
    rate = sum(known) / len(known) if known else None
    wilson = _wilson(sum(known), len(known))
    if not len(times):
        return Baseline(0, None, None, PRIOR_SD, rate, wilson)
    found = moments(np.log(times))
    return Baseline(len(times), float(np.median(times)), float(found.mean), float(found.sd), rate, wilson)


def _times(seconds: Sequence[float]) -> Array:
    times = np.asarray(seconds, dtype=np.float64)
    for run in _runs(~(np.isfinite(times) & (times > 0))):
        raise ValueError(f"Run {run + 1} took {times[run]:g} s, which can't be: leave out what was not timed.")
    return times


def _wilson(successes: int, runs: int) -> tuple[float, float]:
    if not runs:
        return 0.0, 1.0
    z = statistics.NormalDist().inv_cdf(0.975)
    middle = successes + z**2 / 2
    reach = z * math.sqrt(successes * (runs - successes) / runs + z**2 / 4)
    return max((middle - reach) / (runs + z**2), 0.0), min((middle + reach) / (runs + z**2), 1.0)


def _runs(where: NDArray[np.bool_]) -> list[int]:
    """Counted from 0."""
    return [int(run) for run in np.flatnonzero(where)]


def _rise(series: Array, alarmed: int, limit: float) -> int:
    """The first run of the rise that ends in the alarm: when the change began, most likely (Hawkins and Olwell)."""
    start = alarmed
    while start and 0 < series[start - 1] < limit:
        start -= 1
    return start


def _span(since: int, run: int) -> str:
    """Runs are counted from 1 for people."""
    return f"run {run + 1}" if since == run else f"runs {since + 1} to {run + 1}"


def _failing(outcomes: Sequence[bool], since: int, run: int) -> str:
    row = outcomes[since : run + 1]
    return (
        f"{len(row) - sum(row)} of {len(row)} runs failed ({_span(since, run)}), and the service level is 1 in 100."
        " Look at their steps and evidence, and mend the adapter or its pack."
    )


def _slower(times: Array, since: int, run: int, before: int) -> str:
    now, was = float(np.median(times[since : run + 1])), float(np.median(times[:before]))
    return (
        f"Submitting takes {now / was:.2f} times as long as in the baseline: median {now:.1f} s in {_span(since, run)},"
        f" was {was:.1f} s. Look at which step takes longer; if the portal is to stay so, record a new baseline."
    )


def _too_long(times: Array, run: int) -> str:
    was = float(np.median(times[: min(run, BASELINE)]))
    return (
        f"Run {run + 1} took {times[run]:.1f} s, {times[run] / was:.1f} times the baseline's median of {was:.1f} s."
        " Look at its steps and evidence."
    )


def _steady(times: Array) -> str:
    last, first = np.median(times[-VERIFICATION:]), np.median(times[:BASELINE])
    since = max(len(times) - VERIFICATION, 0)
    text = f"No drift: median {last:.1f} s in {_span(since, len(times) - 1)}, {first:.1f} s in the baseline."
    if len(times) < BASELINE:
        text += f" The baseline has {len(times)} of {BASELINE} runs."
    return text
