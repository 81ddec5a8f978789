"""The drift rules keep the constants of the design, and what they cost is what the design says."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from oem_submissions.domain import drift
from oem_submissions.domain.drift import Rule, Verdict, baseline, success_drift, success_limit, time_drift
from oem_submissions_tests.bench import drifting
from oem_submissions_tests.bench.drifting import AFTER, CHANGE, Chain

NORMAL = statistics.NormalDist()
OUTCOMES = st.lists(st.booleans(), max_size=120)
SECONDS = st.lists(st.floats(1.0, 60.0), min_size=1, max_size=60)
FEW = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize(
    ("limit", "in_a_row", "false_alarms", "delay"),
    [
        (47, 2, ("0.7", "2.8", "14"), (31, 25, 60)),
        (58, 3, ("0.24", "0.97", "4.8"), (38, 32, 72)),
        (68, 3, ("0.09", "0.36", "1.8"), (45, 37, 83)),
    ],
)
def test_the_price_of_every_limit_for_outcomes(
    limit: int, in_a_row: int, false_alarms: tuple[str, ...], delay: tuple[int, ...]
) -> None:
    """The design's table, exactly, but for its 2.9: that is 2.847."""
    allowed = Chain.of(limit, 0.01).delays()
    rates = [365 * runs / allowed.mean for runs in (5, 20, 100)]
    assert [
        float(f"{rate:.{len(said.partition('.')[2])}f}") for rate, said in zip(rates, false_alarms, strict=True)
    ] == [float(said) for said in false_alarms]
    poor = Chain.of(limit, 0.10).delays()
    assert (round(poor.mean), poor.median, poor.most) == delay
    assert Chain.of(limit, 1.0).delays().mean == in_a_row


@pytest.mark.parametrize("limit", [58, 68])
@pytest.mark.parametrize("failures", [0.05, 0.10])
def test_the_real_rule_for_outcomes_is_as_late_as_the_chain_says(limit: int, failures: float) -> None:
    chance = np.random.default_rng(drifting.SEED)
    found = drifting.delays(drifting.failing(chance.random((1500, 4000)) >= failures, limit), 0)
    exact = Chain.of(limit, failures).delays()
    assert found.mean == pytest.approx(exact.mean, rel=0.04)
    assert found.median == pytest.approx(exact.median, rel=0.06)
    assert found.most == pytest.approx(exact.most, rel=0.06)


def test_an_outage_alarms_at_the_third_failure_in_a_row() -> None:
    for runs_a_day in (5, 200):
        assert not success_drift([True] * 50 + [False] * 2, runs_a_day).alarm
        verdict = success_drift([True] * 50 + [False] * 3, runs_a_day)
        assert [(alarm.run, alarm.rule) for alarm in verdict.alarms] == [(53, Rule.FAILURES)]
        assert verdict.why.startswith("3 of 3 runs failed (runs 51 to 53), and the service level is 1 in 100. Look")
    assert "3 of 5 runs failed (runs 2 to 6)" in success_drift([True, False, True, True, *[False] * 2], 5).why


def test_after_an_alarm_the_sum_begins_anew() -> None:
    verdict = success_drift([True] * 10 + [False] * 6, 5)
    assert [alarm.run for alarm in verdict.alarms] == [13, 16]
    assert verdict.why.startswith("3 of 3 runs failed (runs 14 to 16)")


def test_a_busy_oem_has_the_higher_limit() -> None:
    assert [success_limit(runs) for runs in (0.1, 50, 50.1, 500)] == [58, 58, 68, 68]


@pytest.mark.parametrize(("runs_a_day", "between"), [(5, 14), (51, 4)])
def test_the_limit_is_reached_when_it_is_met(runs_a_day: float, between: int) -> None:
    met = [False, False, *[True] * between, False]  # 24 + 24 - 14 + 24 = 58, and 68 with 4 between
    assert success_drift(met, runs_a_day).alarm
    assert not success_drift([False, False, *[True] * (between + 1), False], runs_a_day).alarm
    assert success_drift([*met, False], runs_a_day).statistic == 24


