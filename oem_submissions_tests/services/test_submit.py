"""Filed once: the submit service on a real ledger, with a portal that counts what it filed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from oem_submissions.domain.evidence import HISTORY, POST_CONFIRM, RECONCILED, bundle_key
from oem_submissions.domain.failures import LeaseLost, StepFailed
from oem_submissions.domain.outcomes import Answer
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import FILED, HELD, State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import EvidenceUnavailable, Prepared, Submission
from oem_submissions.services import submit
from oem_submissions.services.accounts import portal_account
from oem_submissions.services.health import recover_lost_workers
from oem_submissions.services.release import OpenGate
from oem_submissions.services.seal import seal_claims
from oem_submissions.services.submit import TryAgain
from oem_submissions.settings import EnvironmentSecrets
from oem_submissions_tests.evidence.sealing import KEYS, SEALING
from oem_submissions_tests.making import new_claim, warranty_payload
from oem_submissions_tests.services.fakes import FakePortal, FakeSession
from oem_submissions_tests.services.runs import Clock, Killed, KilledAt, expire_leases, run


def test_every_claim_of_a_partition_is_filed_and_a_second_run_files_nothing(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        ledger.add_claim(new_claim(number))
    portal = FakePortal()
    assert {claim.state for claim in run(ledger, portal)} == {State.CONFIRMED}
    assert len(portal.filed) == 3
    assert {claim.state for claim in run(ledger, portal)} == {State.CONFIRMED}
    assert (len(portal.filed), portal.log_ins) == (3, 3)


def test_a_refused_claim_ends_with_its_reason_and_troubles_no_other(ledger: Ledger) -> None:
    for number in (1, 2):
        ledger.add_claim(new_claim(number))
    portal = FakePortal(refuse=lambda s: "odometer too high" if "RO000001" in s.natural_key else None)
    first, second = run(ledger, portal)
    assert (first.state, first.reason) == (State.REJECTED, ReasonCode.VALIDATION_REJECTED)
    assert "odometer too high" in (first.reason_text or "")
    assert second.state is State.CONFIRMED
    assert len(portal.filed) == 1


def test_a_gate_that_closed_while_a_person_helped_with_the_log_in_is_asked_before_the_click(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = ledger.add_claim(new_claim())

    class Suspended(OpenGate):
        def closed(self, *_: Any) -> str:
            return "It was suspended." if portal.log_ins else ""

    portal = FakePortal()
    monkeypatch.setattr(submit, "STALE_SECONDS", -1.0)
    (left,) = run(ledger, portal, gate=Suspended(), attempts_budget=1)
    assert (left.state, left.reason, left.reason_text) == (State.READY, ReasonCode.GATE_CLOSED, "It was suspended.")
    assert portal.filed == []
    (filed,) = run(ledger, portal)
    assert (filed.claim_id, filed.state, len(portal.filed)) == (claim.claim_id, State.CONFIRMED, 1)


def test_a_duplicate_at_the_portal_is_held_because_it_may_be_our_own(ledger: Ledger) -> None:
    ledger.add_claim(new_claim())
    portal = FakePortal(refuse=lambda _: "exists already", refusal=ReasonCode.DUPLICATE_AT_PORTAL)
    (claim,) = run(ledger, portal)
    assert (claim.state, claim.reason) == (State.OUTCOME_UNKNOWN, ReasonCode.DUPLICATE_AT_PORTAL)


def test_a_lost_reply_is_held_and_never_filed_again(ledger: Ledger) -> None:
    ledger.add_claim(new_claim())
    portal = FakePortal(lose_reply=True)
    (claim,) = run(ledger, portal)
    assert (claim.state, claim.reason) == (State.OUTCOME_UNKNOWN, ReasonCode.OUTCOME_UNKNOWN)
    run(ledger, portal)
    assert len(portal.filed) == 1


def test_an_outage_is_retried_within_the_budget_then_a_dead_letter(ledger: Ledger) -> None:
    ledger.add_claim(new_claim())
    portal = FakePortal(failures=[StepFailed(ReasonCode.PORTAL_UNAVAILABLE, "down", "log in")] * 3)
    for _ in range(2):
        with pytest.raises(TryAgain, match="PORTAL_UNAVAILABLE"):
            run(ledger, portal)
    (claim,) = run(ledger, portal)
    assert (claim.state, claim.reason) == (State.DEAD, ReasonCode.PORTAL_UNAVAILABLE)
    ledger.redrive(claim, "Ana")
    (claim,) = run(ledger, portal)
    assert claim.state is State.CONFIRMED
    assert len(portal.filed) == 1


def test_a_correction_while_the_form_is_filled_costs_an_attempt_and_files_what_is_right(ledger: Ledger) -> None:
    for number in (1, 2):
        ledger.add_claim(new_claim(number))
    corrected = new_claim(payload=warranty_payload(odometer=31_000))

    class Corrects(FakeSession):
        def prepare(self, submission: Submission) -> Prepared:
            ready = super().prepare(submission)
            claim = ledger.claim(submission.claim_id)
            assert claim is not None
            if claim.payload["odometer"] == 20_001:
                ledger.amend_claim(claim, corrected)
            return ready

    portal = FakePortal(session_type=Corrects)
    with pytest.raises(TryAgain):
        run(ledger, portal)
    assert len(portal.filed) == 1, "the other claim was held up"
    first, second = run(ledger, portal)
    assert (first.state, second.state, len(portal.filed)) == (State.CONFIRMED, State.CONFIRMED, 2)
    assert [attempt.ended_at is not None for attempt in ledger.attempts(first.claim_id)] == [True, True]


def test_a_refusal_whose_evidence_is_not_durable_is_held(ledger: Ledger) -> None:
    class Full(MemoryStore):
        def put(self, key: str, data: bytes) -> None:
            if "post_confirm" in key:
                raise EvidenceUnavailable("The disk is full.")
            super().put(key, data)

    ledger.add_claim(new_claim())
    (claim,) = run(ledger, FakePortal(refuse=lambda _: "odometer too high"), Full())
    assert (claim.state, claim.reason) == (State.OUTCOME_UNKNOWN, ReasonCode.POST_EVIDENCE_MISSING)
    assert "odometer too high" in (claim.reason_text or "")


@pytest.mark.parametrize("reason", [ReasonCode.SELECTOR_NOT_FOUND, ReasonCode.FIELD_READBACK_MISMATCH])
def test_drift_is_never_retried(ledger: Ledger, reason: ReasonCode) -> None:
    ledger.add_claim(new_claim())
    portal = FakePortal(failures=[StepFailed(reason, "not as it was", "fill")])
    (claim,) = run(ledger, portal)
    assert (claim.state, claim.reason, claim.attempts) == (State.DEAD, reason, 1)


def test_one_refused_log_in_is_the_last_one(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        ledger.add_claim(new_claim(number))
    portal = FakePortal(failures=[StepFailed(ReasonCode.LOGIN_FAILED, "wrong password", "log in")])
    claims = run(ledger, portal)
    assert [(claim.state, claim.reason) for claim in claims] == [(State.DEAD, ReasonCode.LOGIN_FAILED)] * 3
    assert portal.log_ins == 1


def test_a_missing_secret_is_named_and_the_claims_are_kept(ledger: Ledger) -> None:
    ledger.add_claim(new_claim())
    portal = FakePortal()
    nothing = EnvironmentSecrets({})
    (claim,) = run(ledger, portal, account=lambda: portal_account(nothing, "aurora", "10234"))
    assert (claim.state, claim.reason) == (State.DEAD, ReasonCode.SECRET_MISSING)
    assert "OEM_SUBMISSIONS_SECRET_PORTAL_AURORA_10234_USERNAME" in (claim.reason_text or "")
    assert portal.log_ins == 0


def test_two_runs_never_work_with_one_account_at_once(ledger: Ledger) -> None:
    ledger.add_claim(new_claim())
    assert ledger.acquire_lease("aurora", "10234", "other", "other", 60) is not None
    with pytest.raises(LeaseLost, match="held by another worker"):
        run(ledger, FakePortal(), lease_seconds=0.2)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_worker_killed_at_any_write_leaves_the_claim_filed_once_or_held(ledger: Ledger, after: bool) -> None:
    strike, outcomes = 0, set()
    while True:
        strike += 1
        number = strike * 2 + after
        claim = ledger.add_claim(new_claim(number, period="2026-11-10"))
        portal, evidence, clock = FakePortal(), MemoryStore(), Clock(strike, after)
        portal.filed = [f"other-{n}" for n in range(number * 10)]  # references are never used twice
        others = len(portal.filed)
        try:
            run(KilledAt(ledger, clock), portal, KilledAt(evidence, clock))
        except Killed:
            died = True
        else:
            died = False
        expire_leases(ledger)
        recover_lost_workers(ledger, "health", 60)
        run(ledger, portal, evidence)
        claim = ledger.claim(claim.claim_id)
        filed = len(portal.filed) - others
        assert filed <= 1, f"strike {strike}: filed {filed} times"
        assert claim.state in FILED | HELD, f"strike {strike}: {claim.state}"
        assert filed == 1 or claim.state in HELD, f"strike {strike}: {claim.state} but nothing was filed"
        outcomes.add(claim.state)
        if not died:
            break
    assert strike > 10
    assert outcomes == {State.CONFIRMED, State.OUTCOME_UNKNOWN}


def another_order(ready: Prepared) -> Prepared:
    """The form of another repair order was photographed."""
    return replace(ready, text=ready.text.replace("RO000001", "RO000002"))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda ready: replace(ready, text="a form"), ReasonCode.PRE_EVIDENCE_MISSING),
        (
            lambda ready: another_order(ready),
            ReasonCode.PRE_EVIDENCE_MISSING,
        ),
        (lambda ready: replace(ready, readback=ready.readback[1:]), ReasonCode.DEALER_MISMATCH),
        (lambda ready: replace(ready, artifacts=ready.artifacts[1:]), ReasonCode.PRE_EVIDENCE_MISSING),
    ],
    ids=["no natural key", "another repair order", "no dealer code", "no picture"],
)
def test_a_form_whose_evidence_does_not_show_the_claim_is_never_armed(
    ledger: Ledger, changed: Callable[[Prepared], Prepared], reason: ReasonCode
) -> None:
    class Worthless(FakeSession):
        def prepare(self, submission: Submission) -> Prepared:
            return changed(super().prepare(submission))

    portal = FakePortal(session_type=Worthless)
    ledger.add_claim(new_claim())
    with suppress(TryAgain):
        run(ledger, portal)
    claim = ledger.claim_of_record("aurora", "REC0001")
    assert claim is not None
    assert (claim.state in (State.READY, State.DEAD), claim.reason) == (True, reason)
    assert portal.filed == []


@pytest.mark.parametrize("worthless", ["another text", "the picture before the click"])
def test_a_filing_whose_evidence_does_not_show_it_is_held_then_proven_late_and_said_so(
    ledger: Ledger, worthless: str
) -> None:
    class Worthless(FakeSession):
        def prepare(self, submission: Submission) -> Prepared:
            self.ready = super().prepare(submission)
            return self.ready

        def submit(self, on_sent: Any) -> Answer:
            answer = super().submit(on_sent)
            if worthless == "another text":
                return replace(answer, text="Thank you for your patience.")
            same = [
                replace(p, data=self.ready.artifacts[0].data) if p.name == POST_CONFIRM else p for p in answer.artifacts
            ]
            return replace(answer, artifacts=tuple(same))

    portal, evidence = FakePortal(session_type=Worthless), MemoryStore()
    ledger.add_claim(new_claim())
    (claim,) = run(ledger, portal, evidence)
    assert (claim.state, claim.reason) == (State.OUTCOME_UNKNOWN, ReasonCode.POST_EVIDENCE_MISSING)
    assert "WC-000001" in (claim.reason_text or "")
    (claim,) = run(ledger, portal, evidence)
    assert (claim.state, claim.reference) == (State.CONFIRMED, "WC-000001")
    assert len(portal.filed) == 1
    late = [HISTORY, RECONCILED] if worthless == "another text" else [HISTORY, POST_CONFIRM, RECONCILED]
    (event,) = [e for e in ledger.events(claim.claim_id) if e.to_state is State.CONFIRMED]
    assert event.details["late"] == late
    assert seal_claims([claim], "run-2", "w", ledger=ledger, evidence=evidence, **SEALING) == []
    (sealed,) = ledger.find("WC-000001")
    verified = verify_bundle(evidence.get(bundle_key(claim.claim_id, sealed.bundle_digest or "")), keys=KEYS)
    assert verified.ok
    assert verified.facts is not None
    assert verified.facts.late == tuple(late)
