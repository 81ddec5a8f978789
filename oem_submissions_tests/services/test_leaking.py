"""The leak gate: before the click it ends the attempt, after it the claim is held, at sealing nothing is stored."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace

import pytest

from oem_submissions.domain.evidence import (
    PERSONAL_READBACK,
    POST_CONFIRM,
    POST_CONFIRM_ARIA,
    PRE_SUBMIT,
    READBACK,
    REQUEST,
    Artifact,
)
from oem_submissions.domain.keys import canonical_json
from oem_submissions.domain.needles import Kind, Needles
from oem_submissions.domain.outcomes import Answer, Wire
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import State
from oem_submissions.evidence.leaks import leaks
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import EvidenceErased, Prepared, Submission
from oem_submissions.services.leaking import LeakGate
from oem_submissions.services.seal import Unsealed, seal_claims
from oem_submissions.settings import EnvironmentSecrets
from oem_submissions_tests.evidence.sealing import SEALING
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.services.fakes import NOW, FakePortal, FakeSession
from oem_submissions_tests.services.runs import let_pass, run

PASSWORD, CUSTOMER = "Tr0ub4dor&3", "Pat O'Doe"
NEEDLES = Needles.of(Kind.SECRET, [("password", PASSWORD)]) | Needles.of(Kind.PERSONAL, [("customer", CUSTOMER)])


def planting(before: dict[str, bytes] | None = None, after: dict[str, bytes] | None = None) -> type[FakeSession]:
    """A session whose evidence holds more than it should."""

    def with_(pieces: tuple[Artifact, ...], planted: dict[str, bytes] | None) -> tuple[Artifact, ...]:
        kept = tuple(piece for piece in pieces if piece.name not in (planted or {}))
        return kept + tuple(Artifact(name, "text/plain", data, NOW) for name, data in (planted or {}).items())

    class Plants(FakeSession):
        def prepare(self, submission: Submission) -> Prepared:
            ready = super().prepare(submission)
            return replace(ready, artifacts=with_(ready.artifacts, before))

        def submit(self, on_sent: Callable[[Wire], None]) -> Answer:
            answer = super().submit(on_sent)
            return replace(answer, artifacts=with_(answer.artifacts, after))

    return Plants


def portal(**planted: dict[str, bytes]) -> FakePortal:
    return FakePortal(session_type=planting(**planted), needles=NEEDLES)


def names(ledger: Ledger, claim_id: str) -> set[str]:
    return {kept.name for kept in ledger.artifacts(claim_id)}


def seal(ledger: Ledger, store: MemoryStore) -> list[Unsealed]:
    secret = {EnvironmentSecrets.where("portal/aurora/10234/password"): PASSWORD}
    gate = LeakGate(leaks, EnvironmentSecrets(secret))
    return seal_claims(ledger.all_claims(), "r", "w", ledger=ledger, evidence=store, **(SEALING | {"leak_gate": gate}))


def stored(store: MemoryStore) -> bytes:
    return b"\n".join(store.get(key) for key in store.keys(""))


@pytest.mark.parametrize("planted", [PASSWORD, CUSTOMER])
def test_a_secret_before_the_click_ends_the_attempt_and_nothing_is_filed(ledger: Ledger, planted: str) -> None:
    ledger.add_claim(new_claim())
    store, bad = MemoryStore(), portal(before={READBACK: b'{"fields": ["' + planted.encode() + b'"]}'})
    (claim,) = run(ledger, bad, store)
    assert (claim.state, claim.reason, bad.filed) == (State.DEAD, ReasonCode.SECRET_IN_ARTIFACT, [])
    assert "readback.json: " in (claim.reason_text or "")
    assert planted not in (claim.reason_text or "")
    assert names(ledger, claim.claim_id) == {PRE_SUBMIT}
    assert planted.encode() not in stored(store)


def test_a_secret_after_the_click_holds_the_claim_and_the_history_brings_the_proof(ledger: Ledger) -> None:
    ledger.add_claim(new_claim())
    store, bad = MemoryStore(), portal(after={POST_CONFIRM_ARIA: gzip.compress(PASSWORD.encode())})
    (claim,) = run(ledger, bad, store)
    assert (claim.state, claim.reason) == (State.OUTCOME_UNKNOWN, ReasonCode.SECRET_IN_ARTIFACT)
    assert "The portal gave claim number WC-000001, but: " in (claim.reason_text or "")
    assert names(ledger, claim.claim_id) == {PRE_SUBMIT, READBACK, POST_CONFIRM, REQUEST}
    let_pass(ledger, 2)
    (claim,) = run(ledger, bad, store)
    assert (claim.state, claim.reference, len(bad.filed)) == (State.CONFIRMED, "WC-000001", 1)
    assert seal(ledger, store) == []


def test_what_is_kept_apart_may_hold_a_name_and_no_secret(ledger: Ledger) -> None:
    ledger.add_claim(new_claim())
    (claim,) = run(ledger, portal(before={PERSONAL_READBACK: CUSTOMER.encode()}))
    assert claim.state is State.CONFIRMED
    ledger.add_claim(new_claim(2))
    claims = run(ledger, portal(before={PERSONAL_READBACK: PASSWORD.encode()}))
    assert {claim.reason for claim in claims} == {None, ReasonCode.SECRET_IN_ARTIFACT}


def test_what_can_not_be_looked_through_is_not_kept(ledger: Ledger) -> None:
    ledger.add_claim(new_claim())
    (claim,) = run(ledger, portal(before={READBACK: b"\x1f\x8bbroken"}))
    assert (claim.state, claim.reason) == (State.DEAD, ReasonCode.SECRET_IN_ARTIFACT)
    assert "can't be unpacked" in (claim.reason_text or "")


PLANTS: dict[str, tuple[bytes, bytes]] = {
    "the password, that the session did not know": (b'{"fields": []}', f'{{"path": "/x?{PASSWORD}"}}'.encode()),
    "a name that was put aside": (b'{"fields": []}', f'{{"path": "/by/{CUSTOMER}"}}'.encode()),
}


@pytest.mark.parametrize("what", PLANTS)
def test_a_bundle_with_a_secret_is_neither_sealed_nor_stored(ledger: Ledger, what: str) -> None:
    readback, request = PLANTS[what]
    apart = canonical_json({"fields": [{"name": "customer_name", "value": CUSTOMER}]}).encode()
    ledger.add_claim(new_claim())
    store = MemoryStore()
    planted = FakePortal(
        session_type=planting({READBACK: readback, PERSONAL_READBACK: apart}, {REQUEST: request}), needles=Needles()
    )
    (claim,) = run(ledger, planted, store)
    assert claim.state is State.CONFIRMED
    (unsealed,) = seal(ledger, store)
    assert "SECRET_IN_ARTIFACT" in unsealed.problem
    assert "data/request.json" in unsealed.problem
    assert "data/index.html" in unsealed.problem
    assert PASSWORD not in unsealed.problem + CUSTOMER
    assert store.keys("bundles/") == []


@pytest.mark.parametrize("what", ["erased", "changed"])
def test_personal_values_that_are_gone_are_not_missed_and_changed_ones_are(ledger: Ledger, what: str) -> None:
    class Personal(MemoryStore):
        def get(self, key: str) -> bytes:
            if not key.startswith("personal/"):
                return super().get(key)
            if what == "erased":
                raise EvidenceErased("Its key was deleted.")
            return b'{"fields": []}'

    apart = canonical_json({"fields": [{"name": "customer_name", "value": CUSTOMER}]}).encode()
    ledger.add_claim(new_claim())
    store = Personal()
    run(ledger, FakePortal(session_type=planting({PERSONAL_READBACK: apart})), store)
    problems = [unsealed.problem for unsealed in seal(ledger, store)]
    assert [problem.partition(" of claim")[0] for problem in problems] == (
        [] if what == "erased" else ["POST_EVIDENCE_MISSING at step 'seal': personal_readback.json"]
    )


def test_a_name_that_the_claim_says_in_the_clear_is_no_leak(ledger: Ledger) -> None:
    apart = canonical_json({"fields": [{"name": "technician", "value": "RO000001"}]}).encode()
    ledger.add_claim(new_claim())
    store = MemoryStore()
    (claim,) = run(ledger, FakePortal(session_type=planting({PERSONAL_READBACK: apart})), store)
    assert "RO000001" in (claim.natural_key or "")
    assert seal(ledger, store) == []
