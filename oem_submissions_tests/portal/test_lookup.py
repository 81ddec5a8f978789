"""Held claims at the simulated portals: looked up without a request that could file, found, or proven absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import update

from adapters import registry
from oem_submissions.domain.claims import ClaimModel, parse_claim
from oem_submissions.domain.evidence import CONTROL, HISTORY
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.looking import LEAST_LOOKS, HistoryRules
from oem_submissions.domain.outcomes import Filed, LookUp, Reference, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, NewClaim
from oem_submissions.domain.states import State
from oem_submissions.evidence.images import look_at
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.store import Ledger
from oem_submissions.ledger.tables import claims
from oem_submissions.portal.lookup import resembles
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.session import BrowserSession
from oem_submissions.ports import Account, Control, Submission
from oem_submissions.services.release import OpenGate
from oem_submissions.services.seal import seal_claims
from oem_submissions.services.submit import Partition, submit_partition
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.evidence.sealing import KEYS, LEAK_GATE, SEALING
from oem_submissions_tests.making import new_claim, warranty_payload
from oem_submissions_tests.portal.parts import (
    SELECTORS,
    SHORT,
    TOTP_SECRET,
    coop,
    delivery,
    file_claim,
    session,
    vin,
    warranty,
)
from oem_submissions_tests.services.runs import let_pass


def submission(claim: ClaimModel, claim_id: str) -> Submission:
    return Submission(claim_id, claim, claim.natural_key("test"))


def posts(simulator: Simulator, oem: str) -> int:
    return int(simulator.client.truth(oem)["submit_posts"])


def look(opened: BrowserSession, claim: ClaimModel, claim_id: str, control: Control | None = None) -> LookUp:
    return opened.look_up(submission(claim, claim_id), control)


# --- the session ---


@pytest.mark.parametrize(
    ("oem", "claim", "other", "totp"),
    [
        ("aurora", warranty("RO-1"), warranty("RO-2"), None),
        ("borealis", coop("INV-1"), coop("INV-2"), TOTP_SECRET),
        ("cascade", delivery(1), delivery(2), None),
    ],
    ids=["aurora", "borealis", "cascade"],
)
def test_a_filed_claim_is_found_and_an_unfiled_one_is_not_without_one_post(
    oem: str, claim: ClaimModel, other: ClaimModel, totp: str | None, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    with session(chromium, simulator, oem, totp=totp) as opened:
        filed = file_claim(opened, claim, "c1")
        assert isinstance(filed.outcome, Filed)
        before = posts(simulator, oem)
        found = look(opened, claim, "c1")
        control = Control(submission(claim, "c1"), filed.outcome.reference.value)
        absent = look(opened, other, "c2", control)
        assert posts(simulator, oem) == before == 1
    (hit,) = found.hits
    assert isinstance(hit.reference, Reference)
    assert (hit.reference.value, hit.differs) == (filed.outcome.reference.value, ())
    assert hit.reference.raw_text[slice(*hit.reference.span)] == hit.reference.value
    assert [artifact.name for artifact in found.artifacts] == [HISTORY]
    assert (found.control_found, absent.control_found) == (None, True)
    assert absent.hits == ()
    assert [artifact.name for artifact in absent.artifacts] == [HISTORY, CONTROL]
    assert [look_at(artifact.data).problem for artifact in (*found.artifacts, *absent.artifacts)] == [None] * 3


def test_a_claim_without_its_reference_yet_and_one_that_was_filed_twice(
    chromium: BrowserRuntime, simulator: Simulator
) -> None:
    with session(chromium, simulator, "aurora") as opened:
        simulator.client.set_fault("aurora", "reference_later", times=1)
        file_claim(opened, warranty("RO-1"), "c1")
        (pending,) = look(opened, warranty("RO-1"), "c1").hits
        simulator.client.run_batch("aurora")
        (given,) = look(opened, warranty("RO-1"), "c1").hits
        simulator.client.set_fault("aurora", "double_processing", times=1)
        file_claim(opened, warranty("RO-2"), "c2")
        twice = look(opened, warranty("RO-2"), "c2")
        (changed,) = look(opened, warranty("RO-1", vin=vin(8)), "c1").hits
        other = Control(submission(warranty("RO-1"), "c1"), "WC-2026-000001-A")
        assert look(opened, warranty("RO-3"), "c3", other).control_found is False
        assert isinstance(file_claim(opened, warranty("RO-3"), "c3").outcome, Filed)  # and the session goes on
    assert isinstance(pending.reference, Unknown)
    assert pending.reference.reason is ReasonCode.REFERENCE_MISSING
    assert isinstance(given.reference, Reference)
    assert len(twice.hits) == 2
    assert changed.differs == ("VIN",)


def test_a_history_that_can_not_be_read_proves_nothing(chromium: BrowserRuntime, simulator: Simulator) -> None:
    with session(chromium, simulator, "aurora") as opened:
        simulator.client.set_fault("aurora", "history_error", times=1)
        with pytest.raises(StepFailed) as caught:
            look(opened, warranty("RO-1"), "c1")
        assert (caught.value.reason, caught.value.step) == (ReasonCode.PORTAL_UNAVAILABLE, "look up")
        assert look(opened, warranty("RO-1"), "c1").hits == ()


def test_a_history_page_that_files_by_itself_is_stopped(chromium: BrowserRuntime, simulator: Simulator) -> None:
    script = "fetch('/aurora/claims', {method: 'POST'}).catch(() => 0)"
    page = f"""<h1>Claim history</h1><form><label>Your reference <input></label><button>Search</button></form>
        <p>No claims match your search.</p><script>{script}</script>"""
    simulator.client.set_route("GET", "/aurora/claims/history", 200, page)
    with session(chromium, simulator, "aurora") as opened:
        with pytest.raises(StepFailed, match="tried to submit, and was stopped"):
            look(opened, warranty("RO-1"), "c1")
        assert posts(simulator, "aurora") == 0


def test_a_row_concerns_a_claim_by_our_reference_or_by_its_business_identity() -> None:
    aurora, cascade = load_pack(SELECTORS, "aurora").form("warranty"), load_pack(SELECTORS, "cascade").form("incentive")
    assert aurora.history is not None
    assert cascade.history is not None
    identity = {"repair_order", "line", "coverage"}
    assert resembles((), aurora, aurora.history, identity)
    assert resembles(("vin",), aurora, aurora.history, identity)
    assert resembles(("repair_order", "vin"), aurora, aurora.history, identity)  # it carries our reference
    assert not resembles(("repair_order", "your_reference"), aurora, aurora.history, identity)
    assert resembles(("sale_date",), cascade, cascade.history, {"vin", "programme"})
    assert not resembles(("programme",), cascade, cascade.history, {"vin", "programme"})


# --- the services, on the real portal ---


class World:
    """A ledger, a store and Aurora's simulated portal; between two runs the settle window passes."""

    def __init__(self, chromium: BrowserRuntime, simulator: Simulator, ledger: Ledger) -> None:
        self.chromium, self.simulator, self.ledger, self.evidence = chromium, simulator, ledger, MemoryStore()
        simulator.client.add_account("aurora", "10234", "jdoe", "secret-pw-7", "Lakeside Motors")

    @contextmanager
    def portal(self) -> Iterator[Any]:
        runtime = BrowserRuntime(registry.adapter, SELECTORS, {"aurora": self.simulator.http_url}, limits=SHORT)
        runtime.browser = self.chromium.browser  # type: ignore[method-assign]
        yield runtime.portal("aurora")

    def run(self) -> list[Claim]:
        let_pass(self.ledger, 2)
        with self.portal() as portal:
            assert portal.history_rules("warranty") == HistoryRules(60, 36)
            return submit_partition(
                Partition("aurora", "10234", "2026-11-10"), "run-1", "worker-1",
                ledger=self.ledger, evidence=self.evidence, portal=portal, gate=OpenGate(),
                account=lambda: Account("aurora", "10234", "jdoe", "secret-pw-7"), parse=self._parse,
                lease_seconds=60, click_seconds=5, attempts_budget=3, look_hours=0, leak_gate=LEAK_GATE,
            )  # fmt: skip

    @staticmethod
    def _parse(payload: Mapping[str, Any]) -> ClaimModel:
        return parse_claim(registry.adapter("aurora").claim_model, dict(payload))

    def add(self, number: int) -> Claim:
        payload = warranty_payload(number, odometer=1200 + number)
        return self.ledger.add_claim(NewClaim(**{**vars(new_claim(number)), "payload": payload}))

    def now(self, claim: Claim) -> Claim:
        found = self.ledger.claim(claim.claim_id)
        assert found is not None
        return found

    @property
    def filed(self) -> int:
        return int(self.simulator.client.truth("aurora")["filed"])


