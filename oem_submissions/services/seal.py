"""Sealing: the durable pieces of a claim's evidence become one bundle: signed, logged, stored and read back.

The same pieces give the same bag. Signature, place in the log and checkpoint are remembered by the ledger as soon as
the bag is logged, so that whoever seals it again, after a crash anywhere, stores the very same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from oem_submissions.domain.checkpoints import Checkpoint, claimed, fingerprint, leaf_of, signed_note
from oem_submissions.domain.evidence import BUNDLED, Bundle, BundleFacts, bundle_key, public_key_key
from oem_submissions.domain.evidence_log import LogEntry
from oem_submissions.domain.failures import StateConflict, SubmissionError
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Attempt, Claim, KeptArtifact
from oem_submissions.domain.states import State
from oem_submissions.ports import (
    Bundler,
    Completer,
    EvidenceConflict,
    EvidenceLogBroken,
    EvidenceMissing,
    EvidenceStore,
    EvidenceUnavailable,
    Ledger,
    SecretsUnavailable,
    Signer,
    SigningUnavailable,
)
from oem_submissions.services.leaking import LeakGate, personal_needles

_log = logging.getLogger(__name__)

_TROUBLES = (
    SubmissionError,
    EvidenceConflict,
    EvidenceMissing,
    EvidenceUnavailable,
    SecretsUnavailable,
    SigningUnavailable,
    EvidenceLogBroken,
)


@dataclass(frozen=True)
class Unsealed:
    """A claim that has an outcome and could not be bundled, and why."""

    claim: Claim
    problem: str


@dataclass(frozen=True)
class Notary:
    """Who vouches for bundles: the key, and the log that it speaks for."""

    signer: Signer
    origin: str
    """The log's name, for its first checkpoint; from then on the name is what that one says."""
    complete: Completer

    def note(self, size: int, root: bytes, before: str | None) -> str:
        """The signed checkpoint of the log at a size, after the one before. Raises `SigningUnavailable`."""
        checkpoint = Checkpoint(claimed(before).origin if before else self.origin, size, root)
        signature = self.signer.sign(checkpoint.text.encode())
        return signed_note(checkpoint.text, checkpoint.origin, self.fingerprint, signature)

    @property
    def fingerprint(self) -> str:
        """Of the key. Raises `SigningUnavailable`."""
        return fingerprint(self.signer.public_key_pem)


def seal_claims(
    claims: Iterable[Claim],
    run_id: str,
    actor: str,
    *,
    ledger: Ledger,
    evidence: EvidenceStore,
    bundle: Bundler,
    notary: Notary,
    leak_gate: LeakGate,
) -> list[Unsealed]:
    """Seal every claim that has an outcome and no bundle; what could not be sealed. One claim's trouble is its own.

    Refused claims are sealed too: a refusal is worth proving.
    """
    unsealed = []
    for claim in claims:
        if claim.bundle_digest is not None or claim.state not in (State.CONFIRMED, State.REJECTED):
            continue
        try:
            _seal(claim, run_id, actor, ledger, evidence, bundle, notary, leak_gate)
        except StateConflict as moved:
            _log.info("claim %s: another run was faster: %s", claim.claim_id, moved)  # the same pieces, the same bundle
        except _TROUBLES as error:
            _log.warning("claim %s: %s", claim.claim_id, error)
            unsealed.append(Unsealed(claim, str(error)))
    return unsealed


