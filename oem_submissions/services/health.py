"""Lost workers: a lease that ran out without being given back.

Their claims are put right, by the side of the click they died on; people are told. Neither Dagster nor a portal is
needed for it: `oem-submissions watch` does it beside the daemon, and every new run for an account it takes over.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from oem_submissions.domain.failures import LeaseLost, StateConflict
from oem_submissions.domain.records import AlertKind, Attempt, Claim, LostLease, NewAlert
from oem_submissions.domain.states import LOOKED_UP, NEEDS_WORKER
from oem_submissions.ports import Ledger

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LostWorker:
    """A worker that stopped renewing its lease, and what it had under way."""

    lease: LostLease
    left: tuple[tuple[Claim, Attempt], ...]

    def sentence(self) -> str:
        """What happened and what becomes of it, for an alert."""
        lease = self.lease
        left = "; ".join(_side(claim, attempt) for claim, attempt in self.left) or "it had no claim under way"
        return f"Worker {lease.worker} of {lease.oem}/{lease.dealer} was lost in run {lease.run_id}: {left}."


def _side(claim: Claim, attempt: Attempt) -> str:
    if attempt.armed_at is None:
        return f"claim {claim.claim_id} before the click, so that nothing was filed (it is now {claim.state})"
    return f"claim {claim.claim_id} past the click, to be looked up in the portal's history (it is now {claim.state})"


def recover_lost_workers(ledger: Ledger, actor: str, seconds: float) -> None:
    """Take over every expired lease, put its claims right, and give the account back.

    A lease that a new run has taken in the meantime is left to that run, which does the same.
    """
    for expired in ledger.expired_leases():
        lease = ledger.acquire_lease(expired.oem, expired.dealer, expired.run_id, actor, seconds)
        if lease is None:
            continue
        try:
            ledger.recover(lease)
        except (StateConflict, LeaseLost) as error:  # a write of the lost worker was under way: the next run does it
            _log.warning("%s/%s is not put right yet: %s", expired.oem, expired.dealer, error)
        finally:
            ledger.release_lease(lease)


def lost_workers(ledger: Ledger, after: int) -> list[LostWorker]:
    """Workers that were lost after an entry of the lease log, whoever took their accounts over; people are told."""
    lost = [LostWorker(lease, tuple(ledger.left_by(lease))) for lease in ledger.lost_leases(after)]
    for worker in lost:
        lease, claim_ids = worker.lease, tuple(claim.claim_id for claim, _ in worker.left)
        tell_of_loss(lease.run_id, worker.sentence(), ledger, lease.oem, lease.dealer, claim_ids)
    resolve_losses(ledger)
    return lost


def tell_of_loss(
    run_id: str,
    text: str,
    ledger: Ledger,
    oem: str | None = None,
    dealer: str | None = None,
    claim_ids: tuple[str, ...] = (),
) -> None:
    """Raise the alert, once per run: whoever else sees the same loss finds it told."""
    key = f"worker lost {run_id}"
    if not ledger.was_raised(key):
        ledger.raise_alert(NewAlert(key, AlertKind.WORKER_LOST, text, oem, dealer, run_id, claim_ids))


def resolve_losses(ledger: Ledger) -> None:
    """A loss is over when every claim that the worker left has an outcome, or is a person's to decide."""
    for alert in ledger.alerts():
        if alert.kind is AlertKind.WORKER_LOST:
            claims = [ledger.claim(claim_id) for claim_id in alert.claim_ids]
            if not any(claim and claim.state in NEEDS_WORKER | LOOKED_UP for claim in claims):
                ledger.resolve_alert(alert.key)
