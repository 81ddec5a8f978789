"""A run, its retries, its checks and its tags; schedules and sensors. Ground truth is what the portal filed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest
from dagster import (
    AssetCheckSeverity,
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    RunRequest,
    build_schedule_context,
    build_sensor_context,
)
from dagster._core.definitions.partitions.context import partition_loading_context
from PIL import Image

from oem_submissions import wiring
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.defs.partitions import add_dealers, partition_key
from oem_submissions.defs.run_coordinator import business_tags
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import FilingLimit, WarrantyClaim
from oem_submissions.domain.evidence import POST_CONFIRM, bundle_key
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.outcomes import Answer
from oem_submissions.domain.reasons import REASONS, ReasonCode
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import CrmOutcome, CrmUnavailable, EvidenceUnavailable, Portal
from oem_submissions.services.release import declare_live
from oem_submissions.settings import Settings, read_settings
from oem_submissions_tests.evidence import samples
from oem_submissions_tests.making import PINS, warranty_payload
from oem_submissions_tests.services.fakes import FakePortal, FakeSession
from oem_submissions_tests.services.runs import expire_leases, let_pass

PERIOD = "2026-11-10"
OEM = "aurora"


@dataclass(frozen=True)
class Rules:
    """An adapter, as far as intake and Dagster need one."""

    oem: str = OEM
    claim_model: Any = WarrantyClaim
    cadence: Cadence = Cadence("0 */2 * * 1-6", "America/Chicago", "day")
    digest: str = PINS.adapter_digest
    filing_limits: Mapping[str, FilingLimit] = field(default_factory=dict)
    needs_approval: bool = False


@dataclass(frozen=True)
class OnePortal:
    """The `Portals` of a world with one OEM."""

    only: Portal

    def portal(self, oem: str, pack_version: str | None = None) -> Portal:
        return self.only


class Scheduled(Protocol):
    """What a sensor's tick needs of a test's world."""

    defs: Definitions
    instance: DagsterInstance
    settings: Settings
    parts: dict[str, Any]


class ForgetfulCrm(MemoryCrm):
    """A CRM that does not take its first writes."""

    lose_writes = 0

    def write_outcome(self, record_id: str, outcome: CrmOutcome) -> None:
        if self.lose_writes:
            self.lose_writes -= 1
            raise CrmUnavailable("The CRM is down.")
        super().write_outcome(record_id, outcome)


class Everything:
    """Definitions on a real ledger, with fakes behind the ports."""

    def __init__(self, ledger: Ledger, folder: Path, live: bool = True, rules: Any = None) -> None:
        self.ledger, self.crm, self.portal = ledger, ForgetfulCrm(), FakePortal()
        self.instance = DagsterInstance.local_temp(str(folder))
        self.evidence = MemoryStore()
        self.settings = replace(read_settings({}), home=folder, retry_seconds=0.0)
        secret = {f"OEM_SUBMISSIONS_SECRET_PORTAL_AURORA_10234_{part}": "x" for part in ("USERNAME", "PASSWORD")}
        self.parts: dict[str, Any] = {
            "ledger": ledger,
            "crm": self.crm,
            "evidence": self.evidence,
            "secrets": wiring.EnvironmentSecrets(secret),
            "adapters": {OEM: rules or Rules()},
            "portals": lambda _: nullcontext(OnePortal(self.portal)),
            "released_packs": lambda _: [(PINS.pack_version, PINS.pack_digest)],
        }
        if live:
            declare_live(ledger, OEM, PINS, "test", "what is tested here is not the gate")
        self.defs: Definitions = wiring.definitions(self.settings, **self.parts)

    def use(self, **parts: Any) -> None:
        """Put other parts behind the ports."""
        self.parts.update(parts)
        self.defs = wiring.definitions(self.settings, **self.parts)

    def add(self, number: int, **changes: Any) -> None:
        payload = warranty_payload(number, **changes)
        self.crm.add(
            f"REC{number:04d}",
            oem=OEM,
            dealer="10234",
            claim_type="warranty",
            due_on=date(2026, 11, 10),
            payload=payload,
        )

    def take_in(self) -> Any:
        with wiring.build(self.settings, **self.parts) as services:
            return services.take_in()

    def run(self, raise_on_error: bool = False) -> Any:
        add_dealers(self.instance, OEM, ["10234"])
        job = self.defs.resolve_job_def("aurora_filing_job")
        return job.execute_in_process(
            partition_key=partition_key("10234", PERIOD), instance=self.instance, raise_on_error=raise_on_error
        )

    def evaluations(self, result: Any) -> dict[str, bool]:
        return {e.check_name: e.passed for e in result.get_asset_check_evaluations()}


@pytest.fixture
def everything(ledger: Ledger, tmp_path: Path) -> Iterator[Everything]:
    made = Everything(ledger, tmp_path)
    yield made
    made.instance.dispose()


def test_a_run_files_seals_and_tells_the_crm(everything: Everything) -> None:
    for number in (1, 2):
        everything.add(number)
    everything.take_in()
    result = everything.run(raise_on_error=True)
    assert result.success
    assert len(everything.portal.filed) == 2
    assert everything.evaluations(result) == {
        "reference_captured": True,
        "no_unknown_outcomes": True,
        "evidence_present": True,
        "crm_matches_ledger": True,
    }
    claims = everything.ledger.all_claims(OEM)
    assert {claim.state for claim in claims} == {State.SYNCED}
    told = everything.crm.read_outcome("REC0001")
    assert told is not None
    assert (told.status, told.reference) == ("FILED", claims[0].reference)
    assert told.evidence_url == f"http://127.0.0.1:8787/e/{claims[0].claim_id}/{claims[0].bundle_digest}"
    tags = everything.instance.get_run_by_id(result.run_id).tags
    assert {"oem": "aurora", "dealer": "10234", "period": PERIOD, "pack": "v0001-pack-digest"}.items() <= tags.items()
    assert tags["adapter_digest"] == "adapter-dige"


def test_materialising_a_filed_partition_again_files_nothing(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    everything.run()
    again = everything.run(raise_on_error=True)
    assert again.success
    assert len(everything.portal.filed) == 1
    assert everything.crm.writes("REC0001") == 1
    event = again.asset_materializations_for_node("aurora_filing.submit_claims")
    assert event or len(again.get_asset_materialization_events()) == 3


def test_a_refused_claim_reaches_the_crm_with_its_reason_and_the_run_succeeds(everything: Everything) -> None:
    everything.add(1)
    everything.add(2)
    everything.take_in()
    everything.portal.refuse = lambda s: "AUR-417 too old" if "RO000001" in s.natural_key else None
    assert everything.run().success
    refused, filed = everything.crm.read_outcome("REC0001"), everything.crm.read_outcome("REC0002")
    assert refused is not None
    assert filed is not None
    assert (refused.status, refused.reason_code) == ("REJECTED", "VALIDATION_REJECTED")
    assert "AUR-417 too old" in (refused.reason_text or "")
    assert refused.evidence_digest is not None
    assert filed.status == "FILED"


def test_a_lost_reply_fails_the_run_and_its_check_and_the_crm_still_hears_of_the_others(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    everything.portal.lose_reply = True
    result = everything.run()
    assert not result.success
    assert everything.evaluations(result)["reference_captured"] is False
    held = everything.crm.read_outcome("REC0001")
    assert held is not None
    assert (held.status, held.reason_code, held.evidence_url) == ("HELD", "OUTCOME_UNKNOWN", None)
    again = everything.run()
    assert again.success
    told = everything.crm.read_outcome("REC0001")
    assert told is not None
    assert (told.status, told.reference, told.reason_code) == ("FILED", "WC-000001", None)
    assert told.evidence_digest is not None
    assert everything.evaluations(again)["evidence_present"] is True
    assert len(everything.portal.filed) == 1


def test_a_held_claim_that_waits_for_its_settle_window_is_no_work(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    everything.portal.lose_request = True
    everything.run()
    assert [work.claims for work in everything.ledger.due_work(OEM)] == [1]
    everything.run()
    assert everything.ledger.due_work(OEM) == []
    assert everything.ledger.untold() == []
    assert everything.ledger.partitions_to_look_up(OEM) == []
    assert everything.portal.filed == []


def test_the_sensor_asks_for_a_run_per_due_look(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    everything.portal.lose_request = True
    everything.run()
    sensor = everything.defs.resolve_sensor_def("reconcile_unknowns")

    def tick() -> Any:
        with (
            partition_loading_context(dynamic_partitions_store=everything.instance),
            wiring.build(everything.settings, **everything.parts) as services,
            build_sensor_context(
                instance=everything.instance,
                resources={"services": services},
                sensor_name="reconcile_unknowns",
                repository_def=everything.defs.get_repository_def(),
            ) as context,
        ):
            return sensor.evaluate_tick(context)

    (asked,), (repeated,) = tick().run_requests, tick().run_requests
    assert asked.run_key == repeated.run_key
    assert (asked.partition_key, asked.job_name) == (f"10234|{PERIOD}", "aurora_filing_job")
    everything.run()
    assert "No look is due" in tick().skip_message
    let_pass(everything.ledger, 0)
    (later,) = tick().run_requests
    assert later.run_key != asked.run_key
    job = everything.defs.resolve_job_def("aurora_filing_job")
    everything.instance.create_run_for_job(job, tags=dict(later.tags), status=DagsterRunStatus.STARTED)
    assert "No look is due" in tick().skip_message


def test_an_outage_is_retried_by_the_op_and_ends_filed(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    everything.portal.failures = [StepFailed(ReasonCode.PORTAL_UNAVAILABLE, "503", "log in")] * 2
    result = everything.run()
    assert result.success
    retries = [e for e in result.all_events if e.event_type is DagsterEventType.STEP_RESTARTED]
    assert len(retries) == 2
    assert len(everything.portal.filed) == 1


def test_a_dead_letter_of_drift_fails_the_run_with_what_to_do(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    everything.portal.failures = [StepFailed(ReasonCode.SELECTOR_NOT_FOUND, "no 'VIN' on page form", "fill")]
    result = everything.run()
    assert not result.success
    (failed,) = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert (failed.check_name, failed.severity) == ("reference_captured", AssetCheckSeverity.ERROR)
    assert "SELECTOR_NOT_FOUND" in failed.description
    assert "oem-submissions probe" in failed.description


def test_an_outage_of_the_crm_never_touches_the_portal_again(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    everything.crm.unavailable = "The CRM is down."
    assert not everything.run().success
    assert everything.ledger.all_claims(OEM)[0].state is State.SEALED
    everything.crm.unavailable = None
    assert everything.run().success
    assert len(everything.portal.filed) == 1


class StoreRefusing(MemoryStore):
    """A store that does not take what has a word in its key."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word: str | None = word

    def put(self, key: str, data: bytes) -> None:
        if self.word is not None and self.word in key:
            raise EvidenceUnavailable("The disk is full.")
        super().put(key, data)