@FEW
@given(OUTCOMES)
def test_outcomes_add_up_as_the_design_says(outcomes: list[bool]) -> None:
    level, series = 0, []
    for fine in outcomes:
        level = max((0 if level >= 58 else level) + (-1 if fine else 24), 0)
        series.append(level)
    verdict = success_drift(outcomes, 5)
    assert list(verdict.series) == series
    assert [alarm.run for alarm in verdict.alarms] == [run for run, level in enumerate(series, 1) if level >= 58]
    assert verdict.statistic == (series[-1] if series else 0)


@FEW
@given(SECONDS)
def test_seconds_add_up_as_in_a_second_reading_of_the_design(seconds: list[float]) -> None:
    verdict = time_drift(seconds)
    assert verdict.series == pytest.approx(_series(seconds), abs=1e-6)
    assert min(verdict.series) >= 0
    assert verdict.limit == 8.0


def _series(seconds: Sequence[float]) -> list[float]:
    """The CUSUM of log seconds, run by run, with the design's numbers written out."""
    kept: list[float] = []
    level, series = 0.0, []
    for run, log in enumerate(math.log(value) for value in seconds):
        score, value = 0.0, log
        if run:
            mean = statistics.fmean(kept)
            freedom = 10 + len(kept) - 1
            spread = math.sqrt((10 * 0.3**2 + sum((k - mean) ** 2 for k in kept)) / freedom)
            error = spread * math.sqrt(1 + 1 / len(kept))
            reach = error * float(student.ppf(NORMAL.cdf(2.5), freedom))
            value = min(max(log, mean - reach), mean + reach)
            score = NORMAL.inv_cdf(float(student.cdf((value - mean) / error, freedom)))
            if value != log:
                score = math.copysign(2.5, score)  # four of them reach 8 exactly
        if len(kept) < 30:
            kept.append(value)
        level = max((0.0 if level >= 8 else level) + score - 0.5, 0.0)
        series.append(level)
    return series


@FEW
@given(SECONDS, SECONDS, OUTCOMES, OUTCOMES)
def test_what_alarmed_stays_alarmed_when_more_runs_come(
    seconds: list[float], more: list[float], outcomes: list[bool], further: list[bool]
) -> None:
    def begins(longer: Verdict, shorter: Verdict) -> bool:
        known = len(shorter.alarms)
        return longer.alarms[:known] == shorter.alarms and all(
            alarm.run > len(shorter.series) for alarm in longer.alarms[known:]
        )

    assert begins(time_drift(seconds + more), time_drift(seconds))
    assert begins(success_drift(outcomes + further, 5), success_drift(outcomes, 5))


@FEW
@given(SECONDS, st.floats(0.1, 10.0))
def test_a_portal_that_is_slow_by_nature_is_judged_alike(seconds: list[float], times: float) -> None:
    # The sums are compared and not the alarms: at a limit, rounding decides.
    scaled = time_drift([value * times for value in seconds])
    assert scaled.series == pytest.approx(time_drift(seconds).series, abs=1e-6)


@FEW
@given(SECONDS)
def test_what_is_simulated_is_what_is_used(seconds: list[float]) -> None:
    alarms = drifting.any_rule(np.log(seconds).reshape(-1, 1))
    times = np.asarray(seconds).reshape(-1, 1)
    assume(not np.isclose(drift.capped(times), 3).any())  # exp(log(x)) is not quite x
    assert {int(run) + 1 for run in np.flatnonzero(alarms)} == {alarm.run for alarm in time_drift(seconds).alarms}


def test_faster_runs_are_no_drift() -> None:
    verdict = time_drift([8.0] * 30 + [2.0] * 100)
    assert not verdict.alarm
    assert verdict.statistic == 0
    assert verdict.why == "No drift: median 2.0 s in runs 126 to 130, 8.0 s in the baseline."


