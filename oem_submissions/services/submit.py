"""The way of one claim through the portal: `submit_claim` reads top to bottom.

What surrounds it (lease, session, retries) stands below it.

Not here: how a page is filled (portal), what a row looks like (ledger), when to run (defs).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from oem_submissions.domain.breaker import Position
from oem_submissions.domain.claims import ClaimModel
from oem_submissions.domain.evidence import POST_CONFIRM, PRE_SUBMIT, Artifact, document_texts, shows, worth_before
from oem_submissions.domain.failures import StateConflict, StepFailed, SubmissionError
from oem_submissions.domain.outcomes import Answer, Filed, Outcome, Pending, Refused, Unknown
from oem_submissions.domain.reasons import REASONS, FailureClass, ReasonCode
from oem_submissions.domain.records import Attempt, Claim, Lease
from oem_submissions.domain.states import HELD, NEEDS_WORKER, State, after_failed_attempt
from oem_submissions.ports import (
    Account,
    EvidenceStore,
    Ledger,
    Portal,
    Prepared,
    ReferenceTaken,
    ReleaseGate,
    SessionShelf,
    Submission,
)
from oem_submissions.services.breaking import goes_on, may_file, refuse_account, require_account
from oem_submissions.services.leaking import LeakGate
from oem_submissions.services.leasing import held_account
from oem_submissions.services.probe import is_as_contracted
from oem_submissions.services.reconcile import Holding, put_off, reconcile_account
from oem_submissions.services.work import StoreUnavailable, Work, keep, submission_of

_log = logging.getLogger(__name__)
STALE_SECONDS = 60.0
"""So old, what the release gate said is asked once more: a person may have helped with the log-in meanwhile."""


def submit_claim(claim: Claim, work: Work) -> Claim:
    """File one `READY` claim: above ARM nothing was filed, provably; below it nothing clicks again, whatever happens.

    An exception that leaves this function (database gone, bug) leaves the claim where the ledger has it; the next
    holder of the account's lease makes an armed one `OUTCOME_UNKNOWN`.
    """
    ledger, session, lease = work.ledger, work.session, work.lease
    try:
        claim, attempt = ledger.start_attempt(claim, lease, work.portal.pins)
    except StateConflict:
        return _as_it_is_now(claim, ledger)  # corrected in the CRM since it was read
    try:
        submission = submission_of(claim, work)  # payload and files, checked against their hashes once more
        form = _prepare(submission, work)  # log in, fill, attach, read back, photograph; nothing is sent
        _require_worth(form, submission.claim)  # the evidence shows this claim, and this dealer
        keep(form.artifacts, claim, attempt, work)  # the evidence before the click is durable before ARMED
        claim = ledger.prepared(claim, attempt, lease, _facts(form))
        claim = ledger.arm(claim, attempt, lease, work.click_seconds)  # durable before the click
    except SubmissionError as failure:
        return _failed_before_click(claim, attempt, failure, work)
    except StateConflict as moved:
        return _corrected_meanwhile(claim, attempt, moved, work)

    answer = session.submit(lambda wire: ledger.record_sent(attempt, lease, wire))  # the click: once, never raises
    for warning in answer.warnings:
        _log.warning("claim %s: %s", claim.claim_id, warning)
    ledger.record_wire(attempt, lease, answer.wire, answer.url)
    answer = _with_worth(answer, form)
    outcome = _with_durable_evidence(answer.outcome, answer.artifacts, claim, attempt, work)
    match outcome:
        case Filed(reference):
            try:
                return ledger.confirm(claim, attempt, lease, reference)
            except ReferenceTaken as taken:
                ending = (State.OUTCOME_UNKNOWN, ReasonCode.REFERENCE_SUSPECT, str(taken))
        case Refused(ReasonCode.DUPLICATE_AT_PORTAL as reason, text, _):
            ending = (State.OUTCOME_UNKNOWN, reason, text)  # it may be our own earlier filing: held, to be looked up
        case Refused(reason, text, witness):
            ending = (State.REJECTED, reason, f"{text} (nothing was filed: {witness})")
        case Pending(text):
            ending = (State.AWAITING_REFERENCE, ReasonCode.REFERENCE_MISSING, text)
        case Unknown(reason, text):
            ending = (State.OUTCOME_UNKNOWN, reason, text)
        case _:
            assert_never(outcome)
    return ledger.settle(claim, attempt, lease, *ending, "submit")


class TryAgain(Exception):
    """Claims are left that may go through later; the run should come back after a delay."""


@dataclass(frozen=True)
class Partition:
    """What one run works on."""

    oem: str
    dealer: str
    period: str


def submit_partition(
    partition: Partition,
    run_id: str,
    worker: str,
    *,
    ledger: Ledger,
    evidence: EvidenceStore,
    portal: Portal,
    gate: ReleaseGate,
    account: Callable[[], Account],
    parse: Callable[[dict[str, object]], ClaimModel],
    lease_seconds: float,
    click_seconds: float,
    attempts_budget: int,
    look_hours: float,
    leak_gate: LeakGate,
    breaker_failures: int = 3,
    shelf: Callable[[Lease], SessionShelf | None] = lambda _: None,
) -> list[Claim]:
    """Resume, look up and file a partition's claims, each filed at most once; the claims as they stand afterwards.

    What was filed before is left alone: no lease is taken and no browser started when nothing is to be done. Raises
    `TryAgain` when a claim failed in a way that may pass by itself, `LeaseLost` when the account is taken from us.
    """
    key = (partition.oem, partition.dealer, partition.period)
    if not any(claim.state in NEEDS_WORKER for claim in ledger.claims(*key)) and not ledger.due_looks(*key):
        return ledger.claims(*key)
    with held_account(ledger, partition.oem, partition.dealer, run_id, worker, lease_seconds) as lease:
        for lost in ledger.recover(lease):
            _log.warning("claim %s: %s", lost.claim_id, lost.reason_text)
        holding = Holding(ledger, lease, portal, look_hours * 3600)
        held, ready = ledger.due_looks(*key), _ready(partition, ledger)
        if ready and _is_closed(gate.closed(lease, partition.period, portal.pins), ready):
            ready = []
        if held or ready:
            try:
                require_account(partition.oem, partition.dealer, ledger)
                with portal.session(account(), shelf(lease)) as session:
                    work = Work(
                        ledger,
                        evidence,
                        portal,
                        session,
                        lease,
                        parse,
                        click_seconds,
                        attempts_budget,
                        gate,
                        partition.period,
                        leak_gate,
                        breaker_failures,
                    )
                    reconcile_account(held, work, holding)
                    _submit_all(_ready(partition, ledger), work)  # also what was just proven never to have been filed
            except StepFailed as failure:  # the account can't be used: no session was begun
                put_off(held, failure, holding)
                _dead_letter(ready, failure.reason, failure.text, ledger, lease, portal)
        waiting = _ready(partition, ledger)
        closed = gate.closed(lease, partition.period, portal.pins) if waiting else ""
    if waiting and not closed and ledger.breaker(partition.oem).position is Position.CLOSED:
        raise TryAgain(
            f"{len(waiting)} claim(s) of {partition.oem}/{partition.dealer} wait for another attempt: "
            + "; ".join(f"{c.claim_id} {c.reason}: {c.reason_text}" for c in waiting if c.reason)
        )
    return ledger.claims(*key)


def _ready(partition: Partition, ledger: Ledger) -> list[Claim]:
    claims = ledger.claims(partition.oem, partition.dealer, partition.period)
    return [claim for claim in claims if claim.is_to_be_filed]


def _submit_all(ready: list[Claim], work: Work) -> None:
    """One after the other.

    Trouble of one claim is its own; trouble of the portal ends the batch, and in the end opens its breaker; trouble of
    the account dead-letters the batch: the same bad log-in tried again and again locks the account.
    """
    asked = time.monotonic()
    if (ready and _is_closed(work.closed(), ready)) or not may_file(ready, work) or not is_as_contracted(ready, work):
        return
    for position, claim in enumerate(ready):
        old = bool(position) or time.monotonic() - asked > STALE_SECONDS
        if old and _is_closed(work.closed(), ready[position:]):  # somebody has suspended it meanwhile
            return
        done = submit_claim(claim, work)
        if done.reason is None:
            _log.info("claim %s %s reference %s", done.claim_id, done.state, done.reference)
        else:
            _log.warning("claim %s %s %s: %s", done.claim_id, done.state, done.reason, done.reason_text)
        if done.reason is not None and done.state not in HELD and _is_of_account(done.reason):
            refuse_account(SubmissionError(done.reason, done.reason_text or ""), work.lease, work.ledger)
            text = f"Not tried, because of claim {done.claim_id}: {done.reason_text}"
            _dead_letter(ready[position + 1 :], done.reason, text, work.ledger, work.lease, work.portal)
            return
        if not goes_on(done, work) or (done.state not in HELD and done.reason in _PORTAL_WIDE):
            return


def _is_closed(why: str, waiting: list[Claim]) -> bool:
    if why:
        _log.warning("%d claims wait. %s", len(waiting), why)
    return bool(why)


def _is_of_account(reason: ReasonCode) -> bool:
    return REASONS[reason].failure_class is FailureClass.ACCOUNT


_PORTAL_WIDE = frozenset({ReasonCode.PORTAL_UNAVAILABLE, ReasonCode.PORTAL_MAINTENANCE, ReasonCode.LEASE_LOST})


def _dead_letter(
    claims: list[Claim], reason: ReasonCode, text: str, ledger: Ledger, lease: Lease, portal: Portal
) -> None:
    for untried in claims:
        try:
            claim, attempt = ledger.start_attempt(untried, lease, portal.pins)
        except StateConflict:
            continue  # corrected in the CRM since it was read: it is due again
        ledger.settle(claim, attempt, lease, State.DEAD, reason, text, "log in")


class _NotNow(StepFailed):
    """The release gate closed while the form was filled. It is no claim's fault, and none dies of it."""


