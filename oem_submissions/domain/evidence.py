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
