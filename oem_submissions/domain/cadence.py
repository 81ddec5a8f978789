"""An OEM's rhythm: when its claims are filed and when nothing is begun, which period a claim belongs to. Pure.

All that an adapter says about time is here, as data. What follows from it for a tick, a run or a claim is in
`scheduling`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from statistics import median_high
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim

Grain = Literal["day", "week", "month"]

_AMBIGUOUS = timedelta(hours=3)
"""More than any clock is ever set back."""
_GAPS = 20
"""Between ticks: the OEM's interval is their median."""
_MOST_GAPS = 500
"""Looked through to find how long a claim has waited."""


@dataclass(frozen=True)
class Window:
    """A time in which nothing is begun at the portal, by the OEM's own clock. Its beginning is a cut-off.

    What could not be finished before it is not begun. Of no minutes, it is a cut-off alone: at its moment nothing is
    under way, and afterwards it goes on.
    """

    cron: str
    """When it begins."""
    minutes: int = 0
    why: str = "maintenance"

    def __post_init__(self) -> None:
        """Raises `CronSimError` for a cron expression that is none, `ValueError` for less than no minutes."""
        CronSim(self.cron, datetime(2026, 1, 1, tzinfo=UTC))
        if self.minutes < 0:
            raise ValueError(f"A window of {self.minutes} minutes makes no sense: it should be 0, or more.")


