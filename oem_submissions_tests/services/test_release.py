# ruff: noqa: E501
"""The release gate over real runs: who files with what, what opens it, what closes it. The portal's filings are the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pytest

from oem_submissions import wiring
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import FilingLimit, WarrantyClaim
from oem_submissions.domain.contracts import Change, ProbedPage, ProbeFailure, ProbeReport, Severity
from oem_submissions.domain.failures import ConfigurationError, StateConflict, StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, Pins
from oem_submissions.domain.releases import Cause, Release, ReleaseState
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.services import release as gate
from oem_submissions.services.bound import Services
from oem_submissions.services.breaking import close
from oem_submissions.services.leasing import held_account
from oem_submissions.services.release_report import ReleaseReport, release_report
from oem_submissions.services.submit import Partition, TryAgain
from oem_submissions.settings import read_settings
from oem_submissions_tests.evidence.sealing import NOTARY
from oem_submissions_tests.making import warranty_payload
from oem_submissions_tests.services.fakes import FakePortal

PILOTS, OTHERS = ("10234", "10871"), ("11560",)
PACKS = (("v0001", "first-digest"), ("v0002", "second-digest"))
FIRST_DAY = date(2026, 11, 1)
BROKEN = StepFailed(ReasonCode.SELECTOR_NOT_FOUND, "the field VIN is not there", "fill")


@dataclass(frozen=True)
class Rules:
    """An adapter as it is deployed now."""

    oem: str = "aurora"
    claim_model: Any = WarrantyClaim
    cadence: Cadence = Cadence("0 */2 * * 1-6", "America/Chicago", "day")
    digest: str = "adapter-one"
    filing_limits: Mapping[str, FilingLimit] = field(default_factory=dict)
    needs_approval: bool = False


class Packed:
    """The portal behind whichever pack a run is pinned to. `used` has the versions, one per run that asked."""

    def __init__(self, world: World) -> None:
        self._world, self.used = world, list[str]()

    def portal(self, oem: str, pack_version: str | None = None) -> FakePortal:
        version = pack_version or self._world.packs[-1][0]
        self.used.append(version)
        return replace(self._world.portal, pins=Pins(self._world.rules.digest, version, dict(PACKS)[version]))


class World:
    """One OEM with two pilot dealers and another, and claims that come due one day at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.crm, self.evidence = ledger, MemoryCrm(), MemoryStore()
        self.portal, self.rules, self.packs = FakePortal(), Rules(), list(PACKS[:1])
        self.portals, self._day, self._runs = Packed(self), 0, 0
        self.settings = read_settings({})
        ledger.import_dealers([("aurora", dealer, None, True) for dealer in PILOTS])

    def services(self) -> Services:
        """As a process with the deployed code has them."""
        secret = {
            f"OEM_SUBMISSIONS_SECRET_PORTAL_AURORA_{dealer}_{part}": "x"
            for dealer in (*PILOTS, *OTHERS)
            for part in ("USERNAME", "PASSWORD")
        }
        parts: dict[str, Any] = {
            "ledger": self.ledger, "crm": self.crm, "evidence": self.evidence, "adapters": {"aurora": self.rules},
            "secrets": wiring.EnvironmentSecrets(secret), "portals": lambda _: nullcontext(self.portals),
            "released_packs": lambda _: self.packs, "notary": NOTARY,
        }  # fmt: skip
        with wiring.build(self.settings, **parts) as services:
            return services

    def come_due(self, dealer: str, **changes: Any) -> Partition:
        """A claim on a day of its own."""
        self._day += 1
        due = date.fromordinal(FIRST_DAY.toordinal() + self._day)
        payload = warranty_payload(self._day, dealer, **changes)
        self.crm.add(
            f"REC{self._day:04d}", oem="aurora", dealer=dealer, claim_type="warranty", due_on=due, payload=payload
        )
        self.services().take_in()
        return Partition("aurora", dealer, due.isoformat())

    def run(self, partition: Partition, *, to_the_end: bool = True) -> list[Claim]:
        """One run, as Dagster makes it."""
        services, self._runs = self.services(), self._runs + 1
        run_id = f"run-{self._runs}"
        portal, _ = services.filing_portal(self.portals, "aurora", partition.dealer)
        try:
            services.submit(partition, run_id, "worker", portal)
        except TryAgain as again:
            self.ledger.note_trouble(run_id, "submit_claims", str(again))
        with self.ledger._engine.begin() as connection:  # how busy this machine is must not look like drift
            as_ever = "UPDATE attempts SET ended_at = started_at + interval '8 seconds' WHERE run_id = %(run)s"
            connection.exec_driver_sql(as_ever, {"run": run_id})
        if to_the_end:
            assert services.seal(partition, run_id, "worker") == []
            assert services.sync(partition, run_id, "worker") == []
        services.advance_release("aurora")
        return services.claims(partition)

    def clean_run(self, dealer: str = PILOTS[0]) -> None:
        """A claim comes due, is filed and told."""
        (claim,) = self.run(self.come_due(dealer))
        assert claim.state is State.SYNCED

    def go_live(self) -> None:
        """The pilots verify what is new."""
        self.services().advance_release("aurora")
        for _ in range(5):
            self.clean_run()
        assert self.state is ReleaseState.LIVE

    def new_pack(self) -> None:
        """The next version is released."""
        self.packs = list(PACKS)
        self.services().advance_release("aurora")

    def due(self) -> list[str]:
        """The dealers that would be enqueued now."""
        return [work.dealer for work in self.services().due("aurora", set())]

    @property
    def report(self) -> ReleaseReport:
        found = release_report(self.ledger, self.rules)
        assert found is not None
        return found

    @property
    def state(self) -> ReleaseState:
        return self.report.state

    def release(self, version: str) -> Release:
        return next(r for r in self.ledger.releases("aurora") if r.pins.pack_version == version)

    def alerts(self) -> list[str]:
        return [str(alert.kind) for alert in self.ledger.alerts()]