def test_a_bundle_that_can_not_be_stored_holds_up_no_other_claim(everything: Everything) -> None:
    everything.add(1)
    everything.add(2)
    everything.take_in()
    first, second = everything.ledger.all_claims(OEM)
    store = StoreRefusing(f"bundles/{first.claim_id}")
    everything.use(evidence=store)
    result = everything.run()
    assert not result.success
    assert everything.evaluations(result)["evidence_present"] is False
    states = [everything.ledger.claim(claim.claim_id).state for claim in (first, second)]
    assert states == [State.CONFIRMED, State.SYNCED]
    store.word = None
    assert everything.run().success
    assert len(everything.portal.filed) == 2


def test_evidence_that_is_not_durable_before_the_click_stops_the_claim(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    everything.use(evidence=StoreRefusing("pre_submit"))
    assert not everything.run().success
    assert everything.portal.filed == []
    assert everything.ledger.all_claims(OEM)[0].reason is ReasonCode.PRE_EVIDENCE_MISSING


def test_evidence_that_is_not_durable_after_the_click_holds_the_claim(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    everything.use(evidence=StoreRefusing("post_confirm"))
    assert not everything.run().success
    assert len(everything.portal.filed) == 1
    (claim,) = everything.ledger.all_claims(OEM)
    assert (claim.state, claim.reason) == (State.OUTCOME_UNKNOWN, ReasonCode.POST_EVIDENCE_MISSING)
    assert "WC-000001" in (claim.reason_text or "")


def test_a_refused_record_is_told_to_the_crm_later_when_it_was_down(everything: Everything) -> None:
    everything.add(1, vin="WRONG")
    everything.crm.lose_writes = 1
    everything.take_in()
    assert everything.crm.read_outcome("REC0001") is None
    everything.take_in()
    told = everything.crm.read_outcome("REC0001")
    assert told is not None
    assert told.status == "DEAD"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vin": "1HGCM8260AA000002"}, "check digit"),
        ({"labour_amount": "-1.00"}, "labour_amount"),
        ({"repair_order": None}, "repair_order"),
        ({"complaint": "x\u0000y"}, "payload"),
        ({"complaint": "x\u0007y"}, "complaint"),
    ],
)
def test_a_record_that_is_no_claim_is_kept_with_its_reason(
    everything: Everything, change: dict[str, Any], words: str
) -> None:
    everything.add(1, **change)
    everything.add(2)
    report = everything.take_in()
    assert (len(report.refused), len(report.taken_in)) == (1, 1)
    told = everything.crm.read_outcome("REC0001")
    assert told is not None
    assert (told.status, told.reason_code) == ("DEAD", "PAYLOAD_INVALID")
    assert words in (told.reason_text or "")
    assert everything.take_in().refused == ()
    everything.crm.edit("REC0001", warranty_payload(1))
    assert len(everything.take_in().amended) == 1


