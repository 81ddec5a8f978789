"""Whether the scheduler did its work: judged by the append-only logs of a time, by default a day. Pure.

Leases that nobody ended or that were live at once, ticks that nobody evaluated, claims that nobody moves, queues that
are too old: per OEM, each in a sentence. Times are the ledger's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.lease_log import LeaseEntry, Orphan, Overlap, orphans, overlaps
from oem_submissions.domain.scheduling import Source, Tick
from oem_submissions.domain.states import FILED, State

WINDOW = timedelta(hours=24)
STUCK_SECONDS = 900.0
"""A claim in a worker's hand that has not moved for so long, without a worker, is nobody's."""
_ORPHAN_AFTER = timedelta(minutes=2)
"""What runs out is put right within half a minute, by the sensor, by `watch`, or by the next run."""
_LATE = 2
"""Intervals: what waits longer is too old."""

UNFILED = frozenset(State) - FILED - {State.AWAITING_REFERENCE, State.REJECTED, State.WITHDRAWN}
"""In these states a deadline can still be lost."""
_IN_HAND = frozenset({State.PREPARED, State.ARMED, State.RECONCILING})
"""In these states a worker holds the account, or is lost."""
MAY_STICK = _IN_HAND | {
    State.PROVEN_ABSENT,
    State.CONFIRMED,
    State.SEALED,
    State.OUTCOME_UNKNOWN,
    State.AWAITING_REFERENCE,
}
"""In these states a claim is in the middle of its way, and goes on by itself."""


@dataclass(frozen=True)
class MissedTick:
    """A tick that was not evaluated in time."""

    oem: str
    scheduled_for: datetime
    made_up_at: datetime | None

    def sentence(self) -> str:
        """When, and whether it was made up."""
        what = f"made up at {_time(self.made_up_at)}" if self.made_up_at else "nobody made it up"
        return f"{self.oem}: the tick of {_time(self.scheduled_for)} UTC was missed, {what}."


@dataclass(frozen=True)
class Stuck:
    """A claim in the middle of its way, in an account that nobody holds."""

    claim_id: str
    oem: str
    dealer: str
    state: State
    since: datetime
    """When it last moved, or should have."""

    def sentence(self) -> str:
        """Which, and since when."""
        return (
            f"Claim {self.claim_id} of {self.oem}/{self.dealer} is {self.state} since {_time(self.since)} UTC,"
            " and nobody works on it."
        )


@dataclass(frozen=True)
class QueueAge:
    """How old an OEM's queue is."""

    oem: str
    interval: timedelta
    oldest_ready: datetime | None
    """Since when the claim that waits longest could be filed: retries and redrives don't move it."""
    oldest_queued: datetime | None
    """When the run that waits longest was put in Dagster's queue."""
    quiet: str
    """Why nothing is expected to move; empty when it is."""
    late: tuple[str, ...]
    """What is too old, in words."""

    def sentence(self) -> str:
        """What waits for too long."""
        return f"{self.oem}: {' and '.join(self.late)}, longer than two intervals of {self.interval}."


@dataclass(frozen=True)
class OemHealth:
    """What the logs say of one OEM."""

    oem: str
    ticks_expected: int
    missed: tuple[MissedTick, ...]
    orphans: tuple[Orphan, ...]
    overlaps: tuple[Overlap, ...]
    lost_workers: int
    stuck: tuple[Stuck, ...]
    queue: QueueAge


@dataclass(frozen=True)
class Health:
    """What the logs say of the scheduler."""

    since: datetime
    now: datetime
    oems: tuple[OemHealth, ...]

    @property
    def missed(self) -> list[MissedTick]:
        """Ticks that were not evaluated in time, made up or not."""
        return [missed for oem in self.oems for missed in oem.missed]

    @property
    def orphans(self) -> list[Orphan]:
        """Leases that ran out and that nobody put right."""
        return [orphan for oem in self.oems for orphan in oem.orphans]

    @property
    def overlaps(self) -> list[Overlap]:
        """Leases of one account that were live at once."""
        return [overlap for oem in self.oems for overlap in oem.overlaps]

    @property
    def stuck(self) -> list[Stuck]:
        """Claims that nobody moves."""
        return [stuck for oem in self.oems for stuck in oem.stuck]

    @property
    def late(self) -> list[QueueAge]:
        """Queues that are too old."""
        return [oem.queue for oem in self.oems if oem.queue.late]

    def sentences(self) -> list[str]:
        """All that is wrong, the worst first."""
        found = [overlap.sentence() for overlap in self.overlaps] + [orphan.sentence() for orphan in self.orphans]
        found += [stuck.sentence() for stuck in self.stuck] + [late.sentence() for late in self.late]
        return found + [missed.sentence() for missed in self.missed]