@pytest.fixture
def world(ledger: Ledger) -> Iterator[World]:
    return World(ledger)


# --- who files ---


def test_before_anything_is_seen_nobody_files(world: World) -> None:
    (claim,) = world.run(world.come_due(PILOTS[0]), to_the_end=False)
    assert (claim.state, claim.attempts, world.portal.filed) == (State.READY, 0, [])


def test_without_a_pilot_dealer_a_candidate_stays_one_and_says_so(world: World) -> None:
    world.ledger.import_dealers([("aurora", dealer, None, False) for dealer in PILOTS])
    for _ in range(2):
        world.services().advance_release("aurora")
    assert world.state is ReleaseState.CANDIDATE
    assert "make a dealer its pilot" in world.report.why
    assert len(world.report.release.log) == 2
    world.come_due(PILOTS[0])
    assert world.due() == []


def test_pilots_verify_one_at_a_time_and_everybody_else_waits(world: World) -> None:
    world.services().advance_release("aurora")
    for dealer in (*OTHERS, *PILOTS, *PILOTS):
        world.come_due(dealer)
    assert world.due() == [PILOTS[0]]
    under_way = {(PILOTS[0], "2026-11-03")}
    assert world.services().due("aurora", under_way) == []
    other = world.come_due(OTHERS[0])
    assert [claim.state for claim in world.run(other)] == [State.READY]
    assert world.portal.filed == []


def test_a_second_pilots_run_that_begins_beside_the_first_files_nothing(world: World) -> None:
    """Two runs from a backfill, both past the queue: the ledger lets one of them file."""
    world.services().advance_release("aurora")
    world.clean_run(PILOTS[0])
    first, second = world.release("v0001"), world.come_due(PILOTS[1])
    with held_account(world.ledger, "aurora", PILOTS[0], "run-beside", "worker", 60) as lease:
        assert world.ledger.begin_run(lease, "2026-11-20", first, alone=True)
        (claim,) = world.run(second)
        assert (claim.state, claim.attempts) == (State.READY, 0)
    (claim,) = world.run(second)
    assert claim.state is State.SYNCED


