"""Real runs of dispositions and sweep, their checks, sensor and schedule. Ground truth is what the portal has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetCheckSeverity,
    AssetKey,
    DagsterEventType,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    TableMetadataValue,
    build_schedule_context,
    build_sensor_context,
)
from dagster._core.definitions.partitions.context import partition_loading_context

from oem_submissions import wiring
from oem_submissions.defs.automation import runs_under_way
from oem_submissions.defs.history import poll_key
from oem_submissions.defs.partitions import add_dealers, partition_key
from oem_submissions.defs.reading import reads_only
from oem_submissions.defs.run_coordinator import business_tags
from oem_submissions.domain.dispositions import Disposition, Seen
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.polling import DuePoll
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import DueWork
from oem_submissions.domain.states import State
from oem_submissions.ledger.store import Ledger
from oem_submissions.services.submit import Partition
from oem_submissions_tests.orchestration.test_filing_runs import OEM, PERIOD, Everything
from oem_submissions_tests.services.runs import let_pass

APPROVED = Seen(Disposition.APPROVED, "Approved")
DOWN = StepFailed(ReasonCode.PORTAL_UNAVAILABLE, "The portal answered HTTP 500.", "look up")
DRIFT = StepFailed(ReasonCode.PAGE_CONTRACT_MISMATCH, "no column 'Status'", "look up")


class History(Everything):
    """Two claims that were filed a while ago, and the jobs that read the portal's history."""

    def __init__(self, ledger: Ledger, folder: Path, hours: float = 8) -> None:
        super().__init__(ledger, folder)
        self.add(1)
        self.add(2)
        self.take_in()
        self.file_all()
        let_pass(ledger, hours)
        add_dealers(self.instance, OEM, ["10234"])

    def file_all(self) -> None:
        partition = Partition(OEM, "10234", PERIOD)
        with wiring.build(self.settings, **self.parts) as services:
            services.submit(partition, "run-1", "worker-1", self.portal)
            assert services.seal(partition, "run-1", "worker-1") == []
            assert services.sync(partition, "run-1", "worker-1") == []

    def execute(self, job: str, key: Any) -> Any:
        return self.defs.resolve_job_def(job).execute_in_process(
            partition_key=key, instance=self.instance, raise_on_error=False
        )

    def poll(self) -> Any:
        return self.execute("aurora_dispositions_job", partition_key("10234", PERIOD))

    def sweep(self) -> Any:
        return self.execute("aurora_sweep_job", "10234")

    def tick(self) -> Any:
        sensor = self.defs.resolve_sensor_def("poll_dispositions")
        with (
            partition_loading_context(dynamic_partitions_store=self.instance),
            wiring.build(self.settings, **self.parts) as services,
            build_sensor_context(
                instance=self.instance,
                resources={"services": services},
                sensor_name="poll_dispositions",
                repository_def=self.defs.get_repository_def(),
            ) as context,
        ):
            return sensor.evaluate_tick(context)

    def night(self) -> list[RunRequest]:
        schedule = self.defs.resolve_schedule_def("aurora_sweep")
        with (
            partition_loading_context(dynamic_partitions_store=self.instance),
            wiring.build(self.settings, **self.parts) as services,
            build_schedule_context(
                instance=self.instance,
                scheduled_execution_time=datetime(2026, 11, 11, 11, 10, tzinfo=UTC),
                resources={"services": services},
                repository_def=self.defs.get_repository_def(),
            ) as context,
        ):
            return list(schedule.evaluate_tick(context).run_requests or ())


@pytest.fixture
def history(ledger: Ledger, tmp_path: Path) -> Iterator[History]:
    made = History(ledger, tmp_path)
    yield made
    made.instance.dispose()


def checks(result: Any) -> dict[str, tuple[bool, AssetCheckSeverity]]:
    return {e.check_name: (e.passed, e.severity) for e in result.get_asset_check_evaluations()}


def metadata(result: Any) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    values = event.materialization.metadata
    return {
        name: value.records if isinstance(value, TableMetadataValue) else value.value for name, value in values.items()
    }


def retries(result: Any) -> int:
    return len([e for e in result.all_events if e.event_type is DagsterEventType.STEP_RESTARTED])


# --- dispositions ---


