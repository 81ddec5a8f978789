"""What a run has at hand while it works on one account's claims; making evidence durable. It decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from oem_submissions.domain.claims import ClaimModel
from oem_submissions.domain.evidence import Artifact, artifact_key, attachment_key
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.needles import Leak
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Attempt, Claim, KeptArtifact, Lease
from oem_submissions.ports import (
    EvidenceConflict,
    EvidenceMissing,
    EvidenceStore,
    EvidenceUnavailable,
    Ledger,
    Portal,
    PortalSession,
    ReleaseGate,
    Submission,
)
from oem_submissions.services.leaking import LeakGate, in_words


@dataclass(frozen=True)
class Work:
    """What a run has at hand while it files one partition's claims."""

    ledger: Ledger
    evidence: EvidenceStore
    portal: Portal
    session: PortalSession
    lease: Lease
    parse: Callable[[dict[str, object]], ClaimModel]
    click_seconds: float
    attempts_budget: int
    gate: ReleaseGate
    period: str
    leak_gate: LeakGate
    breaker_failures: int = 3
    """Faults alike in a row that open the OEM's breaker."""

    def closed(self) -> str:
        """Why the release gate lets nothing be filed now; empty when it does. Asked before every claim."""
        return self.gate.closed(self.lease, self.period, self.portal.pins)


def submission_of(claim: Claim, work: Work) -> Submission:
    """What a session is to file: payload and files, checked against their hashes once more. Raises `StepFailed`."""
    return whole_submission(claim, work.parse, work.evidence)


def whole_submission(
    claim: Claim, parse: Callable[[dict[str, object]], ClaimModel], evidence: EvidenceStore
) -> Submission:
    """As `submission_of`, for one who files nothing. Raises `StepFailed`, and `PayloadInvalid` as `parse` does."""
    model = parse(claim.payload)
    files = {}
    for attachment in model.attachments:
        try:
            data = evidence.get(attachment_key(claim.claim_id, attachment.sha256))
        except (EvidenceMissing, EvidenceUnavailable) as error:
            text = f"Attachment {attachment.name} of claim {claim.claim_id} can't be read: {error}"
            raise StepFailed(ReasonCode.UPLOAD_FAILED, text, "attach") from error
        if sha256_hex(data) != attachment.sha256:
            text = f"Attachment {attachment.name} of claim {claim.claim_id} is not the file that came due."
            raise StepFailed(ReasonCode.ATTACHMENT_REJECTED, text, "attach")
        files[attachment.name] = data
    assert claim.natural_key is not None
    return Submission(claim.claim_id, model, claim.natural_key, files)


def looked_for(claim: Claim, work: Work) -> Submission:
    """The claim as a look-up needs it: without its files."""
    assert claim.natural_key is not None
    return Submission(claim.claim_id, work.parse(claim.payload), claim.natural_key)


def keep(artifacts: tuple[Artifact, ...], claim: Claim, attempt: Attempt, work: Work) -> None:
    """Make evidence durable, then note it. Raises `StepFailed` when the store does not take it.

    What holds a secret is left out, the rest is kept; then it raises `StepFailed` (SECRET_IN_ARTIFACT).
    """
    for artifact in without_leaks(artifacts, claim, work):
        key = artifact_key(claim.claim_id, attempt.attempt_id, artifact.name)
        work.ledger.keep_artifact(stored(artifact, key, claim, attempt, work.evidence), work.lease)


def without_leaks(artifacts: Iterable[Artifact], claim: Claim, work: Work) -> Iterator[Artifact]:
    """The artefacts that are clean; raises `StepFailed` (SECRET_IN_ARTIFACT) at the end when one was not."""
    found: list[Leak] = []
    for artifact in artifacts:
        leaks = work.leak_gate.leaks(artifact, work.session.needles)
        found += leaks
        if not leaks:
            yield artifact
    if found:
        text = f"Evidence of claim {claim.claim_id} was not kept, because of what stands in it: {in_words(found)}."
        raise StepFailed(ReasonCode.SECRET_IN_ARTIFACT, text, "keep evidence")


class StoreUnavailable(StepFailed):
    """The evidence store took nothing, full or away. It is no claim's fault, and none dies of it."""


def stored(artifact: Artifact, key: str, claim: Claim, attempt: Attempt, evidence: EvidenceStore) -> KeptArtifact:
    """Put the bytes into the store; what the ledger is to note. Raises `StepFailed` when the store does not take it."""
    try:
        evidence.put(key, artifact.data)
    except (EvidenceUnavailable, EvidenceConflict) as error:
        text = f"The evidence store did not take {artifact.name}: {error}"
        refusal = StoreUnavailable if isinstance(error, EvidenceUnavailable) else StepFailed
        raise refusal(ReasonCode.PRE_EVIDENCE_MISSING, text, "keep evidence") from error
    return KeptArtifact(
        claim.claim_id,
        attempt.attempt_id,
        artifact.name,
        artifact.media_type,
        key,
        artifact.sha256,
        len(artifact.data),
        artifact.captured_at,
    )