def test_four_slow_runs_in_a_row_are_enough_however_slow_and_three_are_not() -> None:
    for slow in (22.0, 22.0e6):
        assert Rule.SLOWER not in [alarm.rule for alarm in time_drift([8.0] * 30 + [slow] * 3).alarms]
        assert time_drift([8.0] * 30 + [slow] * 4).alarms[-1].rule is Rule.SLOWER


def test_a_slow_down_says_how_much_since_when_and_what_to_do() -> None:
    verdict = time_drift([8.0, 8.4, 7.6, 8.0] * 10 + [12.0] * 8)
    first = verdict.alarms[0]
    assert first.rule is Rule.SLOWER
    assert first.why == (
        f"Submitting takes 1.50 times as long as in the baseline: median 12.0 s in runs 41 to {first.run}, was 8.0 s."
        " Look at which step takes longer; if the portal is to stay so, record a new baseline."
    )
    assert time_drift([8.0, 8.4, 7.6, 8.0] * 10).why.startswith("No drift: median 8.0 s in runs 36 to 40")


def test_a_change_right_after_verification_is_found_by_the_provisional_test() -> None:
    verdict = time_drift([8.0] * 5 + [14.0] * 30)
    rules = {alarm.rule: alarm.run for alarm in reversed(verdict.alarms)}
    error = 0.3 * math.sqrt(1 / 5 + math.pi / 2 / 4)
    assert math.log(14 / 8) / error < 2.5 < math.log(14 / 8) / (0.3 * math.sqrt(1 / 5 + math.pi / 2 / 5))
    assert rules[Rule.SLOWER_THAN_VERIFIED] == 10
    found = next(alarm for alarm in verdict.alarms if alarm.rule is Rule.SLOWER_THAN_VERIFIED)
    assert "1.75 times as long as in the baseline: median 14.0 s in runs 6 to 10, was 8.0 s" in found.why
    assert [alarm.rule for alarm in verdict.alarms].count(Rule.SLOWER_THAN_VERIFIED) == 1


def test_the_provisional_test_looks_at_run_40_and_no_further() -> None:
    """The median of 35 runs is slow when 18 of them are."""
    slow = 8.0 * math.exp(2.6 * 0.3 * math.sqrt(1 / 5 + math.pi / 2 / 35))
    mixed = [8.0] * 5 + [8.0] * 17 + [slow] * 17
    rules = [alarm.rule for alarm in time_drift([*mixed, slow]).alarms if alarm.run == 40]
    assert Rule.SLOWER_THAN_VERIFIED in rules
    slower = 8.0 * math.exp(6 * 0.3 * math.sqrt(1 / 5 + math.pi / 2 / 35))
    later = time_drift([8.0] * 5 + [8.0] * 18 + [slower] * 23)
    assert Rule.SLOWER_THAN_VERIFIED not in [alarm.rule for alarm in later.alarms]


@pytest.mark.parametrize(("run", "expected"), [(23.9, False), (24.0, True)])
@pytest.mark.parametrize("before", [5, 12, 45])
def test_one_run_of_three_times_the_baseline_is_enough(before: int, run: float, expected: bool) -> None:
    verdict = time_drift([8.0] * before + [run])
    assert (Rule.CAP in [alarm.rule for alarm in verdict.alarms]) is expected
    if expected:
        told = next(alarm for alarm in verdict.alarms if alarm.rule is Rule.CAP)
        assert told.why.startswith(f"Run {before + 1} took 24.0 s, 3.0 times the baseline's median of 8.0 s. Look")


def test_the_cap_is_of_the_frozen_baseline() -> None:
    creeping = [8.0] * 30 + [12.0] * 100 + [24.5]
    assert time_drift(creeping).alarms[-1].rule is Rule.CAP
    before = time_drift([8.0] * 5 + [12.0] * 7 + [25.0])  # not yet frozen: the median is 12
    assert Rule.CAP not in [alarm.rule for alarm in before.alarms]


