"""Repeated measurements made comparable: medians, and ratios of what was measured side by side. Pure."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 2000
SEED = 20261123


@dataclass(frozen=True)
class Ratio:
    """One variant by another, of the repetitions' ratios: the median, its 95 % interval, the least and the most."""

    median: float
    low: float
    high: float
    least: float
    most: float


def ratio(ones: Sequence[float], others: Sequence[float]) -> Ratio:
    """Repetition by repetition, so that a load that comes and goes divides out.

    The interval is a percentile bootstrap of the median (B. Efron, 1979), seeded.
    """
    ratios = [one / other for one, other in zip(ones, others, strict=True)]
    chance = random.Random(SEED)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    low, high = medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]
    return Ratio(statistics.median(ratios), low, high, min(ratios), max(ratios))
