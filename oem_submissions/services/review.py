"""A named person's verdict on a claim that the system could not reconcile: filed as …, not filed, cannot tell.

The person looks at the portal; the system keeps what they say, by whom and why, and asks for the same proof as ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from oem_submissions.domain.evidence import HISTORY, POST_CONFIRM, PRE_SUBMIT, Artifact, artifact_key
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.outcomes import Reference
from oem_submissions.domain.records import Attempt, Claim
from oem_submissions.domain.states import State
from oem_submissions.ports import EvidenceStore, Ledger, ReferenceTaken
from oem_submissions.services.reconcile import late_facts, late_pieces
from oem_submissions.services.work import stored


class VerdictRefused(Exception):
    """The verdict can't be taken: one sentence that says what is missing. Nothing was changed."""


class Verdict(StrEnum):
    """What a person may say."""

    FILED = "filed"
    NOT_FILED = "not-filed"
    CANNOT_TELL = "cannot-tell"


@dataclass(frozen=True)
class Said:
    """A verdict, with the person's name and reason."""

    verdict: Verdict
    by: str
    why: str
    reference: Reference | None = None
    """For `filed`: well-formed, as the caller has checked by the pack."""
    picture: Artifact | None = None
    """For `filed`: the portal's page that shows the reference."""
    settled_at: datetime | None = None
    """For `not-filed`: before this moment the portal may not list yet what it has."""


def decide(claim: Claim, said: Said, *, ledger: Ledger, evidence: EvidenceStore) -> Claim:
    """Carry the verdict out. Raises `VerdictRefused`."""
    require_possible(claim, said, ledger)
    match said.verdict:
        case Verdict.FILED:
            return _filed(claim, said, ledger, evidence)
        case Verdict.NOT_FILED:
            return ledger.not_filed(claim, said.by, said.why)
        case Verdict.CANNOT_TELL:
            return ledger.cannot_tell(claim, said.by, said.why)


def require_possible(claim: Claim, said: Said, ledger: Ledger) -> None:
    """Raises `VerdictRefused` when it can't be taken as the claim stands now. The picture is not asked for here."""
    if claim.state is not State.NEEDS_REVIEW:
        text = f"Claim {claim.claim_id} is {claim.state}: a verdict is asked for when it is NEEDS_REVIEW."
        raise VerdictRefused(text)
    if not said.by.strip() or not said.why.strip():
        raise VerdictRefused("A verdict needs the name of the person who gives it, and why.")
    if said.verdict is Verdict.FILED:
        if said.reference is None:
            raise VerdictRefused("The verdict 'filed' needs the portal's reference.")
        if not _is_clicked(claim, ledger):
            text = f"Claim {claim.claim_id} was filed before the ledger was restored, which has no proof of it any more"
            raise VerdictRefused(f"{text}: say what you know with the verdict 'cannot-tell'.")
        if PRE_SUBMIT not in _shots(claim, ledger):
            text = f"The picture before the click of claim {claim.claim_id} is missing: it can't be proven."
            raise VerdictRefused(text)
    early = said.verdict is Verdict.NOT_FILED and said.settled_at is not None and ledger.now() < said.settled_at
    if early and said.settled_at is not None:
        text = f"The portal may not list claim {claim.claim_id} yet: look again after {said.settled_at:%H:%M} UTC."
        raise VerdictRefused(f"{text} The verdict 'not-filed' has it filed anew.")


def needs_picture(claim: Claim, ledger: Ledger) -> bool:
    """Whether `filed` can be proven only with a picture that the person brings: there is none of the answer."""
    return _is_clicked(claim, ledger) and POST_CONFIRM not in _shots(claim, ledger)


def _is_clicked(claim: Claim, ledger: Ledger) -> bool:
    """Whether the ledger knows of the click that is in question: after a restore it may have forgotten it."""
    last = [e.to_state for e in ledger.events(claim.claim_id) if e.to_state in (State.ARMED, State.PROVEN_ABSENT)]
    return last[-1:] == [State.ARMED]


def _clicked(claim: Claim, ledger: Ledger) -> Attempt:
    """The last attempt that was armed: what is in review has one."""
    return next(attempt for attempt in reversed(ledger.attempts(claim.claim_id)) if attempt.armed_at is not None)


def _shots(claim: Claim, ledger: Ledger) -> set[str]:
    attempt = _clicked(claim, ledger)
    return {kept.name for kept in ledger.artifacts(claim.claim_id) if kept.attempt_id == attempt.attempt_id}


def _filed(claim: Claim, said: Said, ledger: Ledger, evidence: EvidenceStore) -> Claim:
    """No success without proof, whoever says so: both shots must be there, or the person brings the second."""
    assert said.reference is not None, "require_possible has asked for it"
    if said.picture is None and needs_picture(claim, ledger):
        text = f"Claim {claim.claim_id} has no picture of the answer: give one of the page that shows the reference."
        raise VerdictRefused(text)
    attempt = _clicked(claim, ledger)
    how = {"found": "by a person", "verdict": said.verdict, "by": said.by, "why": said.why}
    picture = replace(said.picture, name=HISTORY) if said.picture else None
    pieces = late_pieces(claim, attempt, picture, said.reference, how, ledger)
    try:
        kept = [stored(piece, _key(claim, attempt, piece), claim, attempt, evidence) for piece in pieces]
    except StepFailed as failure:
        raise VerdictRefused(f"{failure.text} Nothing was changed: give the verdict again when it works.") from failure
    facts: dict[str, Any] = late_facts(claim, pieces, "", ledger)
    try:
        return ledger.confirm_late(claim, attempt, said.by, said.reference, kept, facts, {**how, "late": facts["late"]})
    except ReferenceTaken as taken:
        raise VerdictRefused(str(taken)) from taken


def _key(claim: Claim, attempt: Attempt, piece: Artifact) -> str:
    """By content: a verdict that the ledger refused has left its bytes, and the next one may have others."""
    return artifact_key(claim.claim_id, attempt.attempt_id, f"verdict-{piece.sha256[:16]}-{piece.name}")
