"""Releases of an OEM, and who is enqueued with which. Pure: where a release stands follows from its append-only log.

A release is an adapter digest and a pack digest: change either, and it is another one that has to prove itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from oem_submissions.domain.records import Pins


class ReleaseState(StrEnum):
    """Where a release stands, and so who is enqueued."""

    CANDIDATE = "candidate"  # nobody
    VERIFYING = "verifying"  # pilot dealers, one at a time
    LIVE = "live"  # all dealers
    DEGRADED = "degraded"  # all dealers; it drifts, and an alert is out
    SUSPENDED = "suspended"  # nobody; probes go on
    RETIRED = "retired"  # nobody


class Note(StrEnum):
    """What the append-only log of a release says."""

    SEEN = "seen"
    VERIFYING = "verifying"
    PASSED = "passed"
    """The gate would open; the OEM asks for a named approval."""
    APPROVED = "approved"
    PROMOTED = "promoted"
    DEGRADED = "degraded"
    RECOVERED = "recovered"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    REBASED = "rebased"
    """The baseline begins anew."""
    RETIRED = "retired"


class Cause(StrEnum):
    """Whose hand suspended or resumed a release."""

    PROBE = "probe"
    DRIFT = "drift"
    PERSON = "person"


@dataclass(frozen=True)
class Entry:
    """One entry of a release's log."""

    entry: int
    at: datetime
    note: Note
    cause: Cause | None
    actor: str
    text: str


@dataclass(frozen=True)
class Release:
    """A release with its log, oldest entry first."""

    release_id: int
    oem: str
    pins: Pins
    log: tuple[Entry, ...]

    @property
    def state(self) -> ReleaseState:
        """Where it stands."""
        if self._base is ReleaseState.RETIRED:
            return ReleaseState.RETIRED
        if self.suspended_by:
            return ReleaseState.SUSPENDED
        return ReleaseState.DEGRADED if self._base is ReleaseState.LIVE and self.drifts else self._base

    @property
    def is_production(self) -> bool:
        """Whether it was promoted and not retired, suspended or not."""
        return self._base is ReleaseState.LIVE

    @property
    def is_verifying(self) -> bool:
        """Whether it has still to prove itself, suspended or not."""
        return self._base is ReleaseState.VERIFYING

    @property
    def _base(self) -> ReleaseState:
        base = ReleaseState.CANDIDATE
        for entry in self.log:
            base = _BASES.get(entry.note, base)
        return base

    @property
    def suspended_by(self) -> frozenset[Cause]:
        """Whose hands hold it. A probe takes back what a probe did; a person takes back everything."""
        causes: set[Cause] = set()
        for entry in self.log:
            match entry.note, entry.cause:
                case Note.SUSPENDED, Cause() as cause:
                    causes.add(cause)
                case Note.RESUMED, Cause.PERSON:
                    causes.clear()
                case Note.RESUMED, Cause() as cause:
                    causes.discard(cause)
                case Note.PROMOTED, _:
                    causes.clear()
        return frozenset(causes)

    @property
    def drifts(self) -> bool:
        """Whether a drift was noted that nobody has taken back."""
        told = [entry.note for entry in self.log if entry.note in _DRIFTS]
        return bool(told) and told[-1] is Note.DEGRADED

    @property
    def is_approved(self) -> bool:
        """Whether a named person approved it since it began to verify."""
        told = [entry.note for entry in self.log if entry.note in (Note.VERIFYING, Note.APPROVED)]
        return bool(told) and told[-1] is Note.APPROVED

    @property
    def measured_since(self) -> datetime | None:
        """When its baseline was begun anew; None: with its first run."""
        return max((entry.at for entry in self.log if entry.note is Note.REBASED), default=None)

    @property
    def judged_since(self) -> datetime | None:
        """From when on its successes are counted: since a person resumed it, or its baseline was begun anew."""
        anew = (
            entry.at
            for entry in self.log
            if entry.note is Note.REBASED or (entry.note is Note.RESUMED and entry.cause is Cause.PERSON)
        )
        return max(anew, default=None)

    @property
    def last_resumed(self) -> datetime | None:
        """When somebody last let it go on."""
        return max((entry.at for entry in self.log if entry.note is Note.RESUMED), default=None)

    @property
    def name(self) -> str:
        """The pack's version, and the beginnings of both digests."""
        return f"{self.pins.pack_version} ({self.pins.pack_digest[:8]}, adapter {self.pins.adapter_digest[:8]})"

    @property
    def why(self) -> str:
        """The last word on why it stands where it stands."""
        return next((entry.text for entry in reversed(self.log) if entry.text), "")


_BASES = {
    Note.SEEN: ReleaseState.CANDIDATE,
    Note.VERIFYING: ReleaseState.VERIFYING,
    Note.PROMOTED: ReleaseState.LIVE,
    Note.RETIRED: ReleaseState.RETIRED,
}
_DRIFTS = frozenset({Note.DEGRADED, Note.RECOVERED, Note.REBASED, Note.PROMOTED})
FILES = frozenset({ReleaseState.VERIFYING, ReleaseState.LIVE, ReleaseState.DEGRADED})
"""In these states somebody is enqueued."""


@dataclass(frozen=True)
class Admission:
    """What a dealer's claims are filed with, or why they wait."""

    release: Release | None
    why_not: str = ""


def deployed(releases: Sequence[Release], adapter_digest: str) -> list[Release]:
    """Those whose code is the one that runs, the newest first: code has one version at a time."""
    mine = [release for release in releases if release.pins.adapter_digest == adapter_digest]
    return sorted(mine, key=lambda release: -release.release_id)


def production(releases: Sequence[Release]) -> Release | None:
    """The release that was promoted last and is not retired, suspended or not."""
    return next((release for release in releases if release.is_production), None)


def verifying(releases: Sequence[Release]) -> Release | None:
    """The release that has to prove itself, suspended or not."""
    return next((release for release in releases if release.is_verifying), None)


def admit(releases: Sequence[Release], *, pilot: bool, turn_taken: bool) -> Admission:
    """What a dealer's claims are filed with now. `releases` are the deployed ones; every way into the queue asks this.

    Pilot dealers prove what is verifying, one run at a time (`turn_taken`: another of their runs is under way), while
    production goes on with what was proven.
    """
    trial, proven = verifying(releases), production(releases)
    if pilot and trial is not None and trial.state is ReleaseState.VERIFYING:
        if not turn_taken:
            return Admission(trial)
        return Admission(None, f"release {trial.name} is verifying, and another pilot dealer's run is under way.")
    if proven is not None and proven.state in FILES:
        return Admission(proven)
    return Admission(None, _why_not(releases, trial, proven))


def _why_not(releases: Sequence[Release], trial: Release | None, proven: Release | None) -> str:
    if proven is not None:
        return f"release {proven.name} is suspended: {proven.why}"
    if trial is not None and trial.state is ReleaseState.SUSPENDED:
        return f"release {trial.name} is suspended while it verifies: {trial.why}"
    if trial is not None:
        return f"release {trial.name} is verifying: only pilot dealers run until the gate opens."
    if releases and releases[0].state is ReleaseState.CANDIDATE:
        return f"release {releases[0].name} is a candidate: {releases[0].why}"
    return "no release of the deployed adapter has been seen yet: the sensor `release_gate` looks for them."