# --- what opens it ---


def test_five_clean_runs_and_not_four_make_it_live_for_all(world: World) -> None:
    world.services().advance_release("aurora")
    for count in range(5):
        assert (world.state, world.report.streak.count) == (ReleaseState.VERIFYING, count)
        world.clean_run(PILOTS[count % 2])
    assert world.state is ReleaseState.LIVE
    for dealer in (*OTHERS, *PILOTS):
        world.come_due(dealer)
    assert world.due() == [*OTHERS, *PILOTS]
    requested = world.ledger.enqueue_requests(after=0)
    assert [request.requested_by for request in requested] == ["release gate"]


@pytest.mark.parametrize("spoil", ["step", "refused", "retried", "told late", "unknown"])
def test_whatever_goes_wrong_sets_the_streak_back_and_is_named(world: World, spoil: str) -> None:
    world.services().advance_release("aurora")
    for _ in range(4):
        world.clean_run()
    partition = world.come_due(PILOTS[0])
    match spoil:
        case "step":
            world.portal.failures = [BROKEN]
            said = "step fill, SELECTOR_NOT_FOUND"
        case "refused":
            world.portal.refuse = lambda submission: "too old"
            said = "VALIDATION_REJECTED"
        case "unknown":
            world.portal.lose_reply = True
            said = ""
        case "retried":
            world.ledger.note_trouble("run-5", "sync_crm", "tried again")  # as the step does before it goes on
            said = "step sync_crm"
        case _:
            world.run(partition, to_the_end=False)
            said = "by run run-6"
    world.run(partition)
    assert (world.report.release.state, world.report.streak.opens) == (ReleaseState.VERIFYING, False)
    if spoil == "unknown":
        assert "frozen" in world.report.streak.waits_for
        return
    assert world.report.streak.count == 0
    assert said in world.report.streak_in_words


def test_a_refusal_that_was_declared_before_is_a_clean_run(world: World) -> None:
    world.services().advance_release("aurora")
    partition = world.come_due(PILOTS[0])
    (claim,) = world.services().claims(partition)
    world.ledger.expect_rejection(claim.claim_id, "Ann", "the OEM has to refuse what is too old")
    world.portal.refuse = lambda submission: "too old"
    (claim,) = world.run(partition)
    assert (claim.state, world.report.streak.count) == (State.REJECTED, 1)
    with pytest.raises(StateConflict, match="attempted already"):
        world.ledger.expect_rejection(claim.claim_id, "Ann", "again")


def test_an_oem_that_asks_for_approval_waits_for_a_named_person(world: World) -> None:
    world.rules = Rules(needs_approval=True)
    world.services().advance_release("aurora")
    with pytest.raises(ConfigurationError, match="0 of 5 clean runs"):
        gate.approve(world.ledger, world.rules, "Ann")
    for _ in range(5):
        world.clean_run()
    assert (world.state, world.alerts()) == (ReleaseState.VERIFYING, ["release_passed"])
    gate.approve(world.ledger, world.rules, "Ann")
    world.services().advance_release("aurora")
    assert (world.state, world.alerts()) == (ReleaseState.LIVE, [])
    assert [entry.actor for entry in world.report.release.log if entry.note == "approved"] == ["Ann"]


# --- what is new ---


def test_a_new_pack_verifies_on_pilots_while_production_goes_on_with_the_old_one(world: World) -> None:
    world.go_live()
    world.new_pack()
    assert world.release("v0002").state is ReleaseState.VERIFYING
    world.clean_run(OTHERS[0])
    assert world.portals.used[-1] == "v0001"
    for _ in range(5):
        world.clean_run()
        assert world.portals.used[-1] == "v0002"
    assert (world.release("v0002").state, world.release("v0001").state) == (ReleaseState.LIVE, ReleaseState.RETIRED)
    world.clean_run(OTHERS[0])
    assert world.portals.used[-1] == "v0002"


