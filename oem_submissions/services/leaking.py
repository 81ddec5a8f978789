"""The leak gate: nothing becomes durable, and no bundle is sealed, that holds a secret or, where none may, a name.

What is found is said by name, place and encoding, never by its value. How it is looked for is the scanner's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oem_submissions.domain.evidence import PERSONAL_READBACK, READBACK, Artifact, BundleFacts, is_personal
from oem_submissions.domain.failures import SubmissionError
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.needles import Kind, Leak, Needles
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import KeptArtifact
from oem_submissions.ports import Account, EvidenceMissing, EvidenceStore, LeakScan, Secrets
from oem_submissions.services.accounts import account_part


@dataclass(frozen=True)
class LeakGate:
    """The scanner, and where the secrets come from that it looks for."""

    scan: LeakScan
    secrets: Secrets

    def leaks(self, artifact: Artifact, needles: Needles) -> list[Leak]:
        """What an artefact holds that it must not. What is kept apart as personal may hold personal values."""
        looked_for = needles.only(Kind.SECRET) if is_personal(artifact.name) else needles
        return self.scan(artifact.name, artifact.data, looked_for)

    def check_bundle(self, facts: BundleFacts, bundle: bytes, needles: Needles) -> None:
        """Raises `SubmissionError` (SECRET_IN_ARTIFACT) when a bundle holds what none may, anywhere."""
        found = self.scan("bundle", bundle, needles | self._of_account(facts.oem, facts.dealer))
        if found:
            text = f"The bundle of {facts.claim_id} is not sealed, and nothing of it was stored: {in_words(found)}."
            raise SubmissionError(ReasonCode.SECRET_IN_ARTIFACT, text, "seal")

    def _of_account(self, oem: str, dealer: str) -> Needles:
        """The account's secrets as they are now; none when they were taken away."""
        parts = ("password", "totp", "mailbox")
        password, totp, mailbox = (self.secrets.find(account_part(oem, dealer, part)) for part in parts)
        return Account(oem, dealer, "", password or "", totp, mailbox).needles


def in_words(found: Iterable[Leak]) -> str:
    """What was found where; one sentence's worth."""
    said = list(dict.fromkeys(str(leak) for leak in found))
    return "; ".join(said[:5]) + (f"; and {len(said) - 5} more" if len(said) > 5 else "")


def personal_needles(
    facts: BundleFacts, kept: Iterable[KeptArtifact], pieces: Mapping[str, bytes], evidence: EvidenceStore
) -> Needles:
    """The personal values that were filled in, as they were put aside; none when they were erased since.

    Raises `SubmissionError` when they are not what was put aside: then nothing can be checked against them. What the
    bundle says in the clear by right (public fields, the natural key) is no leak where it stands again.
    """
    public = [facts.natural_key, facts.claim_id, facts.dealer, facts.reference or ""]
    public += [value for _, value in _values(pieces.get(READBACK, b""))]
    found = []
    for apart in kept:
        if apart.name == PERSONAL_READBACK:
            try:
                data = evidence.get(apart.key)
            except EvidenceMissing:  # erased on purpose, or lost: then nothing of it can be told apart any more
                continue
            if sha256_hex(data) != apart.sha256:
                text = f"{apart.name} of claim {apart.claim_id} was changed after it was kept."
                raise SubmissionError(ReasonCode.POST_EVIDENCE_MISSING, text, "seal")
            found += _values(data)
    return Needles.of(Kind.PERSONAL, found).beside(public)


def _values(readback: bytes) -> list[tuple[str, str]]:
    """Name and value of the fields of a read-back that has them in the clear."""
    fields = json.loads(readback or b"{}").get("fields", [])
    return [(str(field["name"]), field["value"]) for field in fields if isinstance(field.get("value"), str)]
