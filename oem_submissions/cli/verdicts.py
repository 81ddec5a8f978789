"""What a person typed, at the desk or at a terminal, becomes a verdict.

The pack checks the reference; the picture is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from adapters.registry import adapter
from oem_submissions.domain.evidence import HISTORY, Artifact
from oem_submissions.domain.outcomes import Reference, Unknown
from oem_submissions.domain.records import Claim
from oem_submissions.evidence.images import ShotUnreadable, as_shot
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.references import in_cell
from oem_submissions.ports import EvidenceStore, Ledger
from oem_submissions.services.review import Said, Verdict, VerdictRefused, decide, require_possible
from oem_submissions.settings import Settings

_WITHOUT_HISTORY_MINUTES = 60
"""The settle window of a portal whose pack names no history."""


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on their parts."""

    ledger: Ledger
    evidence: EvidenceStore
    settings: Settings

    def preview(self, claim: Claim, verdict: Verdict, by: str, why: str, reference: str | None) -> Reference | None:
        """The reference as it would be recorded. Raises what `carry_out` would, but asks for no picture yet."""
        said = self._said(claim, verdict, by, why, reference, None)
        require_possible(claim, said, self.ledger)
        return said.reference

    def carry_out(
        self, claim: Claim, verdict: Verdict, by: str, why: str, reference: str | None, picture: bytes | None
    ) -> Claim:
        """Give the verdict on the claim as it was seen. Raises `VerdictRefused`, `StateConflict`."""
        said = self._said(claim, verdict, by, why, reference, picture)
        return decide(claim, said, ledger=self.ledger, evidence=self.evidence)

    def _said(
        self, claim: Claim, verdict: Verdict, by: str, why: str, reference: str | None, picture: bytes | None
    ) -> Said:
        if verdict is not Verdict.FILED and (reference or picture):
            raise VerdictRefused(f"A reference or a picture goes with the verdict 'filed', not with '{verdict}'.")
        return Said(
            verdict,
            by,
            why,
            self._reference(claim, reference) if reference else None,
            _picture(picture) if picture else None,
            self._settled_at(claim) if verdict is Verdict.NOT_FILED else None,
        )

    def _settled_at(self, claim: Claim) -> datetime | None:
        """When the pack's settle window is over, after the last click or a restore; None when there was neither."""
        attempts = self.ledger.attempts(claim.claim_id)
        clicks = [moment for attempt in attempts if (moment := attempt.sent_at or attempt.armed_at)]
        clicks += [claim.in_doubt_since] if claim.in_doubt_since else []
        history = load_pack(self.settings.selectors, claim.oem).form(claim.claim_type).history
        minutes = history.settle_minutes if history else _WITHOUT_HISTORY_MINUTES
        return max(clicks) + timedelta(minutes=minutes) if clicks else None

    def _reference(self, claim: Claim, text: str) -> Reference:
        form = load_pack(self.settings.selectors, claim.oem).form(claim.claim_type)
        found = in_cell(form.listed_reference, text, text, adapter(claim.oem).reference_is_plausible)
        if isinstance(found, Unknown):
            raise VerdictRefused(found.text)
        return found


def _picture(data: bytes) -> Artifact:
    try:
        shot = as_shot(data)
    except ShotUnreadable as error:
        raise VerdictRefused(f"The picture {error}") from error
    return Artifact(HISTORY, "image/webp", shot, datetime.now(UTC))
