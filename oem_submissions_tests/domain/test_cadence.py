"""Ticks, windows, waiting and deadlines, through the two nights of the year on which the clock is changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from cronsim import CronSimError
from dagster._utils.schedules import cron_string_iterator

from adapters.registry import ADAPTERS
from oem_submissions.domain.cadence import Cadence, Window
from oem_submissions.domain.scheduling import (
    CatchUp,
    Source,
    catch_up,
    claim_seconds,
    priority,
    why_not_begin,
    why_not_tick,
)

CHICAGO = "America/Chicago"
TWO_HOURLY = Cadence("0 */2 * * 1-6", CHICAGO, "day")
HOURLY = Cadence("0 * * * *", CHICAGO, "day")
SPRING, AUTUMN = datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 10, 30, tzinfo=UTC)
OURS = [(rules.cadence.cron, rules.cadence.timezone) for rules in ADAPTERS.values()]
NASTY = [(cron, CHICAGO) for cron in ("30 1 * * *", "30 2 * * *", "0 1-4 * * *", "*/15 * * * *", "5,35 1-3 * * 0")]


def utc(day: int, hour: int, minute: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(("cron", "timezone"), [*OURS, *NASTY])
@pytest.mark.parametrize("start", [SPRING, AUTUMN])
def test_we_expect_the_ticks_that_dagster_makes(cron: str, timezone: str, start: datetime) -> None:
    until, cadence, dagsters = start + timedelta(days=5), Cadence(cron, timezone, "day"), []
    for tick in cron_string_iterator(start.timestamp(), cron, timezone):
        if tick > until:
            break
        dagsters.append(tick.astimezone(UTC))
    expected = list(cadence.ticks(start - timedelta(microseconds=1), until))
    assert expected == dagsters
    for tick in expected[::9]:  # backwards, too, from and to every moment
        assert cadence.last_tick(tick) == cadence.last_tick(tick + timedelta(seconds=1)) == tick
    assert cadence.last_tick(expected[1] - timedelta(seconds=1)) == expected[0]
    assert next(cadence.ticks(expected[0], until)) == expected[1]


def test_the_interval_is_that_of_a_working_day_and_grace_is_a_part_of_it() -> None:
    monday = utc(23, 14)
    assert [ADAPTERS[oem].cadence.interval(monday) / timedelta(hours=1) for oem in ADAPTERS] == [2, 24, 1]
    assert TWO_HOURLY.grace(monday) == timedelta(minutes=10)
    assert Cadence("* * * * *", CHICAGO, "day").grace(monday) == timedelta(seconds=30)


def test_who_waits_over_a_week_end_or_through_maintenance_is_not_late() -> None:
    far = timedelta(days=400)
    saturday_evening, monday = utc(22, 5), utc(23, 8, 30)  # 23:00 in Chicago; 2:30
    assert TWO_HOURLY.waited(saturday_evening, monday, far) == timedelta(hours=4, minutes=30)
    assert TWO_HOURLY.waited(utc(24, 12, 30), utc(24, 17), far) == timedelta(hours=4, minutes=30)
    shut = Cadence("0 */2 * * 1-6", CHICAGO, "day", (Window("0 7 * * *", 120),))
    assert shut.waited(utc(24, 12, 30), utc(24, 17), far) == timedelta(hours=2, minutes=30)
    assert timedelta(hours=4) < TWO_HOURLY.waited(utc(1, 0, month=1), monday, timedelta(hours=4)) < timedelta(hours=7)


def test_a_window_keeps_to_the_portals_wall_clock_when_that_is_changed() -> None:
    nightly = Cadence("0 * * * *", CHICAGO, "day", (Window("0 1 * * *", 120),))
    assert nightly.window_at(utc(1, 5, 59)) is None
    # The first of November has 1 o'clock twice: from the first one's beginning (never too late) to the end at 3.
    found = nightly.window_at(utc(1, 8, 30))
    assert found is not None
    assert found[1] == utc(1, 9)
    assert nightly.window_at(utc(1, 9)) is None
    assert nightly.opened(utc(1, 10)) == utc(1, 9)
    assert nightly.next_window(utc(1, 10)) == (nightly.windows[0], utc(2, 7))
    # On the eighth of March 2 o'clock does not exist: the end at 3 comes an hour sooner.
    spring = nightly.window_at(utc(8, 7, 30, month=3))
    assert spring is not None
    assert spring[1] == utc(8, 8, month=3)
    with pytest.raises(CronSimError):
        Window("0 25 * * *", 120)


def test_nothing_is_begun_that_does_not_fit_before_the_cut_off_unless_it_never_would() -> None:
    cadence = Cadence("0 * * * *", "UTC", "day", (Window("0 17 * * *", why="the cut-off"), Window("0 22 * * *", 60)))
    assert why_not_begin(cadence, utc(24, 16), 10, 360) == ""
    assert "don't fit before the cut-off" in why_not_begin(cadence, utc(24, 16, 1), 10, 360)
    assert why_not_begin(cadence, utc(24, 17), 10, 360) == ""  # a cut-off alone takes no time
    assert "maintenance until 2026-11-24 23:00" in why_not_begin(cadence, utc(24, 22, 59), 1, 1)
    assert why_not_begin(cadence, utc(24, 23), 1000, 360) == ""  # longer than any time between two windows
    assert why_not_begin(cadence, utc(24, 16, 57), 1000, 360) != ""
    assert why_not_begin(HOURLY, utc(24, 16), 10_000, 360) == ""
    assert claim_seconds([]) == 120
    assert claim_seconds([1.0] * 10) == 30
    assert claim_seconds([40.0] * 17 + [90.0] * 3) == 90


def test_missed_ticks_are_made_up_once_inside_the_window_and_only_noted_outside() -> None:
    def at(hour: int, minute: int = 0) -> CatchUp | None:
        return catch_up(HOURLY, utc(24, 3), utc(24, hour, minute))

    assert at(4, 5) is None  # in time still
    assert at(4, 6) == CatchUp((), utc(24, 4))
    assert at(7, 50) == CatchUp((utc(24, 4), utc(24, 5), utc(24, 6)), utc(24, 7))
    assert catch_up(HOURLY, None, utc(24, 7)) is None
    daily = Cadence("0 12 * * *", "UTC", "day", catch_up=timedelta(hours=3))
    assert catch_up(daily, utc(22, 12), utc(24, 15)) == CatchUp((utc(23, 12),), utc(24, 12))
    assert catch_up(daily, utc(22, 12), utc(24, 15, 1)) == CatchUp((utc(23, 12), utc(24, 12)), None)
    assert catch_up(daily, utc(24, 12), utc(22, 12)) is None  # the clock was set back


def test_a_schedule_asks_in_time_and_again_only_for_its_own_interrupted_tick() -> None:
    before = utc(24, 3)

    def why(now: datetime, noted: Source | None = None, newest: datetime | None = before) -> str:
        return why_not_tick(HOURLY, utc(24, 4), now, noted, newest)

    assert why(utc(24, 4, 6)) == ""
    assert "makes it up" in why(utc(24, 4, 7))
    assert why(utc(24, 9), newest=None) == ""  # the very first one
    assert why(utc(24, 9), Source.SCHEDULE, utc(24, 4)) == ""  # its daemon was killed while at it
    for noted, newest in ((Source.CATCH_UP, utc(24, 4)), (Source.MISSED, utc(24, 5)), (None, utc(24, 5))):
        assert "up to the tick of" in why(utc(24, 4, 1), noted, newest)
    assert "clock is ahead" in why(utc(24, 3, 50))


def test_a_deadline_is_the_end_of_a_day_at_the_oem_and_the_nearer_goes_first() -> None:
    cadence = Cadence("0 * * * *", CHICAGO, "day", deadline_days=10)
    assert cadence.deadline(date(2026, 11, 10)) == utc(21, 6)
    assert HOURLY.deadline(date(2026, 11, 10)) is None
    assert cadence.lost_before(utc(21, 5, 59)) == date(2026, 11, 9)
    assert cadence.lost_before(utc(21, 6)) == date(2026, 11, 10)
    now = utc(14, 7)
    hours = [priority(deadline, now) for deadline in (None, utc(22, 6), utc(21, 6), utc(15, 6), utc(13, 6))]
    assert hours == [0, 0, 1, 145, 193]
