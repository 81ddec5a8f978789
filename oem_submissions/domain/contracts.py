"""What a portal's page shows that its contract does not say, and what a probe of a portal found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from oem_submissions.domain.evidence import Artifact
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import REASONS, FailureClass, ReasonCode
from oem_submissions.domain.records import Pins


class Severity(StrEnum):
    """What follows from a change."""

    BLOCK = "BLOCK"  # nothing is filed on such a page
    WARN = "WARN"  # claims are filed, and the run is not clean
    NOTE = "NOTE"  # nothing but a line in the log


_ORDER = (Severity.BLOCK, Severity.WARN, Severity.NOTE)


@dataclass(frozen=True)
class Change:
    """One thing that is not as the contract says, in words that an engineer can act on."""

    severity: Severity
    form: str
    """The claim type."""
    page: str
    words: str

    def sentence(self) -> str:
        """What changed, and where."""
        return f"{self.words} on page {self.page} ({self.form})"


@dataclass(frozen=True)
class ProbedPage:
    """A page that a probe looked at, and how long that took."""

    form: str
    page: str
    seconds: float
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class ProbeFailure:
    """Trouble of the portal or the account that ended a probe: no change of a page."""

    reason: ReasonCode
    text: str
    step: str | None

    @classmethod
    def of(cls, failure: StepFailed) -> ProbeFailure:
        """What the step said."""
        return cls(failure.reason, failure.text, failure.step)


@dataclass(frozen=True)
class ProbeReport:
    """What a walk through a portal found. Nothing was sent."""

    pages: tuple[ProbedPage, ...]
    walked: tuple[str, ...]
    """Forms that were filled up to the submit button."""
    stopped: Mapping[str, str]
    """Forms that were not, each with the reason."""
    failure: ProbeFailure | None = None
    artifacts: tuple[Artifact, ...] = field(default=(), repr=False)
    """Pictures of pages with changes, called `<form>-<page>.webp`."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes, the worst first."""
        found = [change for page in self.pages for change in page.changes]
        return tuple(sorted(found, key=lambda change: _ORDER.index(change.severity)))

    @property
    def worst(self) -> Severity | None:
        """The severest change; None when nothing changed."""
        return worst_of(self.changes)

    @property
    def red(self) -> bool:
        """Whether nothing should be filed here now."""
        return self.failure is not None or self.worst is Severity.BLOCK

    def sentence(self) -> str:
        """The whole report in a few words."""
        said = [f"{self.failure.reason}: {self.failure.text.rstrip('.')}"] if self.failure else []
        said += [f"{change.severity} {change.sentence()}" for change in self.changes]
        said += [f"{form} was not walked to its end: {why.rstrip('.')}" for form, why in self.stopped.items()]
        if not said:
            return f"Every page is as its contract says ({', '.join(self.walked)})."
        return f"{'. '.join(said)}."


@dataclass(frozen=True)
class ProbeRecord:
    """A probe as the ledger remembers it."""

    probe_id: int
    oem: str
    dealer: str
    pins: Pins
    run_id: str
    by: str
    at: datetime
    seconds: float
    red: bool
    reason: ReasonCode | None
    """Of the failure; None when the portal let itself be walked through."""
    text: str
    changes: tuple[Change, ...]
    """The worst first."""
    stopped: Mapping[str, str]
    """Forms that were not walked up to the submit button, each with the reason."""

    @property
    def worst(self) -> Severity | None:
        """The severest change; None when nothing changed."""
        return worst_of(self.changes)

    @property
    def breaks_contract(self) -> bool:
        """Whether the pages are not those of the pack, so that waiting does not help. A portal that is down is."""
        drifted = self.reason is not None and REASONS[self.reason].failure_class is FailureClass.DRIFT
        return self.worst is Severity.BLOCK or drifted


def worst_of(changes: Iterable[Change]) -> Severity | None:
    """The severest of these changes; None when there is none."""
    found = {change.severity for change in changes}
    return next((severity for severity in _ORDER if severity in found), None)


def probe_picture_key(record: ProbeRecord, name: str) -> str:
    """Where the evidence store keeps a picture that a probe took."""
    return f"probes/{record.oem}/{record.probe_id}/{name}"