@dataclass(frozen=True)
class Logs:
    """What is judged."""

    since: datetime
    now: datetime
    leases: Sequence[LeaseEntry]
    ticks: Sequence[Tick]
    first_ticks: Mapping[str, datetime]
    """By OEM: from then on ticks are expected."""
    stuck: Sequence[Stuck]
    oldest_ready: Mapping[str, datetime]
    oldest_queued: Mapping[str, datetime]
    files: frozenset[str]
    """OEMs with a release in production: nobody else's claims are expected to move."""


def judge(cadences: Mapping[str, Cadence], logs: Logs) -> Health:
    """The health of these OEMs' scheduling."""
    found_overlaps, found_orphans = overlaps(logs.leases), orphans(logs.leases, logs.now - _ORPHAN_AFTER)
    stuck = [s for s in logs.stuck if s.oem in cadences and _is_stuck(s, cadences[s.oem], logs.now)]
    oems = []
    for oem, cadence in cadences.items():
        begin = max(logs.since, logs.first_ticks.get(oem, logs.now))
        grace, mine = cadence.grace(logs.now), [tick for tick in logs.ticks if tick.oem == oem]
        expected = list(cadence.ticks(begin - timedelta(microseconds=1), logs.now - grace))
        oems.append(
            OemHealth(
                oem,
                len(expected),
                tuple(missed_ticks(oem, expected, mine, grace, cadence.catch_up)),
                tuple(orphan for orphan in found_orphans if orphan.last.oem == oem),
                tuple(overlap for overlap in found_overlaps if overlap.first.oem == oem),
                sum(entry.kind == "expired" and entry.oem == oem for entry in logs.leases),
                tuple(one for one in stuck if one.oem == oem),
                queue_age(oem, cadence, logs),
            )
        )
    return Health(logs.since, logs.now, tuple(oems))


def missed_ticks(
    oem: str, expected: Iterable[datetime], log: Sequence[Tick], grace: timedelta, window: timedelta
) -> list[MissedTick]:
    """Of the expected ticks those that nobody evaluated in time; `log` by the moment that they were scheduled for.

    Whoever asks next, within the window, makes up all that were missed before: a catch-up, a command, the next tick.
    """
    asked = [tick for tick in log if tick.source is not Source.MISSED]
    in_time = {tick.scheduled_for for tick in asked if tick.at - tick.scheduled_for <= grace}
    missed = []
    for scheduled in expected:
        if scheduled not in in_time:
            asked_at = next((tick.at for tick in asked if tick.scheduled_for >= scheduled), None)
            made_up = asked_at is not None and asked_at - scheduled <= window
            missed.append(MissedTick(oem, scheduled, asked_at if made_up else None))
    return missed


def queue_age(oem: str, cadence: Cadence, logs: Logs) -> QueueAge:
    """How old the OEM's queue is, and whether that is too old: longer than two intervals in which it was at work."""
    now, interval = logs.now, cadence.interval(logs.now)
    ready, queued = logs.oldest_ready.get(oem), logs.oldest_queued.get(oem)
    found = cadence.window_at(now)
    quiet = "" if oem in logs.files else "no release is in production"
    if found is not None:
        quiet = f"{found[0].why} until {_time(found[1])} UTC"
    late = []
    if not quiet:
        if ready is not None and _waits_too_long(ready, cadence, now):
            late.append(f"a claim waits since {_time(ready)} UTC")
        if queued is not None and _waits_too_long(queued, cadence, now):
            late.append(f"a run is queued since {_time(queued)} UTC")
    return QueueAge(oem, interval, ready, queued, quiet, tuple(late))


def _waits_too_long(since: datetime, cadence: Cadence, now: datetime) -> bool:
    most = _LATE * cadence.interval(now)
    return cadence.waited(since, now, most) > most


def _is_stuck(claim: Stuck, cadence: Cadence, now: datetime) -> bool:
    """What a worker had in hand soon; what waits for the next tick, to be sealed or looked up, later."""
    if claim.state in _IN_HAND:
        return now - claim.since > timedelta(seconds=STUCK_SECONDS)
    return _waits_too_long(claim.since, cadence, now)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