def test_nothing_is_said_of_nothing() -> None:
    assert time_drift([]) == Verdict((), "No run was timed yet.", (), 8.0)
    assert success_drift([], 5) == Verdict((), "No drift: 0 of 0 runs failed.", (), 58.0)
    one = time_drift([8.0])
    assert one.why == "No drift: median 8.0 s in run 1, 8.0 s in the baseline. The baseline has 1 of 30 runs."
    assert one.series == (0.0,)
    empty = baseline([], [])
    assert (empty.median_seconds, empty.mean_log, empty.success_rate, empty.wilson) == (None, None, None, (0.0, 1.0))
    assert empty.sd_log == 0.3


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_seconds_that_can_not_be_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"^Run 2 took .* s, which can't be: leave out what was not timed\.$"):
        time_drift([8.0, wrong])
    with pytest.raises(ValueError, match="Run 2"):
        baseline([8.0, wrong], [])


def test_five_clean_runs_say_little() -> None:
    five = baseline([8.0, 9.0, 7.0, 8.5, 8.2], [True] * 5)
    assert [round(bound, 3) for bound in five.wilson] == [0.566, 1.0]
    assert (five.runs, five.frozen, five.median_seconds, five.success_rate) == (5, False, 8.2, 1.0)
    assert [round(bound, 3) for bound in baseline([], [True] * 27 + [False] * 3).wilson] == [0.744, 0.965]
    assert [round(bound, 3) for bound in baseline([], [False] * 5).wilson] == [0.0, 0.434]


@FEW
@given(st.lists(st.floats(1.0, 60.0), min_size=30, max_size=30), SECONDS, OUTCOMES)
def test_the_baseline_is_frozen_after_thirty_runs(first: list[float], later: list[float], outcomes: list[bool]) -> None:
    frozen = baseline(first, [True] * 30)
    assert frozen.frozen
    assert baseline(first + later, [True] * 30 + outcomes) == frozen


def test_the_price_of_the_rules_for_seconds() -> None:
    """Seeded: 3,000 releases. The design says 0.2 and 0.8 false alarms a year, 9 runs of delay, and 14 at most."""
    chance = np.random.default_rng(drifting.SEED)
    alarms = drifting.slower(drifting.log_seconds(chance, 3000, drifting.LIFE))
    assert 5 * 365 * drifting.first_alarms(alarms) == pytest.approx(0.21, abs=0.035)
    late = drifting.slower(drifting.log_seconds(chance, 3000, CHANGE + AFTER, slower=1.5, after=CHANGE))
    found = drifting.delays(late, CHANGE)
    assert (found.median, found.most) == (pytest.approx(9, abs=1), pytest.approx(14, abs=1))
    assert found.mean == pytest.approx(9.24, abs=0.25)


@pytest.mark.parametrize(
    ("outliers", "times", "expected"),
    [(0.0, 1.0, 0.007), (0.0, 1.5, 0.71), (0.0, 2.0, 0.998), (0.03, 1.5, 0.655), (0.03, 2.0, 0.945)],
)
def test_what_the_provisional_test_finds(outliers: float, times: float, expected: float) -> None:
    """The design says 63 to 74 % at 1.5 times as long, and 93 to 100 % at twice."""
    chance = np.random.default_rng(drifting.SEED)
    logs = drifting.log_seconds(chance, 5000, 40, outliers=outliers, slower=times, after=5)
    assert drifting.found(drifting.slower_than_verified(logs)) == pytest.approx(
        expected, abs=0.02 if times > 1 else 0.004
    )


def test_one_run_that_hangs_does_not_hide_a_slow_down() -> None:
    """Winsorised, a baseline with hanging runs finds a slow-down nearly as soon: half in 10 runs, nine in ten in 21."""
    chance = np.random.default_rng(drifting.SEED)
    logs = drifting.log_seconds(chance, 3000, CHANGE + AFTER, outliers=0.03, slower=1.5, after=CHANGE)
    found = drifting.delays(drifting.slower(logs), CHANGE)
    assert found.median == pytest.approx(10, abs=1)
    assert found.most == pytest.approx(20, abs=3)
