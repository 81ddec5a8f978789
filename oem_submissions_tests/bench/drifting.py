"""What the drift rules cost: made-up releases, seeded, run through the real rules; and the outcomes' CUSUM exactly.

Arrays have the runs on their first axis and the releases on the second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oem_submissions.domain import drift
from oem_submissions.domain.drift import Array

Alarms = NDArray[np.bool_]
Rule = Callable[[Array], Alarms]
"""Log seconds -> alarms."""

SEED = 20261123
SD = 0.25
"""Of the log seconds."""
OUTLIERS, OUTLIER = 0.03, 5.0
"""How many runs hang, and how many times as long they take."""
LIFE = 1000
"""Runs of a release that are watched for false alarms."""
CHANGE, AFTER = 30, 120
"""The run after which a change comes, and how many runs follow."""
ALLOWED, POOR = 0.01, 0.10
"""Shares of failures: the service level, and what must be found."""


@dataclass(frozen=True)
class Delays:
    """Runs from a change to its alarm."""

    mean: float
    median: float
    most: float
    """Of nine in ten."""

    @classmethod
    def of(cls, runs: NDArray[np.int_]) -> Delays:
        """Measured ones."""
        return cls(float(runs.mean()), float(np.median(runs)), float(np.percentile(runs, 90)))


def log_seconds(
    chance: np.random.Generator, releases: int, runs: int, *, outliers: float = 0.0, slower: float = 1.0, after: int = 0
) -> Array:
    """Log-normal seconds around one second; `slower` times as long after so many runs."""
    logs = chance.normal(0.0, SD, (runs, releases)) + np.log(OUTLIER) * (chance.random((runs, releases)) < outliers)
    logs[after:] += np.log(slower)
    return logs


def slower(logs: Array) -> Alarms:
    """The CUSUM of seconds."""
    return drift.cusum(drift.time_steps(logs), drift.TIME_LIMIT) >= drift.TIME_LIMIT


def slower_than_verified(logs: Array) -> Alarms:
    """The provisional test, which alarms once."""
    above = drift.provisional(logs) > drift.PROVISIONAL_LIMIT
    once: Alarms = above & (above.cumsum(axis=0) == 1)
    return once


def cap(logs: Array) -> Alarms:
    """The absolute cap."""
    return drift.capped(np.exp(logs)) >= drift.CAP


def any_rule(logs: Array) -> Alarms:
    """Whatever `time_drift` alarms of."""
    return slower(logs) | slower_than_verified(logs) | cap(logs)


def median_and_mad(logs: Array) -> Alarms:
    """The obvious rule, for comparison: longer than the first five runs' median and three of their MADs."""
    seconds = np.exp(logs)
    median = np.median(seconds[: drift.VERIFICATION], axis=0)
    mad = np.median(np.abs(seconds[: drift.VERIFICATION] - median), axis=0)
    alarms: Alarms = seconds > median + 3 * mad
    alarms[: drift.VERIFICATION] = False
    return alarms


def failing(outcomes: NDArray[np.bool_], limit: float) -> Alarms:
    """The CUSUM of outcomes."""
    return drift.cusum(drift.success_steps(outcomes), limit) >= limit


def first_alarms(alarms: Alarms) -> float:
    """Alarms per run, when a release is watched no longer after its first."""
    first = np.where(alarms.any(axis=0), alarms.argmax(axis=0) + 1, len(alarms))
    return float(alarms.any(axis=0).sum() / first.sum())


def all_alarms(alarms: Alarms) -> float:
    """Alarms per run, when every release is watched on with the baseline that it has."""
    return float(alarms.mean())


def delays(alarms: Alarms, change: int) -> Delays:
    """From the change to the first alarm, of the releases that had none before.

    A release that is not found out counts with all the runs that followed: too few for the mean, and nothing to the
    median while most are found out.
    """
    later = alarms[change:, ~alarms[:change].any(axis=0)]
    return Delays.of(np.where(later.any(axis=0), later.argmax(axis=0) + 1, len(later)))


def found(alarms: Alarms) -> float:
    """The share of the releases that have an alarm."""
    return float(alarms.any(axis=0).mean())


@dataclass(frozen=True)
class Chain:
    """The CUSUM of outcomes as a Markov chain from 0 to its first alarm (D. Brook and D. A. Evans, 1972): no chance."""

    between: Array
    """Probabilities of going from one sum to the other without an alarm."""

    @classmethod
    def of(cls, limit: int, failures: float, failure: int = 24) -> Chain:
        """With so many points for a failure, and so large a share of failures."""
        between = np.zeros((limit, limit))
        for level in range(limit):
            between[level, max(level - 1, 0)] += 1 - failures
            if level + failure < limit:
                between[level, level + failure] += failures
        return cls(between)

    def delays(self) -> Delays:
        """Runs to the first alarm."""
        size = len(self.between)
        mean = np.linalg.solve(np.eye(size) - self.between, np.ones(size))[0]
        return Delays(float(mean), self._when(0.5), self._when(0.1))

    def _when(self, quiet: float) -> float:
        """Runs after which no more than this share has had no alarm."""
        now, runs = np.eye(len(self.between))[0], 0
        while now.sum() > quiet:
            now, runs = now @ self.between, runs + 1
        return float(runs)
