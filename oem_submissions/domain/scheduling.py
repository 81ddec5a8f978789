"""What follows from an OEM's cadence: for a tick, for a run that may begin, for a claim with a deadline. Pure.

The scheduler only enqueues; these are the decisions about when and in which order. Who files at all is in `releases`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from math import ceil

from oem_submissions.domain.cadence import Cadence

_FEWEST_SECONDS = 30.0
"""Of a claim, whatever was measured: a portal has slow days."""
_UNMEASURED_SECONDS = 120.0
_HORIZON = timedelta(days=7)
"""So long before its deadline a partition begins to go before others."""
_MOST_TICKS = 1000
"""That a catch-up notes: after a longer silence the oldest ones are in no log."""


class Source(StrEnum):
    """Who evaluated a tick, in the tick log."""

    SCHEDULE = "schedule"
    """Dagster's, in time."""
    COMMAND = "command"
    """`oem-submissions enqueue` for a whole OEM: a CronJob, or a person."""
    CATCH_UP = "catch_up"
    """Too late, once, for all that were missed before it, too."""
    MISSED = "missed"
    """Nobody: one of those, or it was past the catch-up's window."""


@dataclass(frozen=True)
class Tick:
    """A line of the tick log."""

    oem: str
    scheduled_for: datetime
    at: datetime
    source: Source
    requested: int


# --- ticks --------------------------------------------------------------------------------------------------------


def why_not_tick(
    cadence: Cadence, scheduled: datetime, now: datetime, noted: Source | None, newest: datetime | None
) -> str:
    """Why Dagster's schedule has nothing to do at a tick that it evaluates at `now`; empty: enqueue.

    `noted`: how the log has this very tick; `newest`: the log's newest tick of this cadence. `now` is the ledger's
    clock. A tick that is noted as the schedule's own is evaluated again: its daemon was killed while at it, or there
    are two; the keys of its runs see to it that none is asked for twice.
    """
    if noted is Source.SCHEDULE:
        return ""
    if newest is not None and newest >= scheduled:
        return f"Made up, or noted as missed, up to the tick of {newest:%Y-%m-%d %H:%M} UTC."
    grace = cadence.grace(now)
    if scheduled - now > grace:
        return f"This machine's clock is ahead of the ledger's, {now:%Y-%m-%d %H:%M} UTC: the tick waits for that."
    if newest is not None and now - scheduled > grace:
        return "Missed: the sensor missed_ticks makes it up, once for all that were."
    return ""


@dataclass(frozen=True)
class CatchUp:
    """What to do about ticks that nobody evaluated."""

    missed: tuple[datetime, ...]
    """To be noted."""
    made_up: datetime | None
    """The newest, if it is not too late to make it up."""


def catch_up(cadence: Cadence, newest: datetime | None, now: datetime) -> CatchUp | None:
    """What the log lacks since its newest tick of this cadence; None when it is whole.

    Without any tick there was no first one yet, and nothing is missed.
    """
    if newest is None:
        return None
    lacking = list(cadence.ticks(newest, now - cadence.grace(now)))[-_MOST_TICKS:]
    if not lacking:
        return None
    if now - lacking[-1] > cadence.catch_up:
        return CatchUp(tuple(lacking), None)
    return CatchUp(tuple(lacking[:-1]), lacking[-1])


# --- windows and cut-offs --------------------------------------------------------------------------------------------


def claim_seconds(measured: Sequence[float]) -> float:
    """What a claim takes, for planning: the ninth decile of the last ones."""
    if not measured:
        return _UNMEASURED_SECONDS
    return max(sorted(measured)[ceil(len(measured) * 0.9) - 1], _FEWEST_SECONDS)


def closed(cadence: Cadence, now: datetime) -> str:
    """Why nothing is begun at `now`: the window that it is in; empty when it is in none."""
    found = cadence.window_at(now)
    return f"It is {found[0].why} until {found[1]:%Y-%m-%d %H:%M} UTC." if found else ""


def why_not_begin(cadence: Cadence, now: datetime, claims: int, seconds: float) -> str:
    """Why so many claims, of so many seconds each, are not begun at `now`; empty when they may.

    What would not even fit between two windows is begun all the same: it stops before the claim that does not fit, and
    goes on afterwards. Else it would wait for ever.
    """
    if why := closed(cadence, now):
        return why
    coming = cadence.next_window(now)
    if coming is None:
        return ""
    window, cut_off = coming
    opened = cadence.opened(now)
    needed = timedelta(seconds=claims * seconds)
    if opened is not None and needed > cut_off - opened:
        needed = timedelta(seconds=seconds)
    if now + needed <= cut_off:
        return ""
    return f"{needed.total_seconds():.0f} s of work don't fit before {window.why} at {cut_off:%Y-%m-%d %H:%M} UTC."


# --- deadlines ----------------------------------------------------------------------------------------------------


def priority(deadline: datetime | None, now: datetime) -> int:
    """For the queue: hours by which the deadline is nearer than a week; 0 for most runs, which go in turn."""
    if deadline is None:
        return 0
    return max(int((_HORIZON - (deadline - now)) / timedelta(hours=1)), 0)


@dataclass(frozen=True)
class AtRisk:
    """Claims of an OEM that are not filed, and whose deadline is near or behind them."""

    oem: str
    claims: int
    earliest_due_on: date
    claim_ids: tuple[str, ...]
    """Some of them, the most urgent first."""

    def sentence(self, cadence: Cadence) -> str:
        """For an alert; it says the same for as long as nothing changes."""
        deadline = cadence.deadline(self.earliest_due_on)
        assert deadline is not None
        more = f" and {self.claims - len(self.claim_ids)} more" if self.claims > len(self.claim_ids) else ""
        what = "claim is" if self.claims == 1 else "claims are"
        return (
            f"{self.claims} {what} not filed at {self.oem} shortly before the deadline, the first on"
            f" {deadline:%Y-%m-%d %H:%M} UTC: {', '.join(self.claim_ids)}{more}."
            " Look at the queue page, the dead letters and the review list for what holds them."
        )