def test_the_streak_of_one_pack_is_worth_nothing_for_the_next(world: World) -> None:
    world.services().advance_release("aurora")
    for _ in range(4):
        world.clean_run()
    world.new_pack()
    assert (world.report.release.pins.pack_version, world.report.streak.count) == ("v0002", 0)
    assert world.release("v0001").state is ReleaseState.RETIRED


def test_a_new_adapter_closes_the_gate_and_seeing_it_again_brings_no_streak_back(world: World) -> None:
    world.go_live()
    world.rules = Rules(digest="adapter-two")
    world.come_due(OTHERS[0])
    assert world.due() == []
    world.services().advance_release("aurora")
    assert (world.state, world.report.streak.count) == (ReleaseState.VERIFYING, 0)
    assert world.due() == []
    world.rules = Rules()  # the deployment is rolled back: what was proven is live, and knows its runs
    assert (world.state, world.report.streak.count) == (ReleaseState.LIVE, 5)
    assert world.due() == [OTHERS[0]]


def test_a_roll_back_goes_to_what_was_live_before_at_once(world: World) -> None:
    world.go_live()
    with pytest.raises(ConfigurationError, match="deploy the earlier code"):
        gate.rollback(world.ledger, world.rules, "Ann", "no")
    world.new_pack()
    for _ in range(5):
        world.clean_run()
    gate.rollback(world.ledger, world.rules, "Ann", "dealers complain")
    world.services().advance_release("aurora")
    assert (world.release("v0001").state, world.release("v0002").state) == (ReleaseState.LIVE, ReleaseState.RETIRED)
    world.clean_run(OTHERS[0])
    assert world.portals.used[-1] == "v0001"


# --- what closes it ---


def test_a_suspended_release_files_nothing_also_in_the_middle_of_a_batch(world: World) -> None:
    world.go_live()
    partition = world.come_due(OTHERS[0])
    second = warranty_payload(99, OTHERS[0])
    world.crm.add("REC9999", oem="aurora", dealer=OTHERS[0], claim_type="warranty",
                  due_on=date.fromisoformat(partition.period), payload=second)  # fmt: skip
    world.services().take_in()
    filed = len(world.portal.filed)

    def suspend_while_it_is_filed(submission: Any) -> None:
        gate.suspend(world.ledger, world.release("v0001"), Cause.PERSON, "Ann", "Ann: a dealer's complaint")

    world.portal.refuse = suspend_while_it_is_filed
    claims = world.run(partition)
    assert (len(world.portal.filed) - filed, sorted(claim.state for claim in claims)) == (1, ["READY", "SYNCED"])
    assert (world.state, world.alerts()) == (ReleaseState.SUSPENDED, ["release_suspended"])
    assert world.due() == []
    assert gate.resume(world.ledger, world.release("v0001"), Cause.PERSON, "Ann", "Ann: it was a mistake")
    assert (world.state, world.alerts(), world.due()) == (ReleaseState.LIVE, [], [OTHERS[0]])


def test_a_probe_takes_back_only_what_a_probe_did(world: World) -> None:
    world.go_live()
    gate.suspend(world.ledger, world.release("v0001"), Cause.PROBE, "probe", "the label 'VIN' is gone")
    gate.suspend(world.ledger, world.release("v0001"), Cause.PERSON, "Ann", "Ann: wait")
    assert not gate.resume(world.ledger, world.release("v0001"), Cause.PROBE, "probe", "green")
    assert world.state is ReleaseState.SUSPENDED
    assert gate.resume(world.ledger, world.release("v0001"), Cause.PERSON, "Ann", "Ann: go on")
    assert world.state is ReleaseState.LIVE


def test_claims_past_the_click_go_on_while_the_release_is_suspended(world: World) -> None:
    world.go_live()
    partition = world.come_due(OTHERS[0])
    world.run(partition, to_the_end=False)
    gate.suspend(world.ledger, world.release("v0001"), Cause.PERSON, "Ann", "Ann: wait")
    assert world.due() == [OTHERS[0]]
    (claim,) = world.run(partition)
    assert claim.state is State.SYNCED