def _seal(
    claim: Claim,
    run_id: str,
    actor: str,
    ledger: Ledger,
    evidence: EvidenceStore,
    bundle: Bundler,
    notary: Notary,
    leak_gate: LeakGate,
) -> None:
    attempt = next(a for a in reversed(ledger.attempts(claim.claim_id)) if a.armed_at is not None)
    kept = [a for a in ledger.artifacts(claim.claim_id) if a.attempt_id == attempt.attempt_id]
    facts, pieces = _facts(claim, attempt, ledger), {a.name: _read(a, evidence) for a in kept if a.name in BUNDLED}
    made = bundle(facts, pieces)
    leak_gate.check_bundle(facts, made.zip_bytes, personal_needles(facts, kept, pieces, evidence))
    entry = ledger.logged(made.digest) or _log_bundle(claim, made, ledger, evidence, notary)
    proof = ledger.log_proof(entry.index, entry.index + 1)
    if not proof.shows(leaf_of(claim.claim_id, made.digest), claimed(proof.note)):
        raise EvidenceLogBroken(
            f"The evidence log does not prove entry {entry.index}: run `oem-submissions evidence audit`."
        )
    sealed = notary.complete(made, claim.claim_id, entry.signature, proof.text)
    key = bundle_key(claim.claim_id, made.digest)
    evidence.put(key, sealed)
    if evidence.get(key) != sealed:
        text = f"The bundle of claim {claim.claim_id} read back from the store is not the one that was written."
        raise SubmissionError(ReasonCode.POST_EVIDENCE_MISSING, text, "seal")
    ledger.sealed(claim, run_id, made.digest, actor)


def _log_bundle(claim: Claim, made: Bundle, ledger: Ledger, evidence: EvidenceStore, notary: Notary) -> LogEntry:
    """Sign and log. The public key is published first: nothing is ever signed with a key that nobody has."""
    published = public_key_key(notary.fingerprint)
    if published not in evidence.keys(published):
        evidence.put(published, notary.signer.public_key_pem)
    signature = notary.signer.sign(made.tag_manifest)
    return ledger.append_to_log(claim.claim_id, made.digest, signature, notary.fingerprint, notary.note)


def _read(artifact: KeptArtifact, evidence: EvidenceStore) -> bytes:
    try:
        data = evidence.get(artifact.key)
    except EvidenceMissing as error:
        text = f"{artifact.name} of claim {artifact.claim_id} is gone from the evidence store."
        raise SubmissionError(ReasonCode.POST_EVIDENCE_MISSING, text, "seal") from error
    if sha256_hex(data) != artifact.sha256:
        text = f"{artifact.name} of claim {artifact.claim_id} was changed after it was kept."
        raise SubmissionError(ReasonCode.POST_EVIDENCE_MISSING, text, "seal")
    return data


def _facts(claim: Claim, attempt: Attempt, ledger: Ledger) -> BundleFacts:
    facts, reference = ledger.facts(claim.claim_id), ledger.captured_reference(claim.claim_id)
    assert claim.natural_key is not None
    assert attempt.armed_at is not None
    width, height = facts["viewport"]
    return BundleFacts(
        claim_id=claim.claim_id,
        oem=claim.oem,
        dealer=claim.dealer,
        period=claim.period,
        claim_type=claim.claim_type,
        natural_key=claim.natural_key,
        crm_record_id=claim.crm_record_id,
        payload_sha256=claim.payload_sha256,
        run_id=attempt.run_id,
        attempt=attempt.number,
        fencing_token=attempt.fencing_token,
        adapter_digest=attempt.pins.adapter_digest,
        pack_version=attempt.pins.pack_version,
        pack_digest=attempt.pins.pack_digest,
        started_at=attempt.started_at,
        armed_at=attempt.armed_at,
        sent_at=attempt.sent_at,
        responded_at=attempt.responded_at,
        confirmed_at=claim.confirmed_at,
        outcome=State.REJECTED if claim.state is State.REJECTED else State.CONFIRMED,
        reference=claim.reference,
        reference_kind=claim.reference_kind,
        reference_text=reference.raw_text if reference else None,
        reference_span=reference.span if reference else None,
        reason=claim.reason,
        reason_text=claim.reason_text,
        browser=facts["browser"],
        viewport=(width, height),
        url=facts["answer_url"],
        late=tuple(facts.get("late", ())),
    )
