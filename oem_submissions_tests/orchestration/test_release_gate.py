"""The gate in Dagster: the sensor moves releases on and asks for pilots; the asset shows the dots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetMaterialization,
    AssetSelection,
    DagsterEventType,
    Definitions,
    build_schedule_context,
    define_asset_job,
)
from dagster._core.definitions.partitions.context import partition_loading_context

from oem_submissions import wiring
from oem_submissions.defs.partitions import add_dealers
from oem_submissions.domain.contracts import Change, ProbedPage, ProbeReport, Severity
from oem_submissions.domain.releases import Cause, ReleaseState
from oem_submissions.domain.states import State
from oem_submissions.ledger.store import Ledger
from oem_submissions.services.breaking import close
from oem_submissions.services.release import follow_probe, suspend
from oem_submissions_tests.making import PINS
from oem_submissions_tests.orchestration.test_filing_runs import OEM, Everything, sensor_tick
from oem_submissions_tests.services.test_release import BROKEN

CHECKS = {"clean_run_streak", "time_to_submit_drift", "success_rate_drift"}


class Gated(Everything):
    """An OEM of which nothing was released yet; dealer 10234 is its pilot."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        super().__init__(ledger, folder, live=False)
        ledger.import_dealers([(OEM, "10234", "Lakeside Motors", True)])

    def tick(self, cursor: str | None = None) -> Any:
        return sensor_tick(self, "release_gate", cursor)

    def state(self) -> ReleaseState:
        (release,) = self.ledger.releases(OEM)
        return release.state

    def release_job(self) -> Any:
        """What a person's click on "Materialize" does."""
        job = define_asset_job("look", AssetSelection.assets(f"{OEM}/release"))
        definitions = Definitions.merge(self.defs, Definitions(jobs=[job]))
        return definitions.resolve_job_def("look").execute_in_process(instance=self.instance)


@pytest.fixture
def gated(ledger: Ledger, tmp_path: Path) -> Iterator[Gated]:
    made = Gated(ledger, tmp_path)
    yield made
    made.instance.dispose()


def told(tick: Any) -> dict[str, AssetCheckEvaluation]:
    return {event.check_name: event for event in tick.asset_events if isinstance(event, AssetCheckEvaluation)}


def test_the_sensor_sees_a_release_asks_for_the_pilots_run_and_reports_each_dot_once(gated: Gated) -> None:
    gated.add(1)
    gated.take_in()
    first = gated.tick()
    assert gated.state() is ReleaseState.VERIFYING
    assert [request.tags["dealer"] for request in first.run_requests] == ["10234"]
    assert set(told(first)) == CHECKS
    assert not told(first)["clean_run_streak"].passed
    assert told(first)["clean_run_streak"].severity is AssetCheckSeverity.WARN
    gated.run(raise_on_error=True)
    second = gated.tick(first.cursor)
    assert not second.run_requests
    assert (told(second)["clean_run_streak"].description or "").startswith("●○○○○")
    (made,) = (event for event in second.asset_events if isinstance(event, AssetMaterialization))
    run_id = gated.ledger.all_claims()[0].run_id
    assert f"/runs/{run_id})" in str(made.metadata["streak"].value)
    assert gated.tick(second.cursor).skip_message == "Every release is where it was."


def test_after_a_run_that_was_not_clean_it_is_the_schedules_turn(gated: Gated) -> None:
    gated.add(1)
    gated.take_in()
    gated.tick()
    gated.portal.failures = [BROKEN]
    gated.run()
    close(gated.ledger.breaker(OEM), "test", gated.ledger)
    gated.add(2, dealer="10234")
    gated.take_in()
    assert not gated.tick().run_requests
    assert [request.tags["dealer"] for request in schedule_requests(gated)] == ["10234"]


