"""What the desk asks of the ledger: reads only. The ledger has these methods, and so has the tests' made-up one."""

from __future__ import annotations

from typing import Protocol

from oem_submissions.domain.dispositions import Standing
from oem_submissions.domain.records import Alert, Attempt, Claim, Event, KeptArtifact


class DeskReader(Protocol):
    """Claims and their stories, read-only."""

    def claim(self, claim_id: str) -> Claim | None:
        """The claim as it stands; None when there is none."""
        ...

    def events(self, claim_id: str) -> list[Event]:
        """Its chain of events, oldest first."""
        ...

    def attempts(self, claim_id: str) -> list[Attempt]:
        """Every go at it, oldest first."""
        ...

    def artifacts(self, claim_id: str) -> list[KeptArtifact]:
        """Every piece of evidence that is durable."""
        ...

    def standing(self, claim_id: str) -> Standing | None:
        """What the OEM decided of it, as last seen; None when it was never seen in the portal's history."""
        ...

    def find(self, text: str) -> list[Claim]:
        """Claims by reference, claim id, CRM record, repair order, VIN or invoice."""
        ...

    def recent_claims(self, limit: int) -> list[Claim]:
        """The claims that changed last, newest first."""
        ...

    def alerts(self) -> list[Alert]:
        """Alerts whose cause is not gone, newest first."""
        ...
