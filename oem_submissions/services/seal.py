"""Sealing: the durable pieces of a claim's evidence become one bundle, stored and read back.

The same pieces give the same bundle.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from oem_submissions.domain.evidence import (
    HISTORY,
    POST_CONFIRM,
    PRE_SUBMIT,
    READBACK,
    RECONCILED,
    REQUEST,
    BundleFacts,
    bundle_key,
)
from oem_submissions.domain.failures import StateConflict, SubmissionError
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Attempt, Claim, KeptArtifact
from oem_submissions.domain.states import State
from oem_submissions.ports import (
    Bundler,
    EvidenceConflict,
    EvidenceMissing,
    EvidenceStore,
    EvidenceUnavailable,
    Ledger,
)

_log = logging.getLogger(__name__)

_BUNDLED = (PRE_SUBMIT, POST_CONFIRM, READBACK, REQUEST, HISTORY, RECONCILED)


@dataclass(frozen=True)
class Unsealed:
    """A claim that has an outcome and could not be bundled, and why."""

    claim: Claim
    problem: str


def seal_claims(
    claims: Iterable[Claim], run_id: str, actor: str, *, ledger: Ledger, evidence: EvidenceStore, bundle: Bundler
) -> list[Unsealed]:
    """Seal every claim that has an outcome and no bundle; what could not be sealed. One claim's trouble is its own.

    Refused claims are sealed too: a refusal is worth proving.
    """
    unsealed = []
    for claim in claims:
        if claim.bundle_digest is not None or claim.state not in (State.CONFIRMED, State.REJECTED):
            continue
        try:
            _seal(claim, run_id, actor, ledger, evidence, bundle)
        except StateConflict as moved:
            _log.info("claim %s: another run was faster: %s", claim.claim_id, moved)  # the same pieces, the same bundle
        except (SubmissionError, EvidenceConflict, EvidenceMissing, EvidenceUnavailable) as error:
            _log.warning("claim %s: %s", claim.claim_id, error)
            unsealed.append(Unsealed(claim, str(error)))
    return unsealed


def _seal(claim: Claim, run_id: str, actor: str, ledger: Ledger, evidence: EvidenceStore, bundle: Bundler) -> None:
    attempt = next(a for a in reversed(ledger.attempts(claim.claim_id)) if a.armed_at is not None)
    kept = [a for a in ledger.artifacts(claim.claim_id) if a.attempt_id == attempt.attempt_id and a.name in _BUNDLED]
    made = bundle(_facts(claim, attempt, ledger), {a.name: _read(a, evidence) for a in kept})
    key = bundle_key(claim.claim_id, made.digest)
    evidence.put(key, made.zip_bytes)
    if evidence.get(key) != made.zip_bytes:
        text = f"The bundle of claim {claim.claim_id} read back from the store is not the one that was written."
        raise SubmissionError(ReasonCode.POST_EVIDENCE_MISSING, text, "seal")
    ledger.sealed(claim, run_id, made.digest, actor)


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
