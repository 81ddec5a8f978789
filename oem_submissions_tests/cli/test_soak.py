"""The soak's hurried cadences, and its judgement of logs. The whole of it takes minutes, and is run by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.registry import ADAPTERS
from oem_submissions import wiring
from oem_submissions.cli.soak import hurried, hurried_cadence, soak_document, wrong_in
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.scheduler_health import Logs, judge
from oem_submissions.domain.scheduling import Source, Tick
from oem_submissions.settings import read_settings

BEGAN = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
MINUTELY = Cadence("* * * * *", "UTC", "day")


@pytest.mark.parametrize(
    ("cron", "speed", "hurried_cron"),
    [
        ("0 * * * *", 60, "*/1 * * * *"),
        ("0 * * * *", 600, "*/1 * * * *"),
        ("30 6 * * 1-5", 60, "*/20 * * * *"),
        ("30 6 * * 1-5", 10, "0 */2 * * *"),
        ("30 6 * * 1-5", 1, "0 0 * * *"),
        ("0 */2 * * 1-6", 1, "0 */2 * * *"),
    ],
)
def test_a_cadence_is_hurried_to_a_regular_one_of_at_least_a_minute(cron: str, speed: float, hurried_cron: str) -> None:
    made = hurried_cadence(Cadence(cron, "America/Chicago", "week"), speed)
    assert (made.cron, made.timezone, made.period) == (hurried_cron, "America/Chicago", "week")
    assert made.catch_up >= 5 * made.interval(BEGAN)


def test_dagster_loads_the_same_code_on_the_hurried_cadences(tmp_path: Path) -> None:
    adapters = hurried(ADAPTERS, 60)
    assert {oem: rules.digest for oem, rules in adapters.items()} == {o: r.digest for o, r in ADAPTERS.items()}
    defs = wiring.definitions(replace(read_settings({}), home=tmp_path), adapters=adapters)
    crons = {name: defs.resolve_schedule_def(f"{name}_enqueue").cron_schedule for name in adapters}
    assert crons == {"aurora": "*/2 * * * *", "borealis": "*/20 * * * *", "cascade": "*/1 * * * *"}


def ticked(minute: int, second: float = 1, source: Source = Source.SCHEDULE) -> Tick:
    scheduled = BEGAN.replace(second=0) + timedelta(minutes=minute)
    return Tick("aurora", scheduled, scheduled + timedelta(seconds=second), source, 1)


def document(log: list[Tick]) -> dict[str, Any]:
    cadences, now = {"aurora": MINUTELY}, BEGAN + timedelta(minutes=6, seconds=20)
    first = {"aurora": log[0].scheduled_for} if log else {}
    health = judge(cadences, Logs(BEGAN, now, (), log, first, (), {}, {}, frozenset(cadences)))
    return soak_document(health, [], log, cadences)


def test_a_clean_day_is_clean_and_a_daemon_that_was_away_shows_as_ticks_that_were_made_up_once() -> None:
    clean = document([ticked(minute, second=2 * minute) for minute in range(1, 7)])
    assert wrong_in(clean) == []
    assert clean["lateness"]["ticks"] == {"count": 6, "median_seconds": 7.0, "p95_seconds": 12.0, "max_seconds": 12.0}
    away = [ticked(1), ticked(2, 150, Source.MISSED), ticked(3, 90, Source.MISSED), ticked(4, 40, Source.CATCH_UP)]
    killed = document([*away, ticked(5), ticked(6)])
    assert (killed["missed_ticks"], killed["made_up_ticks"], killed["catch_ups"]) == (3, 3, 1)
    assert wrong_in(killed) == ["missed ticks 3"]


def test_a_schedule_that_never_ticked_is_no_clean_day() -> None:
    silent = document([])
    assert (silent["missed_ticks"], silent["silent_schedules"]) == (0, 1)
    assert wrong_in(silent) == ["silent schedules 1"]
    assert silent["findings"] == ["The schedule of aurora never ticked."]
