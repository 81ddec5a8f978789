"""How a submission can end: filed, refused, pending, or unknown. Frozen data, dispatched with `match`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from oem_submissions.domain.evidence import Artifact
from oem_submissions.domain.reasons import ReasonCode


@dataclass(frozen=True)
class Reference:
    """The number that the portal gave for the filed claim."""

    value: str
    kind: str
    """What the portal calls it, from the pack: "claim number", "transaction id" …"""
    raw_text: str
    """The text that it was taken from, at most 2 kB."""
    span: tuple[int, int]
    """Where in `raw_text` it stands."""


@dataclass(frozen=True)
class Filed:
    """The portal took the claim and gave exactly one valid reference."""

    reference: Reference


@dataclass(frozen=True)
class Refused:
    """The portal refused the claim, and a second witness says that nothing was filed."""

    reason: ReasonCode
    text: str
    """What the portal said, at most 2 kB, untrusted."""
    witness: str
    """What else says that nothing was filed, for example "HTTP 422"."""


@dataclass(frozen=True)
class Pending:
    """The portal took the claim; the pack says that the reference comes later."""

    text: str


@dataclass(frozen=True)
class Unknown:
    """Whether the claim was filed can't be told from here."""

    reason: ReasonCode
    text: str


Outcome = Filed | Refused | Pending | Unknown


@dataclass(frozen=True)
class Wire:
    """What the submit gate saw leave and come back. No headers but `Date`, no bodies."""

    sent_at: datetime | None = None
    method: str | None = None
    path: str | None = None
    body_sha256: str | None = None
    body_bytes: int | None = None
    responded_at: datetime | None = None
    status: int | None = None
    response_date: str | None = None
    blocked: int = 0
    """Requests to a submit path that the gate aborted."""


@dataclass(frozen=True)
class Answer:
    """Everything a session brings back from the click."""

    outcome: Outcome
    wire: Wire
    artifacts: tuple[Artifact, ...]
    text: str
    """Visible text of the page after the click, at most 64 kB, untrusted."""
    url: str
    warnings: tuple[str, ...] = ()
    """What could not be captured beside the mandatory evidence, a sentence each."""


@dataclass(frozen=True)
class Hit:
    """A filing in the portal's history that is the looked-up claim, or looks like it."""

    cells: Mapping[str, str]
    """The row by column heading; untrusted."""
    reference: Reference | Unknown
    """Well-formed, or why there is none (`REFERENCE_MISSING`: not yet)."""
    differs: tuple[str, ...] = ()
    """Headings under which the row says something else than the claim: then it is somebody else's, or was changed."""


@dataclass(frozen=True)
class LookUp:
    """What the portal's history says of one claim. Nothing was sent to find it out."""

    hits: tuple[Hit, ...]
    control_found: bool | None
    """Whether the same search finds a claim that is known to exist; None when it was not tried."""
    artifacts: tuple[Artifact, ...]
    """`history.webp`, and `control.webp` when the control was tried."""
    text: str
    """Visible text of the list, at most 64 kB, untrusted."""
    url: str
    mailed: Reference | Unknown | None = None
    """What an e-mail of the portal says; None when none is looked for."""
    has_history: bool = True
    """Whether the portal has a history at all: else only the e-mail was looked for."""
