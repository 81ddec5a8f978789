"""Held claims are looked up in the portal's history and e-mails, read-only, under the lease. Nothing here files.

What a look proves is in `domain.looking`; how a page is read is the portal's; a person's verdict is in `review`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, assert_never

from oem_submissions.domain.evidence import (
    DOCUMENT,
    HISTORY,
    MAIL,
    PERSONAL_MAIL,
    POST_CONFIRM,
    RECONCILED,
    REQUEST,
    Artifact,
    artifact_key,
    is_personal,
)
from oem_submissions.domain.failures import PayloadInvalid, StepFailed, SubmissionError
from oem_submissions.domain.looking import (
    ACCOUNT_PAUSE,
    LEAST_LOOKS,
    Absent,
    Doubtful,
    Found,
    HistoryRules,
    NotYet,
    conclude,
    seconds_until_next_look,
)
from oem_submissions.domain.outcomes import LookUp, Reference
from oem_submissions.domain.reasons import REASONS, FailureClass, ReasonCode
from oem_submissions.domain.records import Attempt, Claim, HeldClaim, KeptArtifact, Lease
from oem_submissions.domain.states import State
from oem_submissions.ports import Control, Ledger, Portal, ReferenceTaken
from oem_submissions.services.breaking import refuse_account
from oem_submissions.services.work import Work, looked_for, stored, submission_of, without_leaks

_log = logging.getLogger(__name__)
_FOUND_IN = {HISTORY: "in the portal's history", MAIL: "in an e-mail of the portal"}
"""What a look photographs of where a claim was found."""
_ENDS_ALL = frozenset({ReasonCode.PORTAL_UNAVAILABLE, ReasonCode.PORTAL_MAINTENANCE})


@dataclass(frozen=True)
class Holding:
    """What is needed to say where a held claim goes next."""

    ledger: Ledger
    lease: Lease
    portal: Portal
    limit_seconds: float
    """After the click; then a claim without a result is given to a person."""


def reconcile_account(held: Sequence[HeldClaim], work: Work, holding: Holding) -> list[Claim]:
    """Look every due held claim of the account up, once; the claims as they stand afterwards.

    Trouble of the portal or of the account is every claim's: the others are put off, not tried.
    """
    done: list[Claim] = []
    trouble: SubmissionError | None = None
    for due in held:
        item = replace(due, claim=work.ledger.begin_look(due.claim, work.lease))
        try:
            if trouble is not None:
                raise trouble
            claim = _look(item, work, holding)
        except (StepFailed, PayloadInvalid) as failure:
            claim = _failed(item, failure, holding)
            if failure.reason in _ENDS_ALL or _is_of_account(failure):
                refuse_account(failure, work.lease, work.ledger)
                trouble = failure
        _log.info("claim %s looked up: %s %s %s", claim.claim_id, claim.state, claim.reference, claim.reason_text)
        done.append(claim)
    return done


def put_off(held: Sequence[HeldClaim], why: StepFailed, holding: Holding) -> None:
    """No session could be begun: the looks count, and are made again later."""
    for item in held:
        _failed(replace(item, claim=holding.ledger.begin_look(item.claim, holding.lease)), why, holding)


def _look(item: HeldClaim, work: Work, holding: Holding) -> Claim:
    """One look, and what follows from it. Raises `StepFailed` when the history could not be read."""
    claim, waits = item.claim, item.claim.state is State.AWAITING_REFERENCE
    rules = work.portal.history_rules(claim.claim_type)
    if rules is None:
        text = "This portal has no history, and sends no e-mail, in which the system could look the claim up."
        return _review(claim, ReasonCode.OUTCOME_UNKNOWN, text, (), holding)
    settled = rules.settle_minutes is not None and item.seconds >= rules.settle_minutes * 60 and not waits
    wanted = submission_of(claim, work) if rules.sends_files else looked_for(claim, work)
    control = _control(claim, rules, work) if settled else None
    look = work.session.look_up(wanted, control, _first_click(claim, work.ledger))
    kept = _keep_pictures(look, item, work)
    said_duplicate = claim.reason is ReasonCode.DUPLICATE_AT_PORTAL
    conclusion = conclude(look, settled=settled, said_duplicate=said_duplicate)
    match conclusion:
        case Found(reference):
            return _confirm(item, reference, look, kept, work, holding)
        case Doubtful(reason, text):
            return _review(claim, reason, text, kept, holding)
        case NotYet(text):
            return _again(item, None, text, kept, holding)
        case Absent(text):
            return work.ledger.absent(claim, work.lease, text, kept)
        case _:
            assert_never(conclusion)


def _first_click(claim: Claim, ledger: Ledger) -> datetime:
    """Of its life: an e-mail that answers an earlier one is seen, too. After a restore, when it came due."""
    armed = (attempt.armed_at for attempt in ledger.attempts(claim.claim_id))
    return min((at for at in armed if at is not None), default=claim.created_at)


def _control(claim: Claim, rules: HistoryRules, work: Work) -> Control | None:
    """The newest filing of this account that had time to be listed. None when there is none that can be read."""
    assert rules.settle_minutes is not None
    known = work.ledger.known_filing(claim, rules.settle_minutes * 60)
    if known is None or known.reference is None:
        return None
    try:
        return Control(looked_for(known, work), known.reference)
    except PayloadInvalid as invalid:  # the claim model has changed since
        _log.warning("claim %s is no control: %s", known.claim_id, invalid)
        return None


# --- what follows ---


def _confirm(
    item: HeldClaim,
    reference: Reference,
    look: LookUp,
    kept: Sequence[KeptArtifact],
    work: Work,
    holding: Holding,
) -> Claim:
    claim, attempt, ledger = item.claim, item.attempt, work.ledger
    if attempt is None:
        return _review(claim, ReasonCode.POST_EVIDENCE_MISSING, _forgotten(claim, reference, work), kept, holding)
    by_name = {artifact.name: artifact for artifact in look.artifacts}
    where = [what for name, what in _FOUND_IN.items() if name in by_name]
    how = {"found": " and ".join(where), "look": claim.looks, "url": look.url}
    documents = [by_name[name] for name in (DOCUMENT, PERSONAL_MAIL) if name in by_name]
    shot = by_name.get(HISTORY) or by_name[MAIL]
    pieces = late_pieces(claim, attempt, shot, reference, how, ledger, documents)
    late = _durable(pieces, item, work)
    facts = late_facts(claim, pieces, look.url, ledger)
    try:
        return ledger.confirm_late(
            claim, attempt, work.lease, reference, [*kept, *late], facts, {**how, "late": facts["late"]}
        )
    except ReferenceTaken as taken:
        return _review(claim, ReasonCode.REFERENCE_SUSPECT, str(taken), kept, holding)


def _forgotten(claim: Claim, reference: Reference, work: Work) -> str:
    """It was filed after the backup: nothing files it again, and nothing says more than is known."""
    bundles = work.evidence.keys(f"bundles/{claim.claim_id}/")
    proof = f"its evidence is {bundles[-1]}" if bundles else "its evidence was not sealed"
    return f"The portal lists it as {reference.value}: filed, and forgotten when the ledger was restored; {proof}."


def _review(claim: Claim, reason: ReasonCode, text: str, kept: Sequence[KeptArtifact], holding: Holding) -> Claim:
    """A person must decide. A claim that waits for its reference goes there by way of the next look."""
    ledger, lease = holding.ledger, holding.lease
    if claim.state is State.AWAITING_REFERENCE:
        return ledger.end_look(claim, lease, State.OUTCOME_UNKNOWN, reason, text, kept, again_seconds=0.0)
    return ledger.end_look(claim, lease, State.NEEDS_REVIEW, reason, text, kept)


def _again(
    item: HeldClaim, failure: SubmissionError | None, text: str, kept: Sequence[KeptArtifact], holding: Holding
) -> Claim:
    """Look again later, with backoff. What is held for too long goes on: at its deadline, at last to a person."""
    claim, ledger, lease = item.claim, holding.ledger, holding.lease
    pause = seconds_until_next_look(claim.looks)
    if failure is not None and _is_of_account(failure):
        pause = max(pause, ACCOUNT_PAUSE)
    if claim.state is State.AWAITING_REFERENCE:
        reason = claim.reason or ReasonCode.REFERENCE_MISSING
        rules = holding.portal.history_rules(claim.claim_type)
        hours = (rules.deadline_hours if rules else None) or 0
        if item.seconds < hours * 3600:
            return ledger.end_look(claim, lease, claim.state, reason, text, kept, again_seconds=pause)
        text = f"The portal has not given the reference within {hours} hours. {text}"
        return ledger.end_look(claim, lease, State.OUTCOME_UNKNOWN, reason, text, kept, again_seconds=pause)
    if item.seconds >= holding.limit_seconds and claim.looks >= LEAST_LOOKS:
        text = f"Looked up {claim.looks} times in {item.seconds / 3600:.0f} hours without a result. Last: {text}"
        return _review(claim, failure.reason if failure else ReasonCode.OUTCOME_UNKNOWN, text, kept, holding)
    reason = claim.reason or ReasonCode.OUTCOME_UNKNOWN
    if claim.state is State.READY:  # in doubt
        return ledger.end_look(claim, lease, claim.state, reason, text, kept, again_seconds=pause)
    return ledger.end_look(claim, lease, State.OUTCOME_UNKNOWN, reason, text, kept, again_seconds=pause)


def _failed(item: HeldClaim, failure: SubmissionError, holding: Holding) -> Claim:
    return _again(item, failure, f"It could not be looked up: {failure.reason}: {failure.text}", (), holding)


def _is_of_account(failure: SubmissionError) -> bool:
    return REASONS[failure.reason].failure_class is FailureClass.ACCOUNT


# --- evidence ---


def late_pieces(
    claim: Claim,
    attempt: Attempt,
    shot: Artifact | None,
    reference: Reference,
    how: Mapping[str, Any],
    ledger: Ledger,
    documents: Sequence[Artifact] = (),
) -> list[Artifact]:
    """What a claim lacks that is confirmed long after its click.

    `shot`, if any, shows that the portal has it; `documents` give its reference. The picture stands in for the
    confirmation's, and the request is told from the ledger, only where there is none;
    `reconciled.json` says what came late and how it was found.
    """
    have = {kept.name for kept in ledger.artifacts(claim.claim_id) if kept.attempt_id == attempt.attempt_id}
    pieces = [*documents]
    if shot and shot.name != MAIL:
        pieces.append(replace(shot, name=HISTORY))
    if shot and POST_CONFIRM not in have:
        pieces.append(replace(shot, name=POST_CONFIRM))
    if REQUEST not in have:
        pieces.append(_json(REQUEST, _request_of(attempt, ledger)))
    late = [piece.name for piece in pieces if not is_personal(piece.name)]
    pieces.append(_json(RECONCILED, {**how, "reference": reference.value, "late": late}))
    return pieces


def _request_of(attempt: Attempt, ledger: Ledger) -> dict[str, Any]:
    """What the ledger knows of the submit request: the worker that saw it is gone."""
    sent = [event for event in ledger.events(attempt.claim_id) if event.kind == "sent"]
    mine = [event.details for event in sent if event.fencing_token == attempt.fencing_token]
    times = {"sent_at": attempt.sent_at, "responded_at": attempt.responded_at}
    return {
        **(mine[-1] if mine else {}),
        **{name: moment.isoformat() if moment else None for name, moment in times.items()},
        "status": attempt.response_status,
        "from": "the ledger, afterwards",
    }


def _json(name: str, document: Mapping[str, Any]) -> Artifact:
    return Artifact(name, "application/json", json.dumps(document, sort_keys=True).encode(), datetime.now(UTC))


def late_facts(claim: Claim, pieces: Sequence[Artifact], url: str, ledger: Ledger) -> dict[str, Any]:
    """What the attempt notes of it; the address of the page after the click only where none is known."""
    known = ledger.facts(claim.claim_id).get("answer_url")
    late = [piece.name for piece in pieces if not is_personal(piece.name)]
    return {"late": late, "answer_url": known or url}


def _keep_pictures(look: LookUp, item: HeldClaim, work: Work) -> list[KeptArtifact]:
    """Each look's pictures under a name of their own: a later look shows another page."""
    named = [replace(artifact, name=f"look_{item.claim.looks:03d}_{artifact.name}") for artifact in look.artifacts]
    return _durable(named, item, work)


def _durable(artifacts: Sequence[Artifact], item: HeldClaim, work: Work) -> list[KeptArtifact]:
    """Under keys of this look's own: one that died after storing left other bytes under its. Raises `StepFailed`."""
    claim = item.claim
    attempt = item.attempt or work.ledger.stand_in(claim, work.lease, work.portal.pins)
    folder = f"{claim.version:04d}"
    kept = []
    for artifact in without_leaks(artifacts, claim, work):
        key = artifact_key(claim.claim_id, attempt.attempt_id, f"{folder}-{artifact.name}")
        try:
            kept.append(stored(artifact, key, claim, attempt, work.evidence))
        except StepFailed as failure:
            raise StepFailed(ReasonCode.POST_EVIDENCE_MISSING, failure.text, "look up") from failure
    return kept
