"""Telling the CRM where a claim stands: written, read back, and only then noted. Nothing here touches the portal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlsplit

from oem_submissions.domain.dispositions import Disposition, Standing
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import FILED, TOLD_TO_CRM, State, crm_status
from oem_submissions.ports import Crm, CrmOutage, CrmOutcome, CrmRecordConflict, CrmUnavailable, Ledger

_log = logging.getLogger(__name__)
_GOES = 3


@dataclass(frozen=True)
class Untold:
    """A claim whose outcome the CRM did not take, and why."""

    claim: Claim
    problem: str


def sync_claims(
    claims: Iterable[Claim], run_id: str | None, actor: str, *, ledger: Ledger, crm: Crm, desk_url: str
) -> list[Untold]:
    """Tell the CRM of each claim that it does not know about; what it did not take. One record's trouble is its own."""

    def tell(claim: Claim) -> str | None:
        try:
            return _tell(claim, run_id, actor, ledger, crm, desk_url)
        except StateConflict:
            return f"claim {claim.claim_id} was moved again and again while the CRM was told of it"

    return tell_each((claim for claim in claims if needs_telling(claim)), tell)


def tell_each(claims: Iterable[Claim], tell: Callable[[Claim], str | None]) -> list[Untold]:
    """Tell the CRM of each; what it did not take. An outage costs one time-out, not one for every claim."""
    untold, outage = [], None
    for claim in claims:
        if outage is None:
            try:
                problem = tell(claim)
            except CrmOutage as error:
                _log.warning("claim %s: %s", claim.claim_id, error)
                problem = outage = str(error)
        else:
            problem = outage
        if problem is not None:
            untold.append(Untold(claim, problem))
    return untold


def _tell(claim: Claim, run_id: str | None, actor: str, ledger: Ledger, crm: Crm, desk_url: str) -> str | None:
    """Write, read back, note. What was moved meanwhile is told anew: what we wrote may have covered something newer."""
    for go in range(_GOES):
        outcome = outcome_for(claim, desk_url, ledger.standing(claim.claim_id))
        problem = write_and_read_back(claim, outcome, crm)
        if problem is not None and went_with_its_record(claim, crm):
            problem = None
        if problem is None:
            try:
                ledger.synced(claim, run_id, actor)
            except StateConflict:
                if go == _GOES - 1:
                    raise
            else:
                return None
        current = ledger.claim(claim.claim_id)
        assert current is not None
        if problem is not None and (current.version == claim.version or go == _GOES - 1):
            return problem
        if current.state is not State.SEALED and current.state not in TOLD_TO_CRM:
            return None  # on its way again: it is told when it arrives
        if problem is not None and not needs_telling(current):
            return None  # another told it, and we have covered nothing
        claim = current
    return None


def went_with_its_record(claim: Claim, crm: Crm) -> bool:
    """Whether there is nobody to tell any more: it was withdrawn, and the CRM says that it has no such record."""
    if claim.state is not State.WITHDRAWN:
        return False
    try:
        return claim.crm_record_id not in crm.records((claim.crm_record_id,))
    except CrmUnavailable:
        return False


def write_and_read_back(claim: Claim, outcome: CrmOutcome, crm: Crm) -> str | None:
    """Make the record say the outcome, unless it does; None when it was read back equal, else what is wrong.

    Raises `CrmOutage`.
    """
    try:
        if _says(crm.read_outcome(claim.crm_record_id), outcome):
            return None
        crm.write_outcome(claim.crm_record_id, outcome)
        if (found := crm.read_outcome(claim.crm_record_id)) != outcome:
            return f"the record says {found}, not {outcome}"
    except CrmOutage:
        raise
    except (CrmUnavailable, CrmRecordConflict) as error:
        _log.warning("claim %s: %s", claim.claim_id, error)
        return str(error)
    return None


def needs_telling(claim: Claim) -> bool:
    """Whether the CRM should know something of this claim that it was not told."""
    if claim.state is State.SEALED:
        return True
    return claim.state in TOLD_TO_CRM and claim.crm_version != claim.version


def outcome_for(claim: Claim, desk_url: str, standing: Standing | None) -> CrmOutcome:
    """What the CRM's record should say: a link to evidence once the bundle is sealed, a decision once there is one."""
    digest = claim.bundle_digest
    decision = standing if standing is not None and standing.disposition is not Disposition.UNDECIDED else None
    return CrmOutcome(
        claim_id=claim.claim_id,
        status=crm_status(claim.state),
        reference=claim.reference,
        reference_kind=claim.reference_kind,
        reason_code=claim.reason if claim.state not in FILED else None,
        reason_text=(claim.reason_text or "").strip() or None if claim.state not in FILED else None,
        evidence_url=evidence_url(desk_url, claim) if digest else None,
        evidence_digest=digest,
        run_id=claim.run_id,
        confirmed_at=_to_seconds(claim.confirmed_at),
        updated_at=_to_seconds(claim.updated_at),
        disposition=str(decision.disposition) if decision else None,
        disposition_text=(decision.text or None) if decision else None,
        disposition_at=_to_seconds(decision.changed_at) if decision else None,
    )


def same_standing(found: CrmOutcome | None, claim: Claim, desk_url: str, standing: Standing | None) -> bool:
    """Whether the CRM's record says what the ledger says.

    The desk's address in the link may differ: a desk can move, the proof it shows is named by digest.
    """
    expected = outcome_for(claim, desk_url, standing)
    if found is None or _path(found.evidence_url) != _path(expected.evidence_url):
        return False
    return _says(replace(found, evidence_url=expected.evidence_url), expected)


def _says(found: CrmOutcome | None, expected: CrmOutcome) -> bool:
    """Whether it is the same but for the time of the last change: to be told moves that, too."""
    return found is not None and replace(found, updated_at=expected.updated_at) == expected


def _path(url: str | None) -> str | None:
    return urlsplit(url).path if url else None


def _to_seconds(moment: datetime | None) -> datetime | None:
    """CRMs keep times to the second."""
    return moment.replace(microsecond=0) if moment else None


def evidence_url(desk_url: str, claim: Claim) -> str:
    """The stable, content-addressed link to a claim's proof."""
    return f"{desk_url}/e/{claim.claim_id}/{claim.bundle_digest}"