def _prepare(submission: Submission, work: Work) -> Prepared:
    """Fill the form. Raises `StepFailed`, and `_NotNow` when that took long and nothing may be filed any more."""
    began = time.monotonic()
    form = work.session.prepare(submission)
    if time.monotonic() - began > STALE_SECONDS and (why := work.closed()):
        raise _NotNow(ReasonCode.GATE_CLOSED, why, "pre-shot")
    return form


def _require_worth(form: Prepared, claim: ClaimModel) -> None:
    """The portal package checks it too; here nothing is armed on its word alone."""
    if lacks := worth_before(form.readback, form.text, claim.natural_key_fields, claim.dealer_code):
        raise StepFailed(*lacks, "pre-shot")
    if not any(artifact.name == PRE_SUBMIT and artifact.data for artifact in form.artifacts):
        raise StepFailed(ReasonCode.PRE_EVIDENCE_MISSING, "The picture of the filled form is missing.", "pre-shot")


def _facts(form: Prepared) -> dict[str, object]:
    session = {"session": form.reused} if form.reused else {}
    shown = {"browser": form.browser, "viewport": list(form.viewport), "url": form.url}
    return {**shown, "warnings": list(form.warnings), **session}


def _with_worth(answer: Answer, form: Prepared) -> Answer:
    """No filing without evidence that shows it: the reference in the answer's text, and another picture than before.

    The picture before the click is not kept once more as the one after it: a late one takes that place.
    """
    before = {piece.sha256 for piece in form.artifacts}
    pieces = tuple(p for p in answer.artifacts if p.name != POST_CONFIRM or p.sha256 not in before)
    answer, same = replace(answer, artifacts=pieces), len(pieces) < len(answer.artifacts)
    if not isinstance(answer.outcome, Filed):
        return answer
    reference = answer.outcome.reference
    if same:
        lacks = "the picture after the click is the one before it."
    elif not any(shows(text, reference.value) for text in (answer.text, *document_texts(answer.artifacts))):
        lacks = "neither the text of the page after the click nor a document of the portal's holds it."
    else:
        return answer
    text = f"The portal gave {reference.kind} {reference.value}, but {lacks}"
    return replace(answer, outcome=Unknown(ReasonCode.POST_EVIDENCE_MISSING, text))