def test_a_poll_keeps_decisions_and_tells_the_crm(history: History) -> None:
    history.portal.decisions["WC-000001"] = APPROVED
    result = history.poll()
    assert result.success
    assert {name: passed for name, (passed, _) in checks(result).items()} == {
        "disposition_overdue": True,
        "dispositions_understood": True,
        "crm_has_dispositions": True,
    }
    told, untouched = history.crm.read_outcome("REC0001"), history.crm.read_outcome("REC0002")
    assert told is not None
    assert untouched is not None
    assert (told.status, told.disposition, untouched.disposition) == ("FILED", "APPROVED", None)
    seen = metadata(result)
    assert (seen["approved"], seen["undecided"], seen["not taken by the CRM"]) == (1, 1, 0)
    rows = {row.data["claim_id"]: row.data["disposition"] for row in seen["claims"]}
    assert sorted(rows.values()) == ["APPROVED", "UNDECIDED"]
    tags = history.instance.get_run_by_id(result.run_id).tags
    assert {"oem": OEM, "dealer": "10234", "pack": "v0001-pack-digest"}.items() <= tags.items()
    assert {claim.state for claim in history.ledger.all_claims(OEM)} == {State.SYNCED}
    assert len(history.portal.filed) == 2


def test_the_filing_runs_own_check_covers_the_decision(ledger: Ledger, tmp_path: Path) -> None:
    history = History(ledger, tmp_path, hours=0)
    history.portal.decisions["WC-000001"] = APPROVED
    history.poll()
    again = history.run()
    assert again.success
    assert history.evaluations(again)["crm_matches_ledger"] is True
    claim = ledger.claim_of_record(OEM, "REC0001")
    lease = ledger.acquire_lease(OEM, "10234", "r", "w", 60)
    assert claim is not None
    assert lease is not None
    ledger.see(claim, ledger.standing(claim.claim_id), Seen(Disposition.PAID, "Paid"), lease)
    ledger.release_lease(lease)
    assert history.evaluations(history.run())["crm_matches_ledger"] is False  # the CRM still says APPROVED
    history.instance.dispose()


def test_an_unknown_word_and_a_late_decision_are_warned_of(history: History) -> None:
    history.portal.decisions["WC-000001"] = Seen(Disposition.UNRECOGNISED, "Under audit")
    let_pass(history.ledger, 31 * 24)
    result = history.poll()
    assert result.success
    assert checks(result)["disposition_overdue"] == (False, AssetCheckSeverity.WARN)
    assert checks(result)["dispositions_understood"] == (False, AssetCheckSeverity.WARN)
    said = {e.check_name: e.description for e in result.get_asset_check_evaluations()}
    assert "'Under audit'" in said["dispositions_understood"]
    assert "WC-000002" in said["disposition_overdue"]


def test_a_crm_that_is_down_is_told_again_within_the_run_and_the_portal_is_read_once(history: History) -> None:
    history.portal.decisions["WC-000001"] = APPROVED
    history.crm.lose_writes = 2
    result = history.poll()
    assert result.success
    assert (retries(result), len(history.portal.listed_since)) == (2, 1)
    history.portal.decisions["WC-000002"] = APPROVED
    with history.ledger._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE history_reads DISABLE TRIGGER append_only")
        connection.exec_driver_sql("UPDATE history_reads SET at = at - interval '1 hour'")
    history.crm.lose_writes = 99
    behind = history.poll()
    assert behind.success
    assert checks(behind)["crm_has_dispositions"] == (False, AssetCheckSeverity.WARN)
    assert metadata(behind)["not taken by the CRM"] == 1


def test_trouble_of_the_portal_is_said_and_put_off(history: History) -> None:
    history.portal.history_failures = [DOWN]
    result = history.poll()
    assert result.success
    assert "HTTP 500" in metadata(result)["history"]
    assert history.tick().skip_message == "No history is due to be read."


def test_the_sensor_asks_for_one_run_per_account_and_not_while_one_is_under_way(history: History) -> None:
    (asked,), (repeated,) = history.tick().run_requests, history.tick().run_requests
    assert asked.run_key == repeated.run_key
    assert (asked.job_name, asked.partition_key) == ("aurora_dispositions_job", f"10234|{PERIOD}")
    assert {"oem": OEM, "dealer": "10234", "period": PERIOD}.items() <= asked.tags.items()
    job = history.defs.resolve_job_def("aurora_dispositions_job")
    run = history.instance.create_run_for_job(job, tags=dict(asked.tags), status=DagsterRunStatus.STARTED)
    assert history.tick().skip_message == "No history is due to be read."
    assert runs_under_way(history.instance, OEM) == set()  # it does not stand in for a filing run
    history.instance.delete_run(run.run_id)
    history.poll()
    assert history.tick().skip_message == "No history is due to be read."


