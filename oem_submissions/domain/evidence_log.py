"""What the ledger remembers of the evidence log: entries, checkpoints, time-stamps. Texts are in `checkpoints`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

NoteOf = Callable[[int, bytes, str | None], str]
"""(size, root, the note of the checkpoint before, if any) to the signed note of the next checkpoint."""


@dataclass(frozen=True)
class LogEntry:
    """One bundle in the log."""

    index: int
    claim_id: str
    bundle_digest: str
    signature: bytes = field(repr=False)
    """Of the bundle's tag manifest, DER."""
    key_fingerprint: str
    at: datetime


@dataclass(frozen=True)
class KeptCheckpoint:
    """The log's head after a leaf."""

    size: int
    root: bytes
    note: str
    """Signed, verbatim."""
    at: datetime


@dataclass(frozen=True)
class Stamp:
    """What a time-stamp authority answered (RFC 3161)."""

    response: bytes = field(repr=False)
    """The whole response, DER."""
    authority: str
    """Its address."""
    stamped_at: datetime
    """Its time."""


@dataclass(frozen=True)
class KeptStamp:
    """A checkpoint's time-stamp."""

    size: int
    stamp: Stamp
    at: datetime