@pytest.fixture
def world(chromium: BrowserRuntime, simulator: Simulator, ledger: Ledger) -> World:
    return World(chromium, simulator, ledger)


def test_a_lost_response_is_found_confirmed_and_sealed_and_was_filed_once(world: World) -> None:
    claim = world.add(1)
    world.simulator.client.set_fault("aurora", "lost_response", times=1)
    world.run()
    assert world.now(claim).state is State.OUTCOME_UNKNOWN
    world.run()
    found = world.now(claim)
    assert (found.state, world.filed, posts(world.simulator, "aurora")) == (State.CONFIRMED, 1, 1)
    assert found.reference == world.simulator.client.truth("aurora")["filings"][0]["reference"]
    ledger, evidence = world.ledger, world.evidence
    assert seal_claims([found], "run-2", "w", ledger=ledger, evidence=evidence, **SEALING) == []
    sealed = world.now(claim)
    assert verify_bundle(evidence.get(f"bundles/{claim.claim_id}/{sealed.bundle_digest}.zip"), keys=KEYS).findings == ()


def test_what_never_arrived_is_proven_absent_and_filed_exactly_once(world: World) -> None:
    world.add(1)
    world.run()
    claim = world.add(2)
    world.simulator.client.set_fault("aurora", "reset_before_filing")
    world.run()
    world.simulator.client.clear_faults()
    assert (world.now(claim).state, world.filed) == (State.OUTCOME_UNKNOWN, 1)
    world.run()
    ended = world.now(claim)
    assert (ended.state, ended.absences, world.filed) == (State.CONFIRMED, 1, 2)