def test_a_run_key_changes_less_and_less_often_while_nothing_happens() -> None:
    work = DueWork(OEM, "10234", PERIOD, 1, datetime(2026, 11, 10, tzinfo=UTC))
    minutes = (-5, 0, 9, 10, 19, 20, 39, 40, 79, 80)
    keys = [poll_key(DuePoll(work, "read:10234:7", 60.0 * minute)).rpartition(":")[2] for minute in minutes]
    assert keys == ["0", "0", "0", "1", "1", "2", "2", "3", "3", "4"]


# --- the sweep ---


def test_a_sweep_of_an_account_that_agrees_passes(history: History) -> None:
    result = history.sweep()
    assert result.success
    assert checks(result) == {"no_orphans_or_duplicates": (True, AssetCheckSeverity.WARN)}
    assert metadata(result)["conclusive"] is True
    tags = history.instance.get_run_by_id(result.run_id).tags
    assert {"oem": OEM, "dealer": "10234", "pack": "v0001-pack-digest"}.items() <= tags.items()


def test_what_a_person_keyed_in_is_a_warning(history: History) -> None:
    history.portal.filed.append("BYHAND")
    result = history.sweep()
    assert result.success
    assert checks(result) == {"no_orphans_or_duplicates": (False, AssetCheckSeverity.WARN)}
    assert metadata(result)["hand keyed"] == 1


def test_a_duplicate_is_an_error_with_what_to_do_and_stands_in_the_table(history: History) -> None:
    history.portal.filed.append(history.portal.filed[0])
    result = history.sweep()
    assert checks(result) == {"no_orphans_or_duplicates": (False, AssetCheckSeverity.ERROR)}
    (evaluation,) = result.get_asset_check_evaluations()
    assert "Have the OEM void all but one" in evaluation.description
    (row,) = metadata(result)["findings"]
    assert (row.data["kind"], row.data["reference"]) == ("DUPLICATE", "WC-000003")
    assert len(history.portal.filed) == 3  # it filed nothing, and voided nothing


def test_an_outage_is_retried_and_one_that_stays_concludes_nothing(history: History) -> None:
    history.portal.history_failures = [DOWN, DOWN]
    passing = history.sweep()
    assert passing.success
    assert (retries(passing), checks(passing)["no_orphans_or_duplicates"][0]) == (2, True)
    history.portal.history_failures = [DRIFT]
    broken = history.sweep()
    assert broken.success
    assert retries(broken) == 0
    assert checks(broken) == {"no_orphans_or_duplicates": (False, AssetCheckSeverity.WARN)}
    (evaluation,) = broken.get_asset_check_evaluations()
    assert "Nothing is concluded" in evaluation.description


def test_every_night_each_account_is_swept_once(history: History) -> None:
    (request,) = history.night()
    assert (request.partition_key, request.tags["oem"], request.tags["dealer"]) == ("10234", OEM, "10234")
    job = history.defs.resolve_job_def("aurora_sweep_job")
    history.instance.create_run_for_job(job, tags=dict(request.tags), status=DagsterRunStatus.STARTED)
    assert history.night() == []
    schedule = history.defs.resolve_schedule_def("aurora_sweep")
    assert schedule.execution_timezone == "America/Chicago"
    assert job.tags["dagster/priority"] == "-1"  # filing goes first


# --- tags ---


def test_a_backfills_sweep_and_poll_carry_their_dealer() -> None:
    sweep = DagsterRun(
        job_name="__ASSET_JOB",
        asset_selection=frozenset({AssetKey([OEM, "history_sweep"])}),
        tags={"dagster/partition": "10234", "dagster/backfill": "x"},
    )
    assert business_tags(sweep) == {"oem": OEM, "dealer": "10234"}
    poll = DagsterRun(
        job_name="__ASSET_JOB",
        asset_selection=frozenset({AssetKey([OEM, "dispositions"])}),
        tags={"dagster/partition/dealer": "10234", "dagster/partition/period": PERIOD},
    )
    assert business_tags(poll) == {"oem": OEM, "dealer": "10234", "period": PERIOD}
    assert (reads_only(sweep), reads_only(poll)) == ("history_sweep", "dispositions")


def test_a_run_that_files_too_is_no_run_that_only_reads() -> None:
    both = frozenset({AssetKey([OEM, "dispositions"]), AssetKey([OEM, "submission_results"])})
    assert reads_only(DagsterRun(job_name="__ASSET_JOB", asset_selection=both)) is None
    assert reads_only(DagsterRun(job_name="aurora_filing_job")) is None
