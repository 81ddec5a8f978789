"""Sealing: signed, logged and stored once, wherever the worker dies; and nothing is lost while nobody can sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from oem_submissions.domain.checkpoints import claimed, fingerprint
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import EvidenceUnavailable, SigningUnavailable
from oem_submissions.services.seal import Notary, Unsealed, seal_claims
from oem_submissions_tests.evidence.sealing import KEYS, NOTARY, ORIGIN, SEALING, FixedSigner, notary
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import Killed, run


def file(ledger: Ledger, evidence: MemoryStore, *numbers: int) -> list[Claim]:
    """Claims that are confirmed, each with a bundle to come."""
    portal = FakePortal(filed=["other"] * ledger.log_size() * 10)
    ids = [ledger.add_claim(new_claim(number)).claim_id for number in numbers]
    run(ledger, portal, evidence)
    return [of(ledger, claim_id) for claim_id in ids]


def of(ledger: Ledger, claim_id: str) -> Claim:
    claim = ledger.claim(claim_id)
    assert claim is not None
    return claim


def seal(claims: list[Claim], ledger: Any, evidence: Any, by: Notary = NOTARY) -> list[Unsealed]:
    return seal_claims(claims, "run-1", "w", ledger=ledger, evidence=evidence, **(SEALING | {"notary": by}))


def bundles(claim: Claim, evidence: MemoryStore) -> list[str]:
    return evidence.keys(f"bundles/{claim.claim_id}/")


class Dying:
    """Any part, whose user dies before or after its n-th call over all parts that share the counter."""

    def __init__(self, target: Any, calls: list[str], strike: int, after: bool) -> None:
        self._target, self._calls, self._strike, self._after = target, calls, strike, after

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def called(*args: Any, **words: Any) -> Any:
            self._calls.append(name)
            struck = len(self._calls) == self._strike
            if struck and not self._after:
                raise Killed
            result = value(*args, **words)
            if struck:
                raise Killed
            return result

        return called


@pytest.mark.parametrize("after", [False, True])
def test_wherever_the_worker_dies_there_is_one_entry_and_one_bundle_of_the_same_bytes(
    ledger: Ledger, after: bool
) -> None:
    evidence, strike, calls = MemoryStore(), 0, []
    survived = False
    while not survived:
        strike += 1
        (claim,) = file(ledger, evidence, strike)
        calls = []
        dying = [Dying(part, calls, strike, after) for part in (ledger, evidence, FixedSigner())]
        before = ledger.log_size()
        try:
            seal([claim], dying[0], dying[1], replace(NOTARY, signer=dying[2]))
            survived = strike > len(calls)
        except Killed:
            pass
        stored = [evidence.get(key) for key in bundles(claim, evidence)]
        logged = ledger.log_size() - before
        assert seal([of(ledger, claim.claim_id)], ledger, evidence) == [], f"{after} {calls}"
        (key,) = bundles(claim, evidence)
        sealed = of(ledger, claim.claim_id)
        assert (sealed.state, key) == (State.SEALED, f"bundles/{claim.claim_id}/{sealed.bundle_digest}.zip")
        assert [evidence.get(key)] == (stored or [evidence.get(key)]), calls
        assert verify_bundle(evidence.get(key), sealed.bundle_digest, KEYS).findings == (), calls
        assert ledger.log_size() == before + 1 >= before + logged
    assert {"append_to_log", "sign", "put", "get", "sealed"} <= set(calls)
    assert ledger.unlogged() == []


def test_a_bundle_that_is_logged_needs_no_key_to_be_stored(ledger: Ledger) -> None:
    evidence = MemoryStore()
    (claim,) = file(ledger, evidence, 1)
    full = Failing(evidence, "put", EvidenceUnavailable("full"), lambda key, _: key.startswith("bundles/"))
    assert [str(item.problem) for item in seal([claim], ledger, full)] == ["full"]
    assert ledger.log_size() == 1
    assert seal([claim], ledger, evidence, notary(Unreachable())) == []
    assert of(ledger, claim.claim_id).state is State.SEALED


class Unreachable(FixedSigner):
    """A key service that does not answer."""

    def sign(self, data: bytes) -> bytes:
        raise SigningUnavailable("AWS KMS did not sign with alias/evidence: no answer")


class Failing:
    """A part of which one method fails, when asked for what fits."""

    def __init__(self, target: Any, name: str, error: Exception, fits: Callable[..., bool]) -> None:
        self._target, self._name, self._error, self._fits = target, name, error, fits

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)

        def called(*args: Any) -> Any:
            if self._fits(*args):
                raise self._error
            return value(*args)

        return called if name == self._name else value


def test_while_nobody_can_sign_claims_stay_as_they_are_and_the_next_run_seals_them(ledger: Ledger) -> None:
    evidence = MemoryStore()
    claims = file(ledger, evidence, 1, 2)
    left = seal(claims, ledger, evidence, notary(Unreachable()))
    assert [(item.claim.claim_id, item.problem) for item in left] == [
        (claim.claim_id, "AWS KMS did not sign with alias/evidence: no answer") for claim in claims
    ]
    assert {of(ledger, claim.claim_id).state for claim in claims} == {State.CONFIRMED}
    assert ledger.log_size() == 0
    assert evidence.keys("bundles/") == []
    assert seal(claims, ledger, evidence) == []
    assert {of(ledger, claim.claim_id).state for claim in claims} == {State.SEALED}


def test_the_public_key_is_published_before_anything_is_signed_with_it(ledger: Ledger) -> None:
    evidence, signer = MemoryStore(), FixedSigner()
    (claim,) = file(ledger, evidence, 1)
    key = f"keys/{fingerprint(signer.public_key_pem)}.pem"
    refusing = Failing(evidence, "put", EvidenceUnavailable("no disk"), lambda name, _: name == key)
    assert [item.problem for item in seal([claim], ledger, refusing, notary(signer))] == ["no disk"]
    assert signer.signed == []
    assert seal([claim], ledger, evidence, notary(signer)) == []
    assert evidence.get(key) == signer.public_key_pem


def test_a_log_keeps_its_name_and_takes_a_new_key(ledger: Ledger) -> None:
    evidence = MemoryStore()
    first, second = file(ledger, evidence, 1, 2)
    assert seal([first], ledger, evidence) == []
    other = replace(notary(FixedSigner(7)), origin="moved.example/log")
    assert seal([second], ledger, evidence, other) == []
    newest = ledger.newest_checkpoint()
    assert newest is not None
    assert claimed(newest.note).origin == ORIGIN
    assert len(evidence.keys("keys/")) == 2


def test_a_log_that_was_changed_stops_the_sealing_and_says_so(ledger: Ledger) -> None:
    evidence = MemoryStore()
    first, second = file(ledger, evidence, 1, 2)
    assert seal([first], ledger, evidence) == []
    with ledger._engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE evidence_log_nodes SET hash = sha256('x')"))
    (left,) = seal([second], ledger, evidence)
    assert "evidence audit" in left.problem
    assert of(ledger, second.claim_id).state is State.CONFIRMED
