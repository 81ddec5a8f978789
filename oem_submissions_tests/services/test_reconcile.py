"""Held claims: found in the history, proven absent, or given to a person; never filed twice. On a real ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from oem_submissions.domain.evidence import HISTORY, POST_CONFIRM, RECONCILED, REQUEST, Artifact
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.looking import LEAST_LOOKS, HistoryRules, seconds_until_next_look
from oem_submissions.domain.outcomes import Answer, Hit, Pending, Reference, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import FILED, HELD, State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.chain import broken_links
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import EvidenceUnavailable, Submission
from oem_submissions.services.accounts import portal_account
from oem_submissions.services.breaking import free_account
from oem_submissions.services.health import lost_workers, recover_lost_workers
from oem_submissions.services.review import Said, Verdict, VerdictRefused, decide
from oem_submissions.services.seal import seal_claims
from oem_submissions.services.submit import Partition
from oem_submissions.settings import EnvironmentSecrets
from oem_submissions_tests.evidence import samples
from oem_submissions_tests.evidence.sealing import KEYS, SEALING
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.services.fakes import FakePortal, FakeSession, hit
from oem_submissions_tests.services.runs import Clock, Killed, KilledAt, expire_leases, let_pass, run

DOWN = StepFailed(ReasonCode.PORTAL_UNAVAILABLE, "The portal answered HTTP 500.", "look up")


def held(ledger: Ledger, portal: FakePortal, evidence: MemoryStore, number: int = 1, arrived: bool = True) -> Claim:
    """A claim whose outcome nobody can tell; it was filed if the request `arrived`."""
    claim = ledger.add_claim(new_claim(number))
    portal.lose_reply, portal.lose_request = arrived, not arrived
    run(ledger, portal, evidence)
    portal.lose_reply = portal.lose_request = False
    found = ledger.claim(claim.claim_id)
    assert found is not None
    assert found.state is State.OUTCOME_UNKNOWN
    return found


def known(ledger: Ledger, portal: FakePortal, evidence: MemoryStore, number: int = 90) -> None:
    """Another claim of the account, filed: what a search must find to prove anything."""
    claim = ledger.add_claim(new_claim(number))
    run(ledger, portal, evidence)
    assert ledger.claim(claim.claim_id).state is State.CONFIRMED  # type: ignore[union-attr]


@pytest.fixture
def evidence() -> MemoryStore:
    return MemoryStore()


def again(ledger: Ledger, portal: FakePortal, evidence: MemoryStore, hours: float = 2) -> Claim:
    """One more run, so much later; the first claim as it stands then."""
    let_pass(ledger, hours)
    run(ledger, portal, evidence)
    return first(ledger)


def first(ledger: Ledger) -> Claim:
    found = ledger.claim_of_record("aurora", "REC0001")
    assert found is not None
    return found


# --- found ---


def test_a_lost_reply_is_found_in_the_history_and_confirmed_at_the_next_run(
    ledger: Ledger, evidence: MemoryStore
) -> None:
    portal = FakePortal()
    held(ledger, portal, evidence)
    (claim,) = run(ledger, portal, evidence)
    assert (claim.state, claim.reference, claim.reason) == (State.CONFIRMED, "WC-000001", None)
    assert len(portal.filed) == 1
    chain = ledger.events(claim.claim_id)
    assert broken_links(chain) == []
    states = [event.to_state for event in chain if event.kind == "moved"][-3:]
    assert states == [State.OUTCOME_UNKNOWN, State.RECONCILING, State.CONFIRMED]
    assert ledger.find("WC-000001") == [claim]
    assert run(ledger, portal, evidence) == [claim]
    assert len(portal.looked_up) == 1


def test_a_claim_whose_worker_died_past_the_click_is_found_and_its_bundle_says_what_came_late(
    ledger: Ledger, evidence: MemoryStore
) -> None:
    portal, claim = FakePortal(), ledger.add_claim(new_claim())
    clock = Clock(strike=10_000, after=False)

    class Dies(FakeSession):
        def submit(self, on_sent: Callable[..., None]) -> Answer:
            super().submit(on_sent)
            clock.dead = True
            raise Killed

    portal.session_type = Dies
    with pytest.raises(Killed):
        run(KilledAt(ledger, clock), portal, KilledAt(evidence, clock))
    portal.session_type = FakeSession
    expire_leases(ledger)
    (claim,) = run(ledger, portal, evidence)
    assert (claim.state, claim.reference) == (State.CONFIRMED, "WC-000001")
    assert ledger.facts(claim.claim_id)["late"] == [HISTORY, POST_CONFIRM, REQUEST, RECONCILED]
    assert seal_claims([claim], "run-2", "w", ledger=ledger, evidence=evidence, **SEALING) == []
    (sealed,) = ledger.find("WC-000001")
    verification = verify_bundle(evidence.get(f"bundles/{claim.claim_id}/{sealed.bundle_digest}.zip"), keys=KEYS)
    assert verification.findings == ()
    kept = {artifact.name: artifact.key for artifact in ledger.artifacts(claim.claim_id)}
    request = json.loads(evidence.get(kept[REQUEST]))
    assert (request["method"], request["path"]) == ("POST", "/claims")
    assert request["from"] == "the ledger, afterwards"
    assert json.loads(evidence.get(kept[RECONCILED]))["late"] == [HISTORY, POST_CONFIRM, REQUEST]


def test_a_look_needs_no_click_and_a_claim_that_is_not_due_for_one_starts_no_browser(
    ledger: Ledger, evidence: MemoryStore
) -> None:
    portal = FakePortal()
    held(ledger, portal, evidence, arrived=False)
    log_ins = portal.log_ins
    (claim,) = run(ledger, portal, evidence)
    assert (claim.state, claim.looks, claim.reason) == (State.OUTCOME_UNKNOWN, 1, ReasonCode.OUTCOME_UNKNOWN)
    assert "so soon after the click that proves nothing" in (claim.reason_text or "")
    assert claim.look_again_at is not None
    assert claim.look_again_at > datetime.now(UTC)
    assert ledger.due_looks("aurora", "10234", claim.period) == []
    run(ledger, portal, evidence)
    assert (len(portal.looked_up), portal.log_ins, portal.filed) == (1, log_ins, [])


def test_the_looks_become_rarer_up_to_an_hour() -> None:
    assert [seconds_until_next_look(looks) for looks in (1, 2, 3, 7, 50)] == [60, 120, 240, 3600, 3600]


# --- absent ---


def test_what_is_proven_absent_is_filed_once(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal()
    known(ledger, portal, evidence)
    held(ledger, portal, evidence, arrived=False)
    claim = again(ledger, portal, evidence)
    assert (claim.state, claim.reference, claim.absences) == (State.CONFIRMED, "WC-000002", 1)
    assert len(portal.filed) == 2
    states = [event.to_state for event in ledger.events(claim.claim_id) if event.kind == "moved"]
    back = states.index(State.RECONCILING)
    assert states[back : back + 4] == [State.RECONCILING, State.PROVEN_ABSENT, State.READY, State.PREPARED]
    names = {artifact.name for artifact in ledger.artifacts(claim.claim_id)}
    assert {"look_001_history.webp", "look_001_control.webp"} <= names


def test_absent_twice_is_for_a_person(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal()
    known(ledger, portal, evidence)
    held(ledger, portal, evidence, arrived=False)
    portal.lose_request = True
    assert again(ledger, portal, evidence).state is State.OUTCOME_UNKNOWN
    claim = again(ledger, portal, evidence)
    assert (claim.state, len(portal.filed)) == (State.NEEDS_REVIEW, 1)
    assert "second time" in (claim.reason_text or "")


def test_without_a_known_claim_absence_proves_nothing(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal()
    held(ledger, portal, evidence, arrived=False)
    claim = again(ledger, portal, evidence)
    assert (claim.state, portal.filed) == (State.NEEDS_REVIEW, [])
    assert "no other claim of this account is known" in (claim.reason_text or "")


def test_a_search_that_does_not_find_a_known_claim_proves_nothing(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal()
    known(ledger, portal, evidence)
    held(ledger, portal, evidence)
    portal.history = lambda portal, submission: []
    claim = again(ledger, portal, evidence)
    assert (claim.state, len(portal.filed)) == (State.NEEDS_REVIEW, 2)
    assert "it can't be relied on" in (claim.reason_text or "")


def test_a_claim_that_the_portal_called_a_duplicate_is_never_called_absent(
    ledger: Ledger, evidence: MemoryStore
) -> None:
    portal = FakePortal()
    known(ledger, portal, evidence)
    ledger.add_claim(new_claim())
    portal.refuse, portal.refusal = (lambda _: "exists already"), ReasonCode.DUPLICATE_AT_PORTAL
    run(ledger, portal, evidence)
    claim = again(ledger, portal, evidence)
    assert (claim.state, claim.reason) == (State.NEEDS_REVIEW, ReasonCode.DUPLICATE_AT_PORTAL)
    assert len(portal.filed) == 1


@pytest.mark.parametrize("hours", [-5, 5], ids=["behind", "ahead"])
def test_a_workers_clock_that_is_wrong_decides_nothing(ledger: Ledger, evidence: MemoryStore, hours: int) -> None:
    wrong = datetime.now(UTC) + timedelta(hours=hours)

    class Skewed(FakeSession):
        def submit(self, on_sent: Callable[..., None]) -> Answer:
            answer = super().submit(on_sent)
            responded_at = wrong if answer.wire.responded_at else None
            wire = replace(answer.wire, sent_at=wrong, responded_at=responded_at)
            artifacts = tuple(replace(artifact, captured_at=wrong) for artifact in answer.artifacts)
            return replace(answer, wire=wire, artifacts=artifacts)

    portal = FakePortal(session_type=Skewed)
    known(ledger, portal, evidence)
    held(ledger, portal, evidence, arrived=False)
    run(ledger, portal, evidence)
    assert "so soon after the click that proves nothing" in (first(ledger).reason_text or "")
    claim = again(ledger, portal, evidence)
    assert (claim.state, len(portal.filed)) == (State.CONFIRMED, 2)
    claims = ledger.all_claims()
    assert seal_claims(claims, "r", "w", ledger=ledger, evidence=evidence, **SEALING) == []
    for sealed in ledger.all_claims():
        bundle = evidence.get(f"bundles/{sealed.claim_id}/{sealed.bundle_digest}.zip")
        assert verify_bundle(bundle, keys=KEYS).findings == ()


# --- doubtful ---


@pytest.mark.parametrize(
    ("rows", "reason", "words"),
    [
        ([hit("WC-000001"), hit("WC-000002")], ReasonCode.REFERENCE_AMBIGUOUS, "2 times: WC-000001, WC-000002"),
        ([hit("WC-000001", ("VIN",))], ReasonCode.REFERENCE_SUSPECT, "has another VIN"),
        ([hit("WC-000001"), hit("WC-000007", ("VIN",))], ReasonCode.REFERENCE_AMBIGUOUS, "2 times"),
        (
            [Hit({"Claim number": "WC-1"}, Unknown(ReasonCode.REFERENCE_SUSPECT, "The check digit is wrong."))],
            ReasonCode.REFERENCE_SUSPECT,
            "check digit",
        ),
        ([hit("WC-000090")], ReasonCode.REFERENCE_SUSPECT, "WC-000090 already belongs to another claim"),
    ],
    ids=["two hits", "somebody else's", "ours and another", "malformed", "known already"],
)
def test_what_is_doubtful_is_for_a_person_and_never_filed_again(
    ledger: Ledger, evidence: MemoryStore, rows: list[Hit], reason: ReasonCode, words: str
) -> None:
    portal = FakePortal(filed=["earlier"] * 89)
    known(ledger, portal, evidence)
    held(ledger, portal, evidence)
    portal.history = lambda portal, submission: rows
    claim = again(ledger, portal, evidence, hours=0)
    assert (claim.state, claim.reason, claim.reference) == (State.NEEDS_REVIEW, reason, None)
    assert words in (claim.reason_text or "")
    assert again(ledger, portal, evidence, hours=100).state is State.NEEDS_REVIEW
    assert (len(portal.filed), len(portal.looked_up)) == (91, 1)
    assert "look_001_history.webp" in {artifact.name for artifact in ledger.artifacts(claim.claim_id)}


def test_a_portal_without_a_history_leaves_it_to_a_person(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal(rules=None)
    held(ledger, portal, evidence)
    claim = again(ledger, portal, evidence)
    assert (claim.state, portal.looked_up) == (State.NEEDS_REVIEW, [])


def test_looks_without_a_result_end_at_a_person_by_age(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal(history_failures=[DOWN] * 10)
    held(ledger, portal, evidence)
    for _ in range(LEAST_LOOKS):
        assert first(ledger).state is State.OUTCOME_UNKNOWN
        claim = again(ledger, portal, evidence, hours=10)
    assert (claim.state, claim.reason) == (State.NEEDS_REVIEW, ReasonCode.PORTAL_UNAVAILABLE)
    assert "HTTP 500" in (claim.reason_text or "")
    assert len(portal.filed) == 1


def test_an_outage_is_met_once_and_puts_the_others_off(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal()
    for number in (1, 2):
        ledger.add_claim(new_claim(number))
    portal.lose_reply = True
    run(ledger, portal, evidence)
    portal.history_failures = [DOWN]
    claims = run(ledger, portal, evidence)
    assert [(claim.state, claim.looks) for claim in claims] == [(State.OUTCOME_UNKNOWN, 1)] * 2
    assert len(portal.looked_up) == 1


def test_a_refused_log_in_is_not_tried_again_for_hours(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal(history_failures=[StepFailed(ReasonCode.LOGIN_FAILED, "wrong password", "log in")])
    held(ledger, portal, evidence)
    (claim,) = run(ledger, portal, evidence)
    assert claim.look_again_at is not None
    assert (claim.look_again_at - datetime.now(UTC)).total_seconds() > 7 * 3600
    assert again(ledger, portal, evidence).state is State.OUTCOME_UNKNOWN  # a person has to say that it works
    assert len(portal.looked_up) == 1
    free_account("aurora", "10234", "Ana", ledger)
    assert again(ledger, portal, evidence).state is State.CONFIRMED


def test_a_missing_secret_puts_looks_off(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal()
    held(ledger, portal, evidence)
    (claim,) = run(ledger, portal, evidence, account=lambda: portal_account(EnvironmentSecrets({}), "aurora", "10234"))
    assert (claim.state, claim.looks, portal.looked_up) == (State.OUTCOME_UNKNOWN, 1, [])
    assert "SECRET_MISSING" in (claim.reason_text or "")


def test_a_picture_that_can_not_be_kept_confirms_nothing(ledger: Ledger, evidence: MemoryStore) -> None:
    class Full(MemoryStore):
        def put(self, key: str, data: bytes) -> None:
            raise EvidenceUnavailable("The disk is full.")

    portal = FakePortal()
    held(ledger, portal, evidence)
    (claim,) = run(ledger, portal, Full())
    assert (claim.state, claim.reference) == (State.OUTCOME_UNKNOWN, None)
    assert "The disk is full." in (claim.reason_text or "")
    assert again(ledger, portal, evidence).state is State.CONFIRMED


# --- the reference comes later ---


class Later(FakeSession):
    """The portal takes the claim, and gives its number at night."""

    def submit(self, on_sent: Callable[..., None]) -> Answer:
        return replace(super().submit(on_sent), outcome=Pending("The number comes overnight."))


def waiting(ledger: Ledger, evidence: MemoryStore) -> FakePortal:
    portal = FakePortal(session_type=Later, history=lambda portal, submission: [hit("")])
    ledger.add_claim(new_claim())
    (claim,) = run(ledger, portal, evidence)
    assert claim.state is State.AWAITING_REFERENCE
    return portal


def test_a_reference_that_comes_later_is_found(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = waiting(ledger, evidence)
    assert again(ledger, portal, evidence).state is State.AWAITING_REFERENCE
    portal.history = FakePortal.listed
    claim = again(ledger, portal, evidence)
    assert (claim.state, claim.reference) == (State.CONFIRMED, "WC-000001")
    assert State.RECONCILING not in {event.to_state for event in ledger.events(claim.claim_id)}


@pytest.mark.parametrize("rows", [[hit("")], []], ids=["without a reference", "not listed"])
def test_a_reference_that_never_comes_is_for_a_person_in_the_end(
    ledger: Ledger, evidence: MemoryStore, rows: list[Hit]
) -> None:
    portal = waiting(ledger, evidence)
    portal.history = lambda portal, submission: rows
    assert again(ledger, portal, evidence, hours=30).state is State.AWAITING_REFERENCE
    claim = again(ledger, portal, evidence, hours=8)
    assert (claim.state, claim.reason) == (State.OUTCOME_UNKNOWN, ReasonCode.REFERENCE_MISSING)
    assert "within 36 hours" in (claim.reason_text or "")
    assert again(ledger, portal, evidence).state is State.NEEDS_REVIEW
    assert len(portal.filed) == 1


# --- a person's verdict ---


def in_review(ledger: Ledger, portal: FakePortal, evidence: MemoryStore) -> Claim:
    held(ledger, portal, evidence, arrived=False)
    claim = again(ledger, portal, evidence)
    assert claim.state is State.NEEDS_REVIEW
    return claim


REFERENCE = Reference("WC-000007", "claim number", "WC-000007", (0, 9))
PICTURE = Artifact(HISTORY, "image/webp", samples.shot("What Ana saw"), datetime(2026, 11, 10, tzinfo=UTC))


def test_a_person_says_filed_and_brings_the_proof(ledger: Ledger, evidence: MemoryStore) -> None:
    claim = in_review(ledger, FakePortal(), evidence)
    said = Said(Verdict.FILED, "Ana", "seen under Claim history", REFERENCE)
    with pytest.raises(VerdictRefused, match="has no picture of the answer"):
        decide(claim, said, ledger=ledger, evidence=evidence)
    decided = decide(claim, replace(said, picture=PICTURE), ledger=ledger, evidence=evidence)
    assert (decided.state, decided.reference, decided.reason) == (State.CONFIRMED, "WC-000007", None)
    event = ledger.events(claim.claim_id)[-1]
    assert (event.actor, event.details["why"], event.fencing_token) == ("Ana", "seen under Claim history", None)
    assert seal_claims([decided], "run-9", "w", ledger=ledger, evidence=evidence, **SEALING) == []


def test_a_reference_of_another_claim_is_not_taken_from_a_person_either(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal()
    claim = in_review(ledger, portal, evidence)
    known(ledger, portal, evidence)
    (other,) = [c for c in ledger.all_claims() if c.state is State.CONFIRMED]
    taken = Reference(other.reference or "", "claim number", other.reference or "", (0, 9))
    with pytest.raises(VerdictRefused, match="already belongs"):
        decide(claim, Said(Verdict.FILED, "Ana", "seen", taken, PICTURE), ledger=ledger, evidence=evidence)
    assert ledger.claim(claim.claim_id) == claim


def test_a_person_says_not_filed_and_it_is_filed_once(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal()
    claim = in_review(ledger, portal, evidence)
    ready = decide(claim, Said(Verdict.NOT_FILED, "Ana", "asked the OEM"), ledger=ledger, evidence=evidence)
    assert (ready.state, ready.absences) == (State.READY, 1)
    moves = [(event.to_state, event.actor) for event in ledger.events(claim.claim_id)][-2:]
    assert moves == [(State.PROVEN_ABSENT, "Ana"), (State.READY, "Ana")]
    run(ledger, portal, evidence)
    assert (first(ledger).state, len(portal.filed)) == (State.CONFIRMED, 1)


def test_a_person_who_can_not_tell_leaves_a_note(ledger: Ledger, evidence: MemoryStore) -> None:
    claim = in_review(ledger, FakePortal(), evidence)
    noted = decide(claim, Said(Verdict.CANNOT_TELL, "Ana", "the OEM is closed"), ledger=ledger, evidence=evidence)
    assert (noted.state, noted.reason_text) == (State.NEEDS_REVIEW, "Ana can't tell: the OEM is closed")
    assert ledger.events(claim.claim_id)[-1].actor == "Ana"


def test_a_verdict_is_only_for_what_needs_one_and_from_somebody(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal()
    unknown = held(ledger, portal, evidence)
    with pytest.raises(VerdictRefused, match="is OUTCOME_UNKNOWN"):
        decide(unknown, Said(Verdict.NOT_FILED, "Ana", "x"), ledger=ledger, evidence=evidence)
    review = replace(unknown, state=State.NEEDS_REVIEW)
    with pytest.raises(VerdictRefused, match="name of the person"):
        decide(review, Said(Verdict.NOT_FILED, " ", "x"), ledger=ledger, evidence=evidence)


# --- killed ---


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("arrived", [True, False], ids=["filed", "not filed"])
def test_a_worker_killed_at_any_write_of_a_reconciliation_never_leads_to_a_second_filing(
    ledger: Ledger, arrived: bool, after: bool
) -> None:
    evidence, portal = MemoryStore(), FakePortal(rules=HistoryRules(0, None))
    known(ledger, portal, evidence)
    strike, outcomes, died = 0, set(), True
    while died:
        strike += 1
        partition = Partition("aurora", "10234", f"{strike}")
        claim = ledger.add_claim(new_claim(strike, period=partition.period))
        portal.lose_reply, portal.lose_request = arrived, not arrived
        run(ledger, portal, evidence, partition)
        portal.lose_reply = portal.lose_request = False
        clock = Clock(strike, after)
        try:
            run(KilledAt(ledger, clock), portal, KilledAt(evidence, clock), partition)
        except Killed:
            pass
        else:
            died = False
        expire_leases(ledger)
        recover_lost_workers(ledger, "health", 60)
        for _ in range(2):
            let_pass(ledger, 0)
            run(ledger, portal, evidence, partition)
        ended = ledger.claim(claim.claim_id)
        assert ended is not None
        filed = portal.filed.count(claim.natural_key or "")
        assert filed <= 1, f"strike {strike}: filed {filed} times"
        assert ended.state in FILED | HELD, f"strike {strike}: {ended.state}"
        assert filed == 1 or ended.state is State.NEEDS_REVIEW, f"strike {strike}: {ended.state}, nothing was filed"
        outcomes.add(ended.state)
    assert strike > 6
    assert outcomes <= {State.CONFIRMED, State.NEEDS_REVIEW}
    assert State.CONFIRMED in outcomes


def test_a_worker_that_dies_in_a_look_gives_it_back(ledger: Ledger, evidence: MemoryStore) -> None:
    portal = FakePortal()
    held(ledger, portal, evidence)

    clock = Clock(strike=10_000, after=False)

    def die(portal: FakePortal, submission: Submission) -> list[Hit]:
        clock.dead = True
        raise Killed

    portal.history = die
    with pytest.raises(Killed):
        run(KilledAt(ledger, clock), portal, evidence)
    assert first(ledger).state is State.RECONCILING
    (work,) = ledger.due_work("aurora")
    assert work.claims == 1
    expire_leases(ledger)
    recover_lost_workers(ledger, "health", 60)
    (lost,) = lost_workers(ledger, 0)
    assert [claim.state for claim, _ in lost.left] == [State.OUTCOME_UNKNOWN]
    assert "past the click" in lost.sentence()
    assert "did not finish looking the claim up" in (first(ledger).reason_text or "")