def test_an_empty_history_is_for_a_person_because_a_known_claim_is_missing_too(world: World) -> None:
    world.add(1)
    world.run()
    claim = world.add(2)
    world.simulator.client.set_fault("aurora", "lost_response", times=1)
    world.run()
    world.simulator.client.set_fault("aurora", "history_empty")
    world.run()
    ended = world.now(claim)
    assert (ended.state, world.filed, posts(world.simulator, "aurora")) == (State.NEEDS_REVIEW, 2, 2)
    assert "can't be relied on" in (ended.reason_text or "")


def test_a_history_that_recovers_between_the_claim_and_the_known_one_does_not_prove_the_claim_absent(
    world: World,
) -> None:
    world.add(1)
    world.run()
    claim = world.add(2)
    world.simulator.client.set_fault("aurora", "lost_response", times=1)
    world.run()
    # The home page, the history and the search for the claim list nothing; from then on the history is whole again.
    world.simulator.client.set_fault("aurora", "history_empty", times=3)
    world.run()
    assert [fault["fired"] for fault in world.simulator.client.faults() if fault["fault"] == "history_empty"] == [3]
    assert (world.now(claim).state, world.filed, posts(world.simulator, "aurora")) == (State.CONFIRMED, 2, 2)


def test_a_history_that_stays_broken_is_for_a_person(world: World) -> None:
    claim = world.add(1)
    world.simulator.client.set_fault("aurora", "lost_response", times=1)
    world.run()
    world.simulator.client.set_fault("aurora", "history_error")
    with world.ledger._engine.begin() as connection:
        connection.execute(update(claims).values(looks=LEAST_LOOKS - 2))  # one look too few for a person
    for state in (State.OUTCOME_UNKNOWN, State.NEEDS_REVIEW):
        world.run()
        assert world.now(claim).state is state
    ended = world.now(claim)
    assert (ended.state, ended.reason, world.filed) == (State.NEEDS_REVIEW, ReasonCode.PORTAL_UNAVAILABLE, 1)