def test_an_attachment_that_is_not_what_it_says_is_refused(everything: Everything) -> None:
    for number, file in enumerate(
        [("photo.png", "photo", b"MZ not a picture"), ("big.pdf", "other", b"%PDF-" + b"0" * 6_000_000)]
    ):
        everything.add(number + 1)
        everything.crm.attach(f"REC{number + 1:04d}", [file])
    assert len(everything.take_in().refused) == 2
    assert {claim.reason for claim in everything.ledger.all_claims(OEM)} == {ReasonCode.ATTACHMENT_REJECTED}


def test_an_unknown_oem_is_kept_with_its_reason(everything: Everything) -> None:
    everything.crm.add("R9", oem="nowhere", dealer="1", claim_type="warranty", due_on=date(2026, 11, 10), payload={})
    everything.take_in()
    (claim,) = everything.ledger.all_claims("nowhere")
    assert (claim.state, claim.reason) == (State.DEAD, ReasonCode.OEM_UNKNOWN)
    everything.use(adapters={OEM: Rules(), "nowhere": Rules("nowhere")})
    everything.take_in()  # its adapter came: the record is read again, and is wrong in another way
    (claim,) = everything.ledger.all_claims("nowhere")
    assert (claim.state, claim.reason) == (State.DEAD, ReasonCode.PAYLOAD_INVALID)