def test_a_release_that_is_live_is_looked_at_when_a_run_moved_it_and_now_and_then(
    ledger: Ledger, tmp_path: Path
) -> None:
    live = Everything(ledger, tmp_path)

    def look(cursor: str | None) -> tuple[str, dict[str, Any]]:
        cursor = sensor_tick(live, "release_gate", cursor).cursor
        return cursor, json.loads(cursor)[OEM]

    first, seen = look(None)
    idle, still = look(first)
    assert still == seen, "nothing moved: the claims were not read"
    old, _ = look(json.dumps({OEM: seen | {"at": seen["at"] - 301, "shown": "before"}}))
    assert json.loads(old)[OEM]["shown"] == seen["shown"]
    live.add(1)
    live.take_in()
    live.run(raise_on_error=True)
    _, moved = look(idle)
    assert moved["at"] > seen["at"]
    assert moved["shown"] != seen["shown"]
    live.instance.dispose()


def test_a_backfill_of_a_dealer_who_waits_files_nothing_and_says_why(gated: Gated) -> None:
    gated.add(1)
    gated.take_in()
    gated.ledger.import_dealers([(OEM, "10234", None, False)])
    gated.tick()
    add_dealers(gated.instance, OEM, ["10234"])
    result = gated.run()
    (claim,) = gated.ledger.all_claims()
    assert (claim.state, claim.attempts, gated.portal.filed) == (State.READY, 0, [])
    assert not [e for e in result.all_events if e.event_type is DagsterEventType.STEP_UP_FOR_RETRY]
    run = gated.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["release_state"] == "closed"


def test_a_run_carries_the_release_it_is_pinned_to(gated: Gated) -> None:
    gated.add(1)
    gated.take_in()
    gated.tick()
    result = gated.run(raise_on_error=True)
    run = gated.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["release_state"] == "verifying"
    assert run.tags["pack"].startswith("v0001-")


def test_a_step_that_is_tried_again_and_a_check_that_fails_set_the_streak_back(gated: Gated) -> None:
    gated.add(1)
    gated.take_in()
    gated.tick()
    gated.crm.lose_writes = 1
    gated.run(raise_on_error=True)
    told_now = told(gated.tick())["clean_run_streak"].description or ""
    assert told_now.startswith("○○○○○")
    assert "step sync_crm" in told_now


def test_a_suspended_release_fails_its_check_and_materialising_it_looks_again(gated: Gated) -> None:
    gated.tick()
    (release,) = gated.ledger.releases(OEM)
    suspend(gated.ledger, release, Cause.PERSON, "Ann", "Ann: the OEM asked us to wait")
    result = gated.release_job()
    checks = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert set(checks) == CHECKS
    assert (checks["clean_run_streak"].passed, checks["clean_run_streak"].severity) == (False, AssetCheckSeverity.ERROR)
    assert "the OEM asked us to wait" in (checks["clean_run_streak"].description or "")


def schedule_requests(gated: Gated) -> list[Any]:
    schedule = gated.defs.resolve_schedule_def("aurora_enqueue")
    with (
        partition_loading_context(dynamic_partitions_store=gated.instance),
        wiring.build(gated.settings, **gated.parts) as services,
        build_schedule_context(
            instance=gated.instance,
            scheduled_execution_time=datetime(2026, 11, 10, 18, tzinfo=UTC),
            resources={"services": services},
            repository_def=gated.defs.get_repository_def(),
        ) as context,
    ):
        return list(schedule.evaluate_tick(context).run_requests or ())


def test_what_a_red_probe_suspended_is_probed_again_after_a_while(gated: Gated) -> None:
    gated.add(1)
    gated.take_in()
    gated.tick()
    change = Change(Severity.BLOCK, "warranty", "form", "label 'VIN' is now 'Vehicle'")
    report = ProbeReport((ProbedPage("warranty", "form", 0.3, (change,)),), (), {})
    record = gated.ledger.note_probe(OEM, "10234", PINS, "run-9", "test", 1.0, report)
    follow_probe(gated.ledger, record)
    assert gated.state() is ReleaseState.SUSPENDED
    assert not gated.tick().run_requests
    with gated.ledger._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE probes DISABLE TRIGGER append_only")
        connection.exec_driver_sql("UPDATE probes SET at = at - interval '11 minutes'")
    (request,) = gated.tick().run_requests
    assert (request.job_name, request.tags["dealer"]) == ("aurora_probe_job", "10234")
    green = gated.ledger.note_probe(OEM, "10234", PINS, "run-10", "test", 1.0, ProbeReport((), ("warranty",), {}))
    follow_probe(gated.ledger, green)
    assert gated.state() is ReleaseState.VERIFYING
