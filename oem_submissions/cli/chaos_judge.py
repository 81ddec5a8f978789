"""What became of every claim, judged by what the portals hold. Pure: no portal, no ledger, no clock.

The claims are those that were put into the CRM, and a filing belongs to the one whose business key it carries. What our
ledger and the CRM say is compared with that, never taken for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from oem_submissions.domain.lease_log import LeaseEntry, Orphan, Overlap, orphans, overlaps
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import FILED, HELD, State, crm_status

_KEYS = {
    "warranty": ("repair_order", "line"),
    "coop": ("fund", "vendor", "vendor_invoice"),
    "delivery_report": ("vin", "sale_sequence"),
    "incentive": ("vin", "programme"),
}
"""What names a claim at its portal, beside type and dealer: fields that the forms take as they are in the CRM."""
_NEVER_FILED = frozenset({State.REJECTED, State.DEAD, State.WITHDRAWN})
"""States that say, for good, that the portal does not have the claim."""
_RESTING = _NEVER_FILED | {State.SYNCED} | (HELD - {State.RECONCILING, State.PROVEN_ABSENT})


class Wrong(StrEnum):
    """What must not be, and by which number of the document it is counted."""

    TWICE = "filed_twice"
    SILENT = "never_filed_and_silent"
    UNKNOWN = "filed_and_unknown"
    REFERENCE = "wrong_reference"
    UNFINISHED = "unfinished"
    OVERLAP = "overlapping_leases"
    ORPHAN = "orphaned_leases"


@dataclass(frozen=True)
class Due:
    """A claim as it was put into the CRM."""

    record_id: str
    oem: str
    key: str


@dataclass(frozen=True)
class Finding:
    """One thing that must not be."""

    wrong: Wrong
    sentence: str
    record_id: str | None = None
    claim_id: str | None = None


@dataclass(frozen=True)
class Evidence:
    """Everything that is judged, as it stood at the end."""

    due: Sequence[Due]
    filings: Mapping[str, Sequence[Mapping[str, Any]]]
    """By OEM, as the portals' truth has them: kind, dealer, fields, reference."""
    claims: Sequence[Claim]
    told: Mapping[str, str | None]
    """What the CRM's record says of its claim's standing, by record."""
    lease_log: Sequence[LeaseEntry]
    now: datetime
    """By the database's clock."""


@dataclass
class Judgement:
    """Counts of claims, and every finding with its sentence."""

    claims: int = 0
    filed_once: int = 0
    held_for_review: int = 0
    rejected: int = 0
    dead_letters: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def count(self, wrong: Wrong) -> int:
        """How many findings of a kind."""
        return sum(finding.wrong is wrong for finding in self.findings)


def key_of(claim_type: str, dealer: str, values: Mapping[str, Any]) -> str:
    """What names a claim at its portal, from the CRM's payload or from the fields that the portal received."""
    named = (str(values.get(name, "")).strip().upper() for name in _KEYS[claim_type])
    return "|".join([claim_type, dealer.strip().upper(), *named])


def judge(evidence: Evidence) -> Judgement:
    """The verdict on a run of the whole system."""
    filings: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for oem, filed in evidence.filings.items():
        for filing in filed:
            filings[oem, key_of(filing["kind"], filing["dealer"], filing["fields"])].append(filing)
    claims = {(claim.oem, claim.crm_record_id): claim for claim in evidence.claims}
    judgement = Judgement(claims=len(evidence.due))
    for due in evidence.due:
        claim = claims.get((due.oem, due.record_id))
        mine = filings.pop((due.oem, due.key), [])
        judgement.filed_once += len(mine) == 1
        judgement.findings += _of_claim(due, claim, mine, evidence.told.get(due.record_id))
    judgement.findings += [_foreign(oem, key, found) for (oem, key), found in filings.items()]
    judgement.findings += _of_leases(overlaps(evidence.lease_log), orphans(evidence.lease_log, evidence.now))
    _count(judgement, evidence.claims)
    return judgement


def rests(claim: Claim) -> bool:
    """Whether the claim is where nothing of ours has to happen before somebody hears of it."""
    return claim.state in _RESTING


def _of_claim(due: Due, claim: Claim | None, filings: Sequence[Mapping[str, Any]], told: str | None) -> list[Finding]:
    name = f"{due.oem} record {due.record_id} ({due.key})"
    state = claim.state if claim else None
    found: list[tuple[Wrong, str]] = []
    if len(filings) > 1:
        listed = ", ".join(str(filing["reference"]) for filing in filings)
        found.append((Wrong.TWICE, f"The portal holds it {len(filings)} times: {listed}; the ledger says {state}."))
    if filings and (claim is None or claim.state not in FILED | HELD):
        found.append((Wrong.UNKNOWN, f"The portal holds it as {filings[0]['reference']}; the ledger says {state}."))
    if filings and claim and claim.state in FILED and claim.reference not in {f["reference"] for f in filings}:
        ours = f"The portal holds it as {filings[0]['reference']}; the ledger as {claim.reference}."
        found.append((Wrong.REFERENCE, ours))
    if not filings and (why := _silent(claim, told)):
        found.append((Wrong.SILENT, f"The portal does not hold it, and {why}."))
    if claim is not None and not rests(claim):
        found.append((Wrong.UNFINISHED, f"It is still {claim.state}, {claim.reason or 'without a reason'}."))
    claim_id = claim.claim_id if claim else None
    return [Finding(wrong, f"{name}: {sentence}", due.record_id, claim_id) for wrong, sentence in found]


def _silent(claim: Claim | None, told: str | None) -> str | None:
    """Why nobody would ever hear that the portal does not have the claim; None when somebody does."""
    if claim is None:
        return "the ledger has never heard of it"
    if claim.state in FILED:
        return f"the ledger says {claim.state} under {claim.reference}"
    if told == crm_status(State.SYNCED):
        return f"the CRM says {told}"
    if not rests(claim):
        return f"it rests nowhere: {claim.state}"
    return None


def _foreign(oem: str, key: str, filings: Sequence[Mapping[str, Any]]) -> Finding:
    return Finding(Wrong.UNKNOWN, f"{oem} holds {filings[0]['reference']} ({key}), which no CRM record asks for.")


def _of_leases(overlapping: Iterable[Overlap], orphaned: Iterable[Orphan]) -> list[Finding]:
    found = [Finding(Wrong.OVERLAP, overlap.sentence()) for overlap in overlapping]
    return found + [Finding(Wrong.ORPHAN, orphan.sentence()) for orphan in orphaned]


def _count(judgement: Judgement, claims: Sequence[Claim]) -> None:
    states = Counter(claim.state for claim in claims)
    judgement.held_for_review = sum(states[state] for state in HELD)
    judgement.rejected, judgement.dead_letters = states[State.REJECTED], states[State.DEAD]
    judgement.reasons = dict(Counter(str(claim.reason) for claim in claims if claim.reason).most_common())
