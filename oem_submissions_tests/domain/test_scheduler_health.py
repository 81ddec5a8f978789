"""What the logs say of the scheduler: each kind of trouble is seen, named and counted for its OEM, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oem_submissions.domain.cadence import Cadence, Window
from oem_submissions.domain.lease_log import LeaseEntry
from oem_submissions.domain.scheduler_health import Health, Logs, Stuck, judge
from oem_submissions.domain.scheduling import Source, Tick
from oem_submissions.domain.states import State

HOURLY = Cadence("0 * * * *", "UTC", "day")
NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
OEMS = {"aurora": HOURLY, "cascade": HOURLY}


def at(hour: int, minute: int = 0, day: int = 24) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def tick(hour: int, minute: int = 0, source: Source = Source.SCHEDULE, oem: str = "aurora") -> Tick:
    return Tick(oem, at(hour), at(hour, minute), source, 0)


def judged(cadences: dict[str, Cadence] | None = None, **changes: Any) -> Health:
    quiet = Logs(NOW - timedelta(hours=24), NOW, (), (), {}, (), {}, {}, frozenset(OEMS))
    return judge(cadences or OEMS, replace(quiet, **changes))


def test_ticks_are_expected_from_the_first_one_on_and_each_is_in_time_made_up_or_missed() -> None:
    log = [tick(8), tick(9, 6), tick(10, source=Source.MISSED), tick(11, 40, Source.CATCH_UP), tick(12)]
    health = judged(ticks=log, first_ticks={"aurora": at(8)})
    assert [(m.scheduled_for, m.made_up_at) for m in health.missed] == [(at(10), at(11, 40)), (at(11), at(11, 40))]
    assert [oem.ticks_expected for oem in health.oems] == [5, 0]
    impatient = {"aurora": replace(HOURLY, catch_up=timedelta(hours=1))}
    log = [tick(8), tick(9), tick(10, source=Source.MISSED), tick(12)]
    without = judged(impatient, ticks=log, first_ticks={"aurora": at(8)})  # the next tick comes in time for the last
    assert [(m.scheduled_for, m.made_up_at) for m in without.missed] == [(at(10), None), (at(11), at(12))]
    assert "the tick of 2026-11-24 10:00 UTC was missed, nobody made it up" in without.missed[0].sentence()
    assert judged(ticks=[tick(8)], first_ticks={"aurora": at(8)}, now=at(9, 5)).missed == []  # in time still


def test_only_the_days_window_is_judged() -> None:
    health = judged(ticks=[], first_ticks={"aurora": at(8, day=10)})
    assert len(health.missed) == 24
    assert health.missed[0].scheduled_for == at(13, day=23)


@pytest.mark.parametrize(
    ("since", "late"),
    [(at(10, 31), False), (at(10, 29), True), (at(9, day=1), True)],
)
def test_a_claim_or_a_run_that_waits_longer_than_two_intervals_is_late(since: datetime, late: bool) -> None:
    assert [queue.oem for queue in judged(oldest_ready={"aurora": since}).late] == ["aurora"] * late
    health = judged(oldest_queued={"cascade": since})
    assert [queue.oem for queue in health.late] == ["cascade"] * late
    assert not late or "a run is queued since" in health.late[0].sentence()


def test_nothing_is_late_in_a_window_or_without_a_release_in_production() -> None:
    waiting = {"aurora": at(1)}
    assert judged(oldest_ready=waiting, files=frozenset({"cascade"})).late == []
    shut = Cadence("0 * * * *", "UTC", "day", (Window("0 12 * * *", 60),))
    assert judged({"aurora": shut}, oldest_ready=waiting).late == []
    assert judged({"aurora": shut}, oldest_ready={"aurora": at(11)}, now=at(13, 30)).late == []
    assert judged({"aurora": shut}, oldest_ready={"aurora": at(10)}, now=at(13, 30)).late != []


def test_orphans_overlaps_losses_and_stuck_claims_are_counted_for_their_oem() -> None:
    def entry(minute: float, kind: str, token: int, oem: str = "aurora") -> LeaseEntry:
        began = at(12) + timedelta(minutes=minute)
        return LeaseEntry(began, kind, oem, "10234", "host:1", "run-1", token, began + timedelta(minutes=1))

    log = [entry(0, "acquired", 1), entry(0.5, "acquired", 2), entry(1, "released", 2), entry(1, "expired", 1)]
    log += [entry(26, "acquired", 3, "cascade"), entry(28, "acquired", 4)]  # the last may still be put right
    stuck = [
        Stuck("aurora-1", "aurora", "10234", State.ARMED, at(12)),
        Stuck("aurora-2", "aurora", "10234", State.CONFIRMED, at(12)),  # the next tick seals it
        Stuck("aurora-3", "aurora", "10234", State.SEALED, at(9)),
        Stuck("gone-1", "gone", "10234", State.ARMED, at(9)),
    ]
    aurora, cascade = judged(leases=log, stuck=stuck).oems
    assert [len(found) for found in (aurora.orphans, aurora.overlaps, aurora.stuck)] == [0, 1, 2]
    assert [len(found) for found in (cascade.orphans, cascade.overlaps, cascade.stuck)] == [1, 0, 0]
    assert (aurora.lost_workers, cascade.lost_workers) == (1, 0)
    assert "aurora-1 of aurora/10234 is ARMED since" in aurora.stuck[0].sentence()
    assert judged(leases=log, stuck=stuck).overlaps == list(aurora.overlaps)