def test_a_redriven_record_that_was_no_claim_is_read_again(everything: Everything) -> None:
    everything.add(1, vin="WRONG")
    everything.take_in()
    (claim,) = everything.ledger.all_claims(OEM)
    assert everything.take_in().refused == ()
    everything.ledger.redrive(claim, "Ana")
    assert everything.take_in().refused == (claim.claim_id,)


def tick(everything: Everything) -> list[RunRequest]:
    """One evaluation of the schedule, always for the same moment."""
    schedule = everything.defs.resolve_schedule_def("aurora_enqueue")
    now = datetime(2026, 11, 10, 14, tzinfo=UTC)
    with (
        partition_loading_context(dynamic_partitions_store=everything.instance),
        wiring.build(everything.settings, **everything.parts) as services,
        build_schedule_context(
            instance=everything.instance,
            scheduled_execution_time=now,
            resources={"services": services},
            repository_def=everything.defs.get_repository_def(),
        ) as context,
    ):
        return list(schedule.evaluate_tick(context).run_requests or ())


def test_the_schedule_only_enqueues_and_what_is_under_way_is_not_enqueued_twice(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    (request,) = tick(everything)
    assert request.partition_key == f"10234|{PERIOD}"
    assert {"oem": "aurora", "dealer": "10234", "period": PERIOD}.items() <= request.tags.items()
    assert everything.portal.log_ins == 0
    job = everything.defs.resolve_job_def("aurora_filing_job")
    everything.instance.create_run_for_job(job, tags=dict(request.tags), status=DagsterRunStatus.STARTED)
    assert tick(everything) == []
    assert everything.ledger.last_tick(OEM) is not None


def test_a_schedule_that_fires_twice_for_one_tick_files_once(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    asked = [*tick(everything), *tick(everything)]  # none of the first one's runs is in the queue yet
    assert [request.partition_key for request in asked] == [f"10234|{PERIOD}"] * 2
    job = everything.defs.resolve_job_def("aurora_filing_job")
    add_dealers(everything.instance, OEM, ["10234"])
    for request in asked:
        assert job.execute_in_process(partition_key=request.partition_key, instance=everything.instance).success
    assert len(everything.portal.filed) == 1
    assert everything.crm.writes("REC0001") == 1


def test_an_enqueue_request_becomes_runs_once(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    everything.ledger.request_enqueue(OEM, (), None, "Ana")
    first, repeated = (sensor_tick(everything, "enqueue_requests") for _ in range(2))
    assert (
        [r.run_key for r in first.run_requests] == [r.run_key for r in repeated.run_requests] == [f"1:10234:{PERIOD}"]
    )
    assert sensor_tick(everything, "enqueue_requests", first.cursor).skip_message == "Nobody asked."


def sensor_tick(everything: Scheduled, name: str, cursor: str | None = None) -> Any:
    """One evaluation of a sensor."""
    sensor = everything.defs.resolve_sensor_def(name)
    with (
        partition_loading_context(dynamic_partitions_store=everything.instance),
        wiring.build(everything.settings, **everything.parts) as services,
        build_sensor_context(
            instance=everything.instance,
            cursor=cursor,
            resources={"services": services},
            sensor_name=name,
            repository_def=everything.defs.get_repository_def(),
        ) as context,
    ):
        return sensor.evaluate_tick(context)


def started(everything: Everything) -> str:
    """A run that Dagster takes for running."""
    job = everything.defs.resolve_job_def("aurora_filing_job")
    tags = {"oem": OEM, "dealer": "10234", "period": PERIOD}
    return everything.instance.create_run_for_job(job, tags=tags, status=DagsterRunStatus.STARTED).run_id


@pytest.mark.parametrize("who", ["the sensor", "a new run"])
def test_a_lost_workers_run_is_failed_and_its_work_goes_on_whoever_took_the_account_over(
    everything: Everything, who: str
) -> None:
    everything.add(1)
    everything.take_in()
    ledger, run_id = everything.ledger, started(everything)
    lease = ledger.acquire_lease(OEM, "10234", run_id, "worker-9", 60)
    assert lease is not None
    expire_leases(ledger)
    if who == "a new run":
        taken = ledger.acquire_lease(OEM, "10234", "run-new", "worker-10", 60)
        assert taken is not None
        ledger.release_lease(taken)
    first = sensor_tick(everything, "lost_workers")
    assert everything.instance.get_run_by_id(run_id).status is DagsterRunStatus.FAILURE  # type: ignore[union-attr]
    assert [request.run_key for request in first.run_requests] == [f"lost:{run_id}:{PERIOD}"]
    assert [alert.run_id for alert in ledger.alerts(only_open=False)] == [run_id]
    assert ledger.alerts() == []  # it left no claim behind
    assert sensor_tick(everything, "lost_workers", first.cursor).skip_message == "Every worker is alive."
    assert len(ledger.alerts(only_open=False)) == 1


def test_a_worker_that_dies_without_an_account_is_missed_by_its_silence(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    run_id = started(everything)
    everything.ledger.beat(run_id, "worker-9")
    assert sensor_tick(everything, "lost_workers").skip_message == "Every worker is alive."
    with everything.ledger._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE worker_beats SET at = at - interval '5 minutes'")
    (request,) = sensor_tick(everything, "lost_workers").run_requests
    assert request.run_key == f"lost:{run_id}:{PERIOD}"
    assert everything.instance.get_run_by_id(run_id).status is DagsterRunStatus.FAILURE  # type: ignore[union-attr]
    assert "worker-9" in everything.ledger.alerts()[0].text
    assert everything.ledger.silent_runs(0) == []


def test_a_run_says_that_it_lives(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    beats: list[str] = []
    beat = everything.ledger.beat
    everything.ledger.beat = lambda run, worker: (beats.append(run), beat(run, worker))  # type: ignore[method-assign,assignment]
    result = everything.run()
    assert set(beats) == {result.dagster_run.run_id}
    with everything.ledger._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE worker_beats SET at = at - interval '5 minutes'")
    assert sensor_tick(everything, "lost_workers").skip_message == "Every worker is alive."  # its run has ended
    assert everything.ledger.alerts() == []
    assert not everything.ledger.has_beaten(result.dagster_run.run_id)


def test_a_run_that_never_said_a_word_is_given_up_in_the_end(
    everything: Everything, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything.add(1)
    everything.take_in()
    run_id = started(everything)
    everything.instance.report_engine_event("It began.", everything.instance.get_run_by_id(run_id))
    monkeypatch.setattr("oem_submissions.defs.automation._MUTE_SECONDS", -1.0)
    (request,) = sensor_tick(everything, "lost_workers").run_requests
    assert request.run_key == f"lost:{run_id}:{PERIOD}"


def test_an_open_breaker_enqueues_nothing_until_its_probe_is_due_and_the_run_closes_it(everything: Everything) -> None:
    everything.add(1)
    everything.add(2)
    everything.take_in()
    everything.portal.failures = [StepFailed(ReasonCode.SELECTOR_NOT_FOUND, "The button is gone.", "open form")]
    everything.run()
    assert sensor_tick(everything, "breaker_probes").skip_message == "No probe is due."
    let_pass(everything.ledger, 1)
    (request,) = sensor_tick(everything, "breaker_probes").run_requests
    assert request.partition_key == f"10234|{PERIOD}"
    everything.run()
    assert len(everything.portal.filed) == 1
    assert everything.ledger.breakers() == []


def test_a_backfills_run_carries_the_business_tags() -> None:
    run = DagsterRun(
        job_name="__ASSET_JOB",
        asset_selection=frozenset(AssetKey([OEM, name]) for name in ("submission_results", "evidence_bundles")),
        tags={"dagster/partition/dealer": "10234", "dagster/partition/period": PERIOD, "dagster/backfill": "x"},
    )
    assert business_tags(run) == {"oem": "aurora", "dealer": "10234", "period": PERIOD}


def evidence_check(result: Any) -> tuple[bool, str, Any]:
    """Whether `evidence_present` passed, what it says, and its reason codes by claim."""
    (check,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "evidence_present"]
    reasons = check.metadata.get("reasons")
    return check.passed, check.description or "", reasons.value if reasons else {}


class StoreLosing(MemoryStore):
    """A store whose files somebody else changes."""

    def have(self, key: str, data: bytes | None) -> None:
        self._files.pop(key)
        if data is not None:
            self._files[key] = data


def test_a_bundle_that_the_store_lost_or_swapped_fails_the_run_and_its_check_with_the_reason_code(
    everything: Everything,
) -> None:
    store = StoreLosing()
    everything.use(evidence=store)
    for number in (1, 2):
        everything.add(number)
    everything.take_in()
    assert everything.run().success
    first, second = everything.ledger.all_claims(OEM)
    lost, swapped = (bundle_key(c.claim_id, c.bundle_digest or "") for c in (first, second))
    store.have(swapped, store.get(lost))
    store.have(lost, None)
    result = everything.run()
    assert not result.success
    passed, said, reasons = evidence_check(result)
    assert (passed, reasons) == (False, dict.fromkeys([first.claim_id, second.claim_id], "POST_EVIDENCE_MISSING"))
    assert f"{first.claim_id}: POST_EVIDENCE_MISSING" in said
    assert f"not {second.bundle_digest} as the link says" in said
    assert len(everything.portal.filed) == 2


def test_a_filing_whose_picture_shows_nothing_fails_the_run_and_its_check_with_the_reason_code(
    everything: Everything,
) -> None:
    class Blank(FakeSession):
        def submit(self, on_sent: Any) -> Answer:
            answer = super().submit(on_sent)
            blank = samples.webp(Image.new("RGB", (640, 400), "white"))
            pieces = [replace(p, data=blank) if p.name == POST_CONFIRM else p for p in answer.artifacts]
            return replace(answer, artifacts=tuple(pieces))

    everything.portal.session_type = Blank
    everything.add(1)
    everything.take_in()
    result = everything.run()
    assert not result.success
    (claim,) = everything.ledger.all_claims(OEM)
    assert claim.state is State.CONFIRMED
    passed, said, reasons = evidence_check(result)
    assert (passed, reasons) == (False, {claim.claim_id: "POST_EVIDENCE_MISSING"})
    assert "no bundle is sealed" in said
    assert REASONS[ReasonCode.POST_EVIDENCE_MISSING].action in said
