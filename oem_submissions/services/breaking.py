"""The circuit breakers at work: opened by what became of an attempt, half-opened by a probe, closed by a success.

The rules are in `domain.breaker`; that nothing is enqueued meanwhile is in `queue`.
"""

from __future__ import annotations

import logging

from oem_submissions.domain.breaker import LOCKS, Breaker, Ending, Note, Position, is_well, trips
from oem_submissions.domain.failures import StepFailed, SubmissionError
from oem_submissions.domain.reasons import REASONS, FailureClass
from oem_submissions.domain.records import AlertKind, Claim, Lease, NewAlert
from oem_submissions.ports import Ledger
from oem_submissions.services.work import Work, submission_of

_log = logging.getLogger(__name__)


def alert_key(breaker: Breaker) -> str:
    """One alert per breaker."""
    return f"account {breaker.oem}/{breaker.dealer}" if breaker.dealer else f"breaker {breaker.oem}"


def goes_on(done: Claim, work: Work) -> bool:
    """After an attempt: move the breakers. Whether the next claim may be filed."""
    ledger, ending = work.ledger, Ending(done.state, done.reason, None)
    account = ledger.breaker(done.oem, done.dealer)
    if account.position is Position.HALF_OPEN and is_well(ending):
        close(account, work.lease.worker, ledger, work.lease.run_id)
    breaker = ledger.breaker(done.oem)
    match breaker.position:
        case Position.OPEN:
            return False  # by another run
        case Position.HALF_OPEN:
            if is_well(ending):
                close(breaker, work.lease.worker, ledger, work.lease.run_id)
                ledger.request_enqueue(done.oem, (), None, "breaker")
                return True
            fault: Ending | None = ending
        case Position.CLOSED:
            fault = trips(ledger.last_endings(done.oem, work.breaker_failures), work.breaker_failures)
    if fault is None:
        return True
    if fault.reason is not None and REASONS[fault.reason].failure_class is not FailureClass.ACCOUNT:
        _open(breaker, SubmissionError(fault.reason, _why(done)), work.lease, ledger)
    return False


def _why(done: Claim) -> str:
    return f"Claim {done.claim_id} of dealer {done.dealer}: {done.reason_text}"


def refuse_account(failure: SubmissionError, lease: Lease, ledger: Ledger) -> None:
    """One bad log-in is the last one: nobody logs in to this account again before a person says so."""
    if failure.reason in LOCKS:
        _open(ledger.breaker(lease.oem, lease.dealer), failure, lease, ledger)


def require_account(oem: str, dealer: str, ledger: Ledger) -> None:
    """Raises `StepFailed` when the portal refused this account, and nobody has said that it works again."""
    account = ledger.breaker(oem, dealer)
    if account.position is Position.OPEN:
        assert account.reason is not None
        raise StepFailed(account.reason, f"Not tried. {account.sentence()}", "log in")


def _open(breaker: Breaker, why: SubmissionError, lease: Lease, ledger: Ledger) -> None:
    if breaker.position is Position.OPEN:
        return
    if not ledger.move_breaker(breaker, Note.OPENED, lease.worker, lease.run_id, why.reason, why.text):
        return
    opened = ledger.breaker(breaker.oem, breaker.dealer)
    kind = AlertKind.ACCOUNT_REFUSED if breaker.dealer else AlertKind.BREAKER_OPEN
    alert = NewAlert(alert_key(breaker), kind, opened.sentence(), breaker.oem, breaker.dealer, lease.run_id)
    ledger.raise_alert(alert)
    _log.error("%s", opened.sentence())


def close(breaker: Breaker, actor: str, ledger: Ledger, run_id: str | None = None) -> None:
    """It works again."""
    if ledger.move_breaker(breaker, Note.CLOSED, actor, run_id):
        ledger.resolve_alert(alert_key(breaker))
        _log.info("%s works again.", f"{breaker.oem}/{breaker.dealer}" if breaker.dealer else breaker.oem)


def free_account(oem: str, dealer: str, by: str, ledger: Ledger) -> None:
    """A named person says that the account works again: one log-in is tried, and only if it works the next."""
    breaker = ledger.breaker(oem, dealer)
    if breaker.position is Position.OPEN:
        ledger.move_breaker(breaker, Note.HALF_OPENED, by)


def may_file(ready: list[Claim], work: Work) -> bool:
    """Whether claims may be filed at this portal now; while its breaker is open, only after a probe that is due."""
    if not ready:
        return False
    breaker = work.ledger.breaker(work.lease.oem)
    if breaker.position is Position.CLOSED:
        return True
    if not breaker.probe_is_due:
        _log.warning("%d claims wait. %s", len(ready), breaker.sentence())
        return False
    return _probe(breaker, ready[0], work)


def _probe(breaker: Breaker, claim: Claim, work: Work) -> bool:
    """Fill the next claim's form up to its last page, with the submit gate closed: no attempt, nothing is sent."""
    actor, run_id = work.lease.worker, work.lease.run_id
    try:
        work.session.prepare(submission_of(claim, work))
    except StepFailed as failure:
        refuse_account(failure, work.lease, work.ledger)
        if REASONS[failure.reason].failure_class is not FailureClass.BUSINESS:  # a portal that refuses a claim works
            work.ledger.move_breaker(breaker, Note.PROBE_FAILED, actor, run_id, failure.reason, failure.text)
            _log.warning("The probe of %s failed: %s", breaker.oem, failure)
            return False
    return work.ledger.move_breaker(breaker, Note.HALF_OPENED, actor, run_id)
