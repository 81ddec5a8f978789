"""Ticks that are missed, doubled or cut short; windows, deadlines and priorities; the scheduler's health in Dagster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from dagster import (
    AssetCheckSeverity,
    RunRequest,
    build_schedule_context,
)
from dagster._core.definitions.partitions.context import partition_loading_context
from sqlalchemy import insert, text

from oem_submissions import wiring
from oem_submissions.defs.automation import run_request
from oem_submissions.domain.cadence import Cadence, Window
from oem_submissions.domain.claims import FilingLimit, WarrantyClaim
from oem_submissions.domain.records import AlertKind
from oem_submissions.domain.scheduling import CatchUp, Source
from oem_submissions.domain.states import State
from oem_submissions.ledger.store import Ledger
from oem_submissions.ledger.tables import ticks
from oem_submissions.ports import LedgerUnavailable
from oem_submissions.services.queue import note_command, work_to_enqueue
from oem_submissions.services.release import declare_live
from oem_submissions.services.scheduler_health import watch_deadlines
from oem_submissions_tests.making import PINS, new_claim
from oem_submissions_tests.orchestration.test_filing_runs import OEM, PERIOD, Everything, Rules, sensor_tick
from oem_submissions_tests.services.fakes import FakePortal


def hourly(now: datetime) -> Cadence:
    """Its last tick was half an hour ago."""
    return Cadence(f"{(now - timedelta(minutes=30)).minute} * * * *", "UTC", "day")


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> Iterator[Callable[[Any], Everything]]:
    """Makes everything, with the rules that the test needs."""
    made = []

    def make(rules: Any) -> Everything:
        made.append(Everything(ledger, tmp_path, rules=rules))
        return made[-1]

    yield make
    for one in made:
        one.instance.dispose()


Make = Callable[[Any], Everything]


def tick(everything: Everything, scheduled: datetime) -> Any:
    """One evaluation of the schedule."""
    schedule = everything.defs.resolve_schedule_def(f"{OEM}_enqueue")
    with (
        partition_loading_context(dynamic_partitions_store=everything.instance),
        wiring.build(everything.settings, **everything.parts) as services,
        build_schedule_context(
            instance=everything.instance,
            scheduled_execution_time=scheduled,
            resources={"services": services},
            repository_def=everything.defs.get_repository_def(),
        ) as context,
    ):
        return schedule.evaluate_tick(context)


def keys(requests: list[RunRequest] | None) -> list[str | None]:
    return [request.run_key for request in requests or []]


def test_what_a_dead_daemon_missed_is_made_up_once_and_health_says_so(ledger: Ledger, world: Make) -> None:
    cadence = hourly(ledger.now())
    everything = world(Rules(cadence=cadence))
    everything.add(1)
    everything.take_in()
    newest = cadence.last_tick(ledger.now())
    before = newest - timedelta(hours=4)
    note_command(ledger, Rules(cadence=cadence), 1)  # half an hour late for a tick that nobody expected
    assert "No tick was missed" in sensor_tick(everything, "missed_ticks").skip_message  # there was no first one
    noted = {"oem": OEM, "source": Source.SCHEDULE, "scheduled_for": before, "at": before, "requested": 0}
    with ledger._engine.begin() as connection:
        connection.execute(insert(ticks).values(**noted, cadence=str(cadence)))
    assert "4 ticks were missed, made up by one" in sensor_tick(everything, "missed_ticks").skip_message
    assert "No tick was missed" in sensor_tick(everything, "missed_ticks").skip_message

    # Two daemons at once, and one that was killed and begins again, find it done.
    what = CatchUp((newest - timedelta(hours=1),), newest)
    with ThreadPoolExecutor(2) as both:
        assert list(both.map(lambda _: ledger.make_up(OEM, str(cadence), what), range(2))) == [False, False]
    later = CatchUp((), newest + timedelta(hours=1))
    with ThreadPoolExecutor(2) as both:
        assert sorted(both.map(lambda _: ledger.make_up(OEM, str(cadence), later), range(2))) == [False, True]
    assert len(ledger.enqueue_requests(after=0)) == 2

    # Dagster evaluates the missed ticks, too: they are left alone.
    for hour in range(4):
        assert "up to the tick of" in tick(everything, newest - timedelta(hours=hour)).skip_message
    first = sensor_tick(everything, "enqueue_requests")
    assert keys(first.run_requests) == [f"1:10234:{PERIOD}"]

    looked = sensor_tick(everything, "scheduler_health")
    results = {event.check_name: event for event in looked.asset_events if hasattr(event, "check_name")}
    assert {name for name, result in results.items() if not result.passed} == {"no_missed_ticks"}
    assert len(results) == 5
    assert results["no_missed_ticks"].severity is AssetCheckSeverity.WARN
    assert results["no_missed_ticks"].description.count("was missed, made up at") == 4
    assert sensor_tick(everything, "scheduler_health", looked.cursor).skip_message == "Nothing has changed."


def test_a_tick_that_is_cut_short_or_evaluated_twice_asks_for_no_run_twice_and_a_failed_one_was_none(
    ledger: Ledger, world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduled = ledger.now().replace(second=0, microsecond=0)
    cadence = Cadence(f"{scheduled.minute} * * * *", "UTC", "day")
    everything = world(Rules(cadence=cadence))
    everything.add(1)
    everything.take_in()

    def failing(*_: object, **__: object) -> None:
        raise LedgerUnavailable("The ledger's database does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "due_work", failing)
        with pytest.raises(Exception, match="enqueue"):
            tick(everything, scheduled)
    assert ledger.noted_tick(OEM, str(cadence), scheduled) is None
    first, again = tick(everything, scheduled), tick(everything, scheduled)
    assert keys(first.run_requests) == keys(again.run_requests) == [f"{scheduled:%Y-%m-%dT%H:%MZ}:10234:{PERIOD}"]
    assert len(ledger.ticks_since({OEM: str(cadence)}, scheduled)) == 1
    # A clock that is an hour ahead is not believed, and what it would have noted is not lost.
    assert "clock is ahead" in tick(everything, scheduled + timedelta(hours=1)).skip_message
    assert ledger.newest_ticks({OEM: str(cadence)}) == {OEM: scheduled}


class Closing:
    """An OEM whose window begins when its portal has filed one claim."""

    oem, claim_model, digest, needs_approval = OEM, WarrantyClaim, PINS.adapter_digest, False
    filing_limits: ClassVar[Mapping[str, FilingLimit]] = {}

    portal: FakePortal | None = None

    @property
    def cadence(self) -> Cadence:
        now = datetime.now(UTC)
        begins = now - timedelta(minutes=1) if self.portal and self.portal.filed else now + timedelta(hours=3)
        window = Window(f"{begins.minute} {begins.hour} * * *", 30)
        return Cadence("0 */2 * * 1-6", "UTC", "day", (window,))


def test_a_window_stops_a_run_before_its_next_claim_and_what_is_left_waits_unharmed(world: Make) -> None:
    rules = Closing()
    everything = world(rules)
    rules.portal = everything.portal
    for number in (1, 2, 3):
        everything.add(number)
    everything.take_in()
    with wiring.build(everything.settings, **everything.parts) as services:
        assert len(services.due(OEM, ())) == 1
    result = everything.run()
    assert result.success
    states = [(claim.state, claim.attempts) for claim in everything.ledger.all_claims(OEM)]
    assert sorted(states) == [(State.READY, 0), (State.READY, 0), (State.SYNCED, 1)]
    with wiring.build(everything.settings, **everything.parts) as services:
        assert services.due(OEM, ()) == []  # nor is a run queued


def test_the_nearest_deadline_goes_first_and_people_are_told_before_it_is_lost(ledger: Ledger) -> None:
    today, rules = datetime.now(UTC).date(), Rules(cadence=Cadence("0 */2 * * 1-6", "UTC", "day", deadline_days=1))
    declare_live(ledger, OEM, PINS, "test", "what is tested here is not the gate")
    ledger.add_claim(new_claim(1, dealer="10871", due_on=today, natural_key="one"))
    ledger.add_claim(new_claim(2, due_on=today - timedelta(days=1), natural_key="two"))
    urgent, other = work_to_enqueue(ledger, OEM, ledger.releases(OEM), (), cadence=rules.cadence)
    assert (urgent.dealer, other.dealer) == ("10234", "10871")
    assert urgent.priority - other.priority == 24
    assert run_request(urgent).tags["dagster/priority"] == str(urgent.priority)
    for _ in range(2):  # the second look says nothing new
        watch_deadlines(ledger, {OEM: rules})
    (alert,) = ledger.alerts()
    assert (alert.kind, alert.count, len(alert.claim_ids)) == (AlertKind.DEADLINE_AT_RISK, 1, 2)
    assert "2 claims are not filed at aurora" in alert.text
    with ledger._engine.begin() as connection:
        connection.execute(text("UPDATE claims SET state = 'WITHDRAWN'"))
    watch_deadlines(ledger, {OEM: rules})
    assert ledger.alerts() == []


def test_what_nobody_moves_and_what_waits_is_found_by_its_age(ledger: Ledger, world: Make) -> None:
    everything = world(Rules(cadence=hourly(ledger.now())))
    for number in range(1, 5):
        ledger.add_claim(new_claim(number, natural_key=f"{number}", due_on=date(2026, 11, 10)))
    ready, armed, held, dead = ledger.all_claims(OEM)
    with ledger._engine.begin() as connection:
        aged = "UPDATE claims SET state = :state, created_at = now() - interval '3 hours', updated_at = now() - :ago"
        for claim, state, hours in ((ready, "READY", 0), (armed, "ARMED", 1), (held, "OUTCOME_UNKNOWN", 30)):
            values = {"state": state, "ago": timedelta(hours=hours), "id": claim.claim_id}
            connection.execute(text(f"{aged} WHERE claim_id = :id"), values)
        values = {"state": "DEAD", "ago": timedelta(hours=30), "id": dead.claim_id}
        connection.execute(text(f"{aged}, reason = 'LOGIN_FAILED' WHERE claim_id = :id"), values)
    result = everything.defs.resolve_job_def("scheduler_health_job").execute_in_process(instance=everything.instance)
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert {name for name, check in found.items() if not check.passed} == {
        "no_orphans",
        "queue_age",
        "dead_letters_attended",
    }
    assert f"Claim {armed.claim_id}" in found["no_orphans"].description
    assert f"Claim {held.claim_id}" in found["no_orphans"].description
    assert "a claim waits since" in found["queue_age"].description
    assert "aurora: 1 × LOGIN_FAILED" in found["dead_letters_attended"].description
    lease = ledger.acquire_lease(OEM, "10234", "run-1", "worker-1", 60)
    assert lease is not None
    assert ledger.stuck_claims(900) == []  # somebody is at it
