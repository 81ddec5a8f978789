"""Lost workers: a lease that ran out without being given back.

Their claims are put right, by the side of the click they died on.
"""

from __future__ import annotations

from dataclasses import dataclass

from oem_submissions.domain.records import Claim, Lease
from oem_submissions.ports import Ledger


@dataclass(frozen=True)
class LostWorker:
    """A worker that stopped renewing its lease, and the claims that it left."""

    lease: Lease
    claims: tuple[Claim, ...]

    def sentence(self) -> str:
        """What happened, for an alert."""
        left = ", ".join(f"{c.claim_id} ({c.reason}, now {c.state})" for c in self.claims) or "no claim under way"
        lease = self.lease
        return f"Worker {lease.worker} of {lease.oem}/{lease.dealer} was lost in run {lease.run_id}: {left}."


def recover_lost_workers(ledger: Ledger, actor: str, seconds: float) -> list[LostWorker]:
    """Take over every expired lease, put its claims right, and give the account back.

    A lease that a new run has taken in the meantime is left to that run, which does the same.
    """
    lost = []
    for expired in ledger.expired_leases():
        lease = ledger.acquire_lease(expired.oem, expired.dealer, expired.run_id, actor, seconds)
        if lease is None:
            continue
        try:
            lost.append(LostWorker(expired, tuple(ledger.recover(lease))))
        finally:
            ledger.release_lease(lease)
    return lost