@dataclass(frozen=True)
class Cadence:
    """An OEM's rhythm: when to enqueue, and the grain of its partitions."""

    cron: str
    timezone: str
    """IANA name; the cron runs in it, and so do the windows'."""
    period: Grain
    windows: tuple[Window, ...] = ()
    """Maintenance, and cut-offs."""
    catch_up: timedelta = timedelta(hours=12)
    """For so long a missed tick is made up, once; after that it is only noted."""
    deadline_days: int | None = None
    """The OEM takes a claim until the end of the day that so many days after it came due; None: it takes it always."""
    at_risk: timedelta = timedelta(hours=48)
    """So long before a deadline people are told of claims that are not filed."""

    def __str__(self) -> str:
        """What ticks are logged under: with another cron, other ticks are expected."""
        return f"{self.cron} {self.timezone}"

    def period_of(self, due_on: date) -> str:
        """The key of the period that holds the day: the day itself, its week's Sunday, or its month's first day."""
        match self.period:
            case "day":
                start = due_on
            case "week":
                start = due_on - timedelta(days=(due_on.weekday() + 1) % 7)
            case "month":
                start = due_on.replace(day=1)
        return start.isoformat()

    # --- ticks ---

    def ticks(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """When its schedule ticks: after the one moment, up to and with the other. UTC, as all that is returned."""
        return _ticks(self.cron, self.timezone, after, until)

    def last_tick(self, now: datetime) -> datetime:
        """The newest that is not later than `now`."""
        return next(_ticks_back(self.cron, self.timezone, now))

    def interval(self, now: datetime) -> timedelta:
        """From tick to tick as a rule: nights and week-ends without any don't count."""
        return _interval(self.cron, self.timezone, self.last_tick(now))

    def grace(self, now: datetime) -> timedelta:
        """So late a tick is still on time: a tenth of the interval, from half a minute to ten."""
        return min(max(self.interval(now) / 10, timedelta(seconds=30)), timedelta(minutes=10))

    def waited(self, since: datetime, now: datetime, enough: timedelta) -> timedelta:
        """How long something has waited while the schedule was at work; counted until it is `enough`.

        A gap between two ticks counts for an interval at the most, and windows not at all: who waits over a week-end,
        or through maintenance, is not late.
        """
        counted, most, end = timedelta(), self.interval(now), now
        for begin in _starts(_ticks_back(self.cron, self.timezone, now)):
            begin = max(begin, since)
            if begin < end:
                counted += max(min(end - begin - self._closed(begin, end), most), timedelta())
            if counted > enough or begin <= since:
                break
            end = begin
        return counted

    # --- windows ---

    def window_at(self, now: datetime) -> tuple[Window, datetime] | None:
        """The window that it is in, and when that ends."""
        inside = [(w, end) for w in self.windows if (end := self._end(w, self._last(w, now))) > now]
        return max(inside, key=lambda found: found[1], default=None)

    def next_window(self, now: datetime) -> tuple[Window, datetime] | None:
        """The window that begins next, and when: the next cut-off."""
        begins = ((w, next(_ticks(w.cron, self.timezone, now, None))) for w in self.windows)
        return min(begins, key=lambda found: found[1], default=None)

    def opened(self, now: datetime) -> datetime | None:
        """When the last window ended; None when there are none, or it is in one."""
        ends = [self._end(window, self._last(window, now)) for window in self.windows]
        return max(ends) if ends and max(ends) <= now else None

    def _last(self, window: Window, now: datetime) -> datetime:
        return next(_ticks_back(window.cron, self.timezone, now))

    def _end(self, window: Window, begin: datetime) -> datetime:
        """By the wall clock, which is what a portal announces; the later one where that shows an hour twice."""
        local = begin.astimezone(ZoneInfo(self.timezone)) + timedelta(minutes=window.minutes)
        return max(begin, local.replace(fold=1).astimezone(UTC))

    def _closed(self, begin: datetime, end: datetime) -> timedelta:
        """How much of the time windows take, two at once twice."""
        closed = timedelta()
        for window in self.windows:
            first = begin - timedelta(minutes=window.minutes) - _AMBIGUOUS
            for start in _ticks(window.cron, self.timezone, first, end):
                closed += max(min(self._end(window, start), end) - max(start, begin), timedelta())
        return closed

    # --- deadlines ---

    def deadline(self, due_on: date) -> datetime | None:
        """Until when the OEM takes a claim that came due on the day: the end of a day by its clock."""
        if self.deadline_days is None:
            return None
        after = datetime.combine(due_on + timedelta(days=self.deadline_days + 1), time(), ZoneInfo(self.timezone))
        return after.astimezone(UTC)

    def lost_before(self, now: datetime) -> date | None:
        """Claims that came due on this day or earlier have their deadline behind them at `now`."""
        if self.deadline_days is None:
            return None
        return now.astimezone(ZoneInfo(self.timezone)).date() - timedelta(days=self.deadline_days + 1)


def _ticks(cron: str, timezone: str, after: datetime, until: datetime | None) -> Iterator[datetime]:
    for tick in _simulated(cron, timezone, after - _AMBIGUOUS, reverse=False):
        if until is not None and tick > until:
            return
        if tick > after:
            yield tick


def _ticks_back(cron: str, timezone: str, until: datetime) -> Iterator[datetime]:
    return (t for t in _simulated(cron, timezone, until + _AMBIGUOUS, reverse=True) if t <= until)


def _simulated(cron: str, timezone: str, start: datetime, *, reverse: bool) -> Iterator[datetime]:
    """As Dagster's scheduler ticks: an hour that the clock shows twice counts the second time.

    A cron that names no hours runs in both, for cronsim as for Dagster. A test compares the two.
    """
    simulated = CronSim(cron, start.astimezone(ZoneInfo(timezone)), reverse=reverse)
    for tick in simulated:
        yield (tick.replace(fold=1) if simulated.fixup_tz is not None else tick).astimezone(UTC)


def _starts(ticks: Iterator[datetime]) -> Iterator[datetime]:
    return (tick for tick, _ in zip(ticks, range(_MOST_GAPS), strict=False))


@lru_cache(maxsize=1024)
def _interval(cron: str, timezone: str, last: datetime) -> timedelta:
    ticks = [tick for tick, _ in zip(_ticks_back(cron, timezone, last), range(_GAPS + 1), strict=False)]
    return median_high(later - earlier for later, earlier in pairwise(ticks))
