"""What a claim's page shows, ready for the templates: pure gathering, no HTTP."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from oem_submissions.desk.story import Line, Mark, marks, tell
from oem_submissions.domain.dispositions import Standing
from oem_submissions.domain.evidence import CONTROL, FAILURE, HISTORY, MAIL, POST_CONFIRM, PRE_SUBMIT
from oem_submissions.domain.outcomes import Reference
from oem_submissions.domain.reasons import REASONS, Reason
from oem_submissions.domain.records import Attempt, Claim, Event, KeptArtifact

_CAPTIONS = {
    PRE_SUBMIT: "Before: the filled form",
    POST_CONFIRM: "After: the portal’s answer",
    FAILURE: "Where it failed",
    HISTORY: "In the portal’s history",
}
_LOOKED_AT = {
    HISTORY: "In the portal’s history",
    CONTROL: "The same search for a known claim",
    MAIL: "The portal’s e-mail",
}
_LOOK = re.compile(f"look_([0-9]{{3,}})_({'|'.join(map(re.escape, _LOOKED_AT))})")


@dataclass(frozen=True)
class Shot:
    """A picture on a claim's page."""

    caption: str
    attempt_id: int
    name: str
    captured_at: datetime
    sha256: str
    claim_id: str

    @property
    def picture(self) -> str:
        """Where its bytes are."""
        return f"/artifacts/{quote(self.claim_id)}/{self.attempt_id}/{quote(self.name)}"

    @property
    def page(self) -> str:
        """Where it is shown alone, large."""
        return f"/claims/{quote(self.claim_id)}/shots/{self.attempt_id}/{quote(self.name)}"


@dataclass(frozen=True)
class Proof:
    """What signature and log say of a sealed bundle; None of it can be told from the bundle's bytes alone."""

    key_fingerprint: str
    """Hex SHA-256 of the signing key."""
    log_index: int
    log_size: int
    """Of the checkpoint that its inclusion is proven in."""
    logged_at: datetime
    stamped_at: datetime | None = None
    """When a timestamp authority stamped a checkpoint that covers it; None: not yet."""
    stamped_by: str | None = None


@dataclass(frozen=True)
class ReferenceText:
    """The portal's text that a reference was taken from, around it."""

    before: str
    marked: str
    after: str


@dataclass(frozen=True)
class ClaimPage:
    """Everything on a claim's page."""

    claim: Claim
    lines: list[Line]
    marks: list[Mark]
    attempts: list[Attempt]
    shots: list[Shot]
    reason: Reason | None
    standing: Standing | None
    quoted: ReferenceText | None
    proof: Proof | None


def claim_page(
    claim: Claim,
    events: Sequence[Event],
    attempts: Sequence[Attempt],
    artifacts: Sequence[KeptArtifact],
    standing: Standing | None,
    reference: Reference | None,
    proof: Proof | None = None,
) -> ClaimPage:
    """The page of a claim; its pictures are those of the last attempt that left any."""
    return ClaimPage(
        claim,
        tell(events),
        marks(events),
        list(attempts),
        shots_of(artifacts),
        REASONS[claim.reason] if claim.reason else None,
        standing,
        _quoted(reference) if claim.reference else None,
        proof,
    )


def _quoted(reference: Reference | None) -> ReferenceText | None:
    if reference is None:
        return None
    text, (start, end) = reference.raw_text, reference.span
    return ReferenceText(text[:start], text[start:end], text[end:]) if 0 <= start < end <= len(text) else None


def shots_of(artifacts: Sequence[KeptArtifact]) -> list[Shot]:
    """The pictures of the last attempt that left any, and those of the newest look-up, in the order of the story."""
    pictures = [artifact for artifact in artifacts if artifact.name in _CAPTIONS]
    last = max((picture.attempt_id for picture in pictures), default=None)
    order = list(_CAPTIONS)
    shown = sorted((p for p in pictures if p.attempt_id == last), key=lambda p: order.index(p.name))
    captioned = [(_CAPTIONS[p.name], p) for p in shown]
    if HISTORY not in {p.name for p in shown}:
        captioned += _last_look([artifact for artifact in artifacts if artifact.attempt_id == last])
    return [_shot(caption, artifact) for caption, artifact in captioned]


def shot_of(artifact: KeptArtifact) -> Shot:
    """Any picture that was kept."""
    if look := _LOOK.fullmatch(artifact.name):
        return _shot(f"{_LOOKED_AT[look[2]]}, look {int(look[1])}", artifact)
    return _shot(_CAPTIONS.get(artifact.name, artifact.name), artifact)


def _shot(caption: str, artifact: KeptArtifact) -> Shot:
    return Shot(caption, artifact.attempt_id, artifact.name, artifact.captured_at, artifact.sha256, artifact.claim_id)


def _last_look(artifacts: Sequence[KeptArtifact]) -> list[tuple[str, KeptArtifact]]:
    """The pictures of the newest look-up, `look_002_history.webp` and so on: what a verdict begins with."""
    found = [(look_of[1], look_of[2], a) for a in artifacts if (look_of := _LOOK.fullmatch(a.name))]
    newest = max((number for number, _, _ in found), default="")
    return [(f"{_LOOKED_AT[what]}, look {int(number)}", a) for number, what, a in found if number == newest]