def test_two_hands_at_once_move_a_release_once(world: World) -> None:
    world.go_live()
    seen = world.release("v0001")
    assert gate.suspend(world.ledger, seen, Cause.PERSON, "Ann", "Ann: wait")
    assert not gate.suspend(world.ledger, seen, Cause.DRIFT, "drift", "too many fail")
    assert world.release("v0001").suspended_by == {Cause.PERSON}


# --- drift ---


def test_failures_above_the_service_level_suspend_it_until_a_person_resumes_it(world: World) -> None:
    world.go_live()
    for _ in range(3):
        world.portal.failures = [BROKEN]
        world.run(world.come_due(OTHERS[0]))
        close(world.ledger.breaker("aurora"), "test", world.ledger)
    assert (world.state, world.report.drift.success.alarm) == (ReleaseState.SUSPENDED, True)
    assert "release_suspended" in world.alerts()
    gate.resume(world.ledger, world.release("v0001"), Cause.PERSON, "Ann", "Ann: the portal was mended")
    world.services().advance_release("aurora")
    assert world.state is ReleaseState.LIVE


# --- probes ---

GREEN = ProbeReport((), ("warranty",), {})
RENAMED = Change(Severity.BLOCK, "warranty", "form", "label 'VIN' is now 'Vehicle'")
RED = ProbeReport((ProbedPage("warranty", "form", 0.3, (RENAMED,)),), (), {"warranty": "its form has changed"})
DOWN = ProbeReport((), (), {}, failure=ProbeFailure(ReasonCode.PORTAL_UNAVAILABLE, "HTTP 503", "log in"))


def test_a_red_probe_before_a_batch_pauses_the_oem_and_costs_no_attempt(world: World) -> None:
    world.settings = replace(world.settings, probe_minutes=0)
    world.go_live()
    partition, other = world.come_due(OTHERS[0]), world.come_due(PILOTS[0])
    filed, world.portal.probe_report = len(world.portal.filed), RED
    (claim,) = world.run(partition)
    assert (claim.state, claim.attempts, len(world.portal.filed)) == (State.READY, 0, filed)
    assert (world.state, sorted(world.alerts())) == (ReleaseState.SUSPENDED, ["probe_red", "release_suspended"])
    assert "label 'VIN' is now 'Vehicle'" in world.report.why
    assert world.due() == []
    world.portal.probe_report = GREEN
    portal, _ = world.services().filing_portal(world.portals, "aurora", OTHERS[0])
    world.services().probe("aurora", OTHERS[0], "hourly", "worker", portal)
    assert (world.state, world.alerts(), sorted(world.due())) == (ReleaseState.LIVE, [], sorted([*OTHERS, PILOTS[0]]))
    assert [claim.state for item in (partition, other) for claim in world.run(item)] == [State.SYNCED] * 2


def test_a_portal_that_is_down_is_the_breakers_business_and_suspends_no_release(world: World) -> None:
    world.settings = replace(world.settings, probe_minutes=0)
    world.go_live()
    world.portal.probe_report = DOWN
    (claim,) = world.run(world.come_due(OTHERS[0]))
    assert (claim.state, world.state) == (State.SYNCED, ReleaseState.LIVE)


def test_a_probe_is_believed_for_a_while_but_not_across_a_persons_resume(world: World) -> None:
    world.go_live()
    assert len(world.ledger.probes("aurora")) == 1
    gate.suspend(world.ledger, world.release("v0001"), Cause.PERSON, "Ann", "Ann: wait")
    gate.resume(world.ledger, world.release("v0001"), Cause.PERSON, "Ann", "Ann: go on")
    world.clean_run(OTHERS[0])
    world.clean_run(OTHERS[0])
    assert len(world.ledger.probes("aurora")) == 2
