"""What an operator can do at the desk: the same services as the command line's, bound to their parts by `cli.desk`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from oem_submissions.domain.breaker import Breaker
from oem_submissions.domain.gate import Streak
from oem_submissions.domain.outcomes import Reference
from oem_submissions.domain.records import Claim
from oem_submissions.domain.releases import Release
from oem_submissions.domain.scheduler_health import Health
from oem_submissions.services.release_report import ReleaseReport
from oem_submissions.services.review import Verdict


class Act(StrEnum):
    """What an operator does about an OEM's release; the names of `oem-submissions release`."""

    APPROVE = "approve"
    SUSPEND = "suspend"
    RESUME = "resume"
    ROLLBACK = "rollback"
    REBASELINE = "rebaseline"


class NotPossible(Exception):
    """It can't be done now: one sentence. Nothing was changed."""


@dataclass(frozen=True)
class GateLine:
    """An OEM's gate, in a list."""

    oem: str
    release: Release | None
    """The one that people ask about; None when none was seen yet."""
    streak: Streak | None
    breaker: Breaker
    needs_approval: bool
    cadence: str
    """In words."""


class Operating(Protocol):
    """Decisions and the gate's figures."""

    def oems(self) -> Sequence[str]:
        """Every OEM that has an adapter."""
        ...

    @property
    def look_hours(self) -> float:
        """How long a held claim is looked up by the system itself."""
        ...

    def health(self) -> Health:
        """What the scheduler's logs of the last day say; of Dagster's own queue nothing."""
        ...

    def verdict_preview(
        self, claim: Claim, verdict: Verdict, by: str, why: str, reference: str | None
    ) -> Reference | None:
        """The reference as it would be recorded. Raises `VerdictRefused`."""
        ...

    def needs_picture(self, claim: Claim) -> bool:
        """Whether `filed` needs a picture of the page that shows the reference."""
        ...

    def give_verdict(
        self, claim: Claim, verdict: Verdict, by: str, why: str, reference: str | None, picture: bytes | None
    ) -> Claim:
        """Carry it out on the claim as it was seen. Raises `VerdictRefused`, `StateConflict`."""
        ...

    def redrive(self, claim: Claim, by: str) -> Claim:
        """Send a dead letter round again. Raises `StateConflict`."""
        ...

    def withdraw(self, claim: Claim, by: str, why: str) -> Claim:
        """Take it back before it is filed. Raises `StateConflict` when it may be, or a worker was faster."""
        ...

    def gate_line(self, oem: str) -> GateLine:
        """Where the OEM's gate stands."""
        ...

    def report(self, oem: str, release_id: int | None) -> ReleaseReport | None:
        """Of a release, or of the one that people ask about; None when there is none."""
        ...

    def act(self, oem: str, act: Act, by: str, why: str) -> None:
        """Do it. Raises `NotPossible`."""
        ...

    def reset_breaker(self, oem: str, dealer: str | None, by: str) -> None:
        """Say that a portal, or an account, works again. Raises `NotPossible` when nothing is left alone there."""
        ...
