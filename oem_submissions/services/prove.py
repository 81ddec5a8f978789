"""Gathers what proves a claim to an auditor: its bundle, and that it is in the log, up to a checkpoint for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from oem_submissions.domain.checkpoints import Proof, claimed, consistency_text
from oem_submissions.domain.evidence import bundle_key
from oem_submissions.domain.evidence_log import KeptCheckpoint, KeptStamp
from oem_submissions.domain.records import Claim
from oem_submissions.ports import EvidenceLogBroken, EvidenceStore, Ledger


@dataclass(frozen=True)
class Proven:
    """One claim's proof."""

    claim_id: str
    bundle: bytes = field(repr=False)
    """The zip as stored."""
    digest: str
    proof: Proof
    """That the bundle is in the log at the head."""
    consistency: str
    """That the head's log begins with the one that the bundle's own proof leads to; the text of a proof."""


@dataclass(frozen=True)
class Head:
    """The checkpoint that everything is proven against."""

    checkpoint: KeptCheckpoint
    stamp: KeptStamp | None
    """Its time-stamp; None when it has none."""


def prove(claims: Sequence[Claim], ledger: Ledger, evidence: EvidenceStore) -> tuple[Head, list[Proven]]:
    """The proofs of sealed claims against the newest stamped checkpoint, or, if that is too old for one, the newest.

    Raises `EvidenceLogBroken` when the log lacks one of them, `EvidenceMissing` when the store does.
    """
    entries = []
    for claim in claims:
        entry = ledger.logged(claim.bundle_digest or "")
        if entry is None:
            raise EvidenceLogBroken(f"The bundle of claim {claim.claim_id} is not in the evidence log.")
        entries.append(entry)
    head = _head(max(entry.index for entry in entries) + 1, ledger)
    new = claimed(head.checkpoint.note)
    proven = []
    for entry in entries:
        data = evidence.get(bundle_key(entry.claim_id, entry.bundle_digest))
        own = ledger.checkpoint(entry.index + 1)
        if own is None:
            raise EvidenceLogBroken(f"The evidence log has no checkpoint of size {entry.index + 1}.")
        steps = consistency_text(claimed(own.note), new, ledger.log_consistency(own.size, new.size))
        proof = ledger.log_proof(entry.index, new.size)
        proven.append(Proven(entry.claim_id, data, entry.bundle_digest, proof, steps))
    return head, proven


def _head(at_least: int, ledger: Ledger) -> Head:
    stamp = next(iter(ledger.stamps(limit=1)), None)
    if stamp is not None and stamp.size >= at_least and (stamped := ledger.checkpoint(stamp.size)) is not None:
        return Head(stamped, stamp)
    newest = ledger.newest_checkpoint()
    if newest is None:
        raise EvidenceLogBroken("The evidence log has no checkpoint.")
    return Head(newest, None)
