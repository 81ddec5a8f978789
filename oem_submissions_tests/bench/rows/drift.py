"""What the drift rules cost: false alarms a year, and how late they see a change. Computed and simulated, not timed.

The design's table, from the real rules and their constants: change one, and see its price here.
"""

from __future__ import annotations

import numpy as np

from oem_submissions.domain import drift
from oem_submissions_tests.bench import drifting
from oem_submissions_tests.bench.drifting import AFTER, ALLOWED, CHANGE, LIFE, OUTLIERS, POOR, Chain, Rule
from oem_submissions_tests.bench.report import Figures

TITLE = "Drift: false alarms a year, and runs until a change is seen"
NOTE = (
    f"Seconds are log-normal, sd of the logarithms {drifting.SD}; 'hang': {OUTLIERS:.0%} of the runs take"
    f" {drifting.OUTLIER:g} times as long. 'First': a release is watched for {LIFE:,} runs, or to its first alarm;"
    f" 'all': it is watched on, with the same baseline. The slow-down by 1.5 comes after run {CHANGE}, the one that the"
    " provisional test must find after verification."
)
RELEASES = 1000
"""Of every repetition."""
LIMITS = (47, 58, 68)
RULES: dict[str, Rule] = {
    "CUSUM": drifting.slower,
    "provisional test": drifting.slower_than_verified,
    "cap": drifting.cap,
    "all three": drifting.any_rule,
    "five-run median + 3 MAD": drifting.median_and_mad,
}
Line = dict[str, str | float]


def measure(repetitions: int) -> Figures:
    """From so many thousand releases, seeded."""
    chance, releases = np.random.default_rng(drifting.SEED), RELEASES * repetitions
    shares = (0.0, OUTLIERS)
    false = {share: drifting.log_seconds(chance, releases, LIFE, outliers=share) for share in shares}
    tables = {
        "outcomes, exactly": [_exact(limit) for limit in LIMITS],
        "outcomes, simulated": [_simulated(chance, releases, limit) for limit in LIMITS],
        "false alarms a year": [_false(name, false[0.0]) for name in RULES],
        "the same when runs hang": [_false(name, false[OUTLIERS]) for name in RULES],
        "1.5 times as long: runs to the alarm": [_slow_down(chance, releases, share) for share in shares],
        "provisional test: share found": [_found(chance, releases, share) for share in shares],
    }
    return Figures(TITLE, NOTE, tables)


def _a_year(per_run: float, *runs_a_day: int) -> Line:
    return {f"at {runs}/day": per_run * runs * 365 for runs in runs_a_day}


def _delays(found: drifting.Delays) -> Line:
    return {"mean": found.mean, "median": found.median, "90 %": found.most}


def _exact(limit: int) -> Line:
    outage = Chain.of(limit, 1.0).delays().mean
    rate = 1 / Chain.of(limit, ALLOWED).delays().mean
    return {
        "": f"limit {limit}",
        "in a row": outage,
        **_a_year(rate, 5, 20, 100),
        **_delays(Chain.of(limit, POOR).delays()),
    }


def _simulated(chance: np.random.Generator, releases: int, limit: int) -> Line:
    outage = drifting.delays(drifting.failing(np.zeros((AFTER, 1), np.bool_), limit), 0).mean
    allowed = drifting.failing(chance.random((LIFE, releases)) >= ALLOWED, limit)
    poor = drifting.failing(chance.random((4 * AFTER, releases)) >= POOR, limit)
    rate = drifting.all_alarms(allowed)
    return {
        "": f"limit {limit}",
        "in a row": outage,
        **_a_year(rate, 5, 20, 100),
        **_delays(drifting.delays(poor, 0)),
    }


def _false(name: str, logs: drift.Array) -> Line:
    alarms = RULES[name](logs)
    line: Line = {"": name}
    for what, rate in (("first", drifting.first_alarms(alarms)), ("all", drifting.all_alarms(alarms))):
        line |= {f"{what} {at}": figure for at, figure in _a_year(rate, 5, 20).items()}
    return line


def _slow_down(chance: np.random.Generator, releases: int, share: float) -> Line:
    logs = drifting.log_seconds(chance, releases, CHANGE + AFTER, outliers=share, slower=1.5, after=CHANGE)
    found = drifting.delays(drifting.slower(logs), CHANGE)
    return {"": "with runs that hang" if share else "none hangs", "median": found.median, "90 %": found.most}


def _found(chance: np.random.Generator, releases: int, share: float) -> Line:
    line: Line = {"": "with runs that hang" if share else "none hangs"}
    for times in (1.0, 1.5, 2.0):
        logs = drifting.log_seconds(
            chance, releases, drift.PROVISIONAL_UNTIL, outliers=share, slower=times, after=drift.VERIFICATION
        )
        line[f"{times:g} times as long"] = drifting.found(drifting.slower_than_verified(logs))
    return line
