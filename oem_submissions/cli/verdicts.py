"""`review decide`: what the person typed becomes a verdict. The pack checks the reference; the picture is decoded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters.registry import adapter
from oem_submissions.cli.errors import NotSo
from oem_submissions.domain.evidence import HISTORY, Artifact
from oem_submissions.domain.outcomes import Reference, Unknown
from oem_submissions.domain.records import Claim
from oem_submissions.evidence.images import ShotUnreadable, as_shot
from oem_submissions.ledger.store import Ledger
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.references import in_cell
from oem_submissions.services.review import Said, Verdict, decide
from oem_submissions.settings import Settings
from oem_submissions.wiring import evidence_store

_WITHOUT_HISTORY_MINUTES = 60
"""The settle window of a portal whose pack names no history."""


def carry_out(
    claim_id: str,
    verdict: Verdict,
    by: str,
    why: str,
    reference: str | None,
    picture: Path | None,
    ledger: Ledger,
    settings: Settings,
) -> Claim:
    """Give the verdict. Raises `NotSo`, `VerdictRefused`, `ConfigurationError`."""
    claim = ledger.claim(claim_id)
    if claim is None:
        raise NotSo(f"There is no claim '{claim_id}'; `oem-submissions review list` shows those that are held.")
    if verdict is not Verdict.FILED and (reference or picture):
        raise NotSo(f"A reference or a picture goes with the verdict 'filed', not with '{verdict}'.")
    said = Said(
        verdict,
        by,
        why,
        _reference(claim, reference, settings) if reference else None,
        _picture(picture) if picture else None,
        _settled_at(claim, ledger, settings) if verdict is Verdict.NOT_FILED else None,
    )
    return decide(claim, said, ledger=ledger, evidence=evidence_store(settings, ledger))


def _settled_at(claim: Claim, ledger: Ledger, settings: Settings) -> datetime | None:
    """When the pack's settle window after the last click is over; None when there was no click."""
    clicks = [attempt.sent_at or attempt.armed_at for attempt in ledger.attempts(claim.claim_id) if attempt.armed_at]
    history = load_pack(settings.selectors, claim.oem).form(claim.claim_type).history
    minutes = history.settle_minutes if history else _WITHOUT_HISTORY_MINUTES
    return clicks[-1] + timedelta(minutes=minutes) if clicks and clicks[-1] else None


def _reference(claim: Claim, text: str, settings: Settings) -> Reference:
    form = load_pack(settings.selectors, claim.oem).form(claim.claim_type)
    found = in_cell(form.confirmation.reference, text, text, adapter(claim.oem).reference_is_plausible)
    if isinstance(found, Unknown):
        raise NotSo(found.text)
    return found


def _picture(path: Path) -> Artifact:
    try:
        shot = as_shot(path.read_bytes())
    except OSError as error:
        raise NotSo(f"{path} can't be read: {error}") from error
    except ShotUnreadable as error:
        raise NotSo(f"{path} {error}") from error
    return Artifact(HISTORY, "image/webp", shot, datetime.now(UTC))