def _with_durable_evidence(
    outcome: Outcome, artifacts: tuple[Artifact, ...], claim: Claim, attempt: Attempt, work: Work
) -> Outcome:
    """No verdict without proof: a filing, or a refusal, whose evidence is not durable is held.

    So is one whose evidence was refused for a secret in it: the look into the history brings a picture of its own.
    """
    missing, reason = None, ReasonCode.POST_EVIDENCE_MISSING
    try:
        keep(artifacts, claim, attempt, work)
    except SubmissionError as error:
        missing = error.text
        if error.reason is ReasonCode.SECRET_IN_ARTIFACT:
            reason = error.reason
            _log.error("claim %s: %s", claim.claim_id, missing)
    if not any(artifact.name == POST_CONFIRM for artifact in artifacts):
        missing = missing or "The picture of the answer is missing."
    if missing and isinstance(outcome, Filed):
        text = f"The portal gave {outcome.reference.kind} {outcome.reference.value}, but: {missing}"
        return Unknown(reason, text)
    if missing and isinstance(outcome, Refused) and outcome.reason is not ReasonCode.DUPLICATE_AT_PORTAL:
        return Unknown(reason, f"The portal refused it ({outcome.text}), but: {missing}")
    return outcome


def _failed_before_click(claim: Claim, attempt: Attempt, failure: SubmissionError, work: Work) -> Claim:
    """Nothing was filed: note the reason; `READY` again within the budget, or when the store is away; else `DEAD`."""
    try:
        keep(getattr(failure, "artifacts", ()), claim, attempt, work)
    except SubmissionError as unkept:
        _log.warning("claim %s: the failure's picture was not kept: %s", claim.claim_id, unkept)
    if failure.reason is ReasonCode.LEASE_LOST:
        raise failure
    target = after_failed_attempt(failure.reason, claim.attempts, work.attempts_budget)
    if isinstance(failure, StoreUnavailable | _NotNow):
        target = State.READY  # until there is space again (the OEM's breaker opens, people are told), or the gate opens
    try:
        return work.ledger.settle(claim, attempt, work.lease, target, failure.reason, failure.text, failure.step)
    except StateConflict as moved:
        return _corrected_meanwhile(claim, attempt, moved, work)


def _corrected_meanwhile(claim: Claim, attempt: Attempt, moved: StateConflict, work: Work) -> Claim:
    """The CRM's record was corrected while its form was filled: nothing was filed, the next attempt takes what it says.

    Raises `LeaseLost` when it was not the CRM, but another worker that took the account over.
    """
    work.ledger.end_attempt(attempt, work.lease, f"The claim was changed before the click: {moved}")
    return _as_it_is_now(claim, work.ledger)


def _as_it_is_now(claim: Claim, ledger: Ledger) -> Claim:
    current = ledger.claim(claim.claim_id)
    assert current is not None
    return current
