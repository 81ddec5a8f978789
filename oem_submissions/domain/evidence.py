"""What evidence is worth something: the artefacts' names and the rules on their content. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

PRE_SUBMIT = "pre_submit.webp"
POST_CONFIRM = "post_confirm.webp"
READBACK = "readback.json"
REQUEST = "request.json"
SUBMISSION = "submission.json"
FAILURE = "failure.webp"


@dataclass(frozen=True)
class Artifact:
    """One piece of evidence in memory: captured, not yet durable."""

    name: str
    media_type: str
    data: bytes = field(repr=False)
    captured_at: datetime

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class FieldReadback:
    """What a field of the form held just before the click."""

    name: str
    label: str
    expected: str
    actual: str
    sensitivity: str
    """`public`, `pii` or `secret`; what is not public leaves the process only as an HMAC."""

    @property
    def equal(self) -> bool:
        """Whether the page holds what was to be filed."""
        return self.expected == self.actual


@dataclass(frozen=True)
class BundleFacts:
    """What `submission.json` of a bundle says. Times are aware UTC; None means that it did not happen."""

    claim_id: str
    oem: str
    dealer: str
    period: str
    claim_type: str
    natural_key: str
    crm_record_id: str
    payload_sha256: str
    outcome: str
    """`CONFIRMED`, or `REJECTED`: the portal refused it and nothing was filed."""
    reason: str | None
    reason_text: str | None
    reference: str | None
    reference_kind: str | None
    reference_raw_text: str | None
    reference_span: tuple[int, int] | None
    run_id: str
    worker: str
    attempt: int
    fencing_token: int
    adapter_digest: str
    pack_version: str
    pack_digest: str
    started_at: datetime
    armed_at: datetime
    sent_at: datetime | None
    responded_at: datetime | None
    response_status: int | None
    settled_at: datetime
    """When the outcome was committed to the ledger."""
    browser: str
    viewport: str
    form_url: str
    """Of the page that was submitted."""
