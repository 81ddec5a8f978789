"""Holding a portal account while a run works with it: wait for the lease, keep it alive, give it back.

And the run's own sign of life, for as long as its process lives, with or without an account.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from oem_submissions.domain.failures import LeaseLost
from oem_submissions.domain.records import Lease
from oem_submissions.ports import Ledger, LedgerUnavailable

_log = logging.getLogger(__name__)
_HEARTBEATS_PER_LEASE = 4


@contextmanager
def held_account(ledger: Ledger, oem: str, dealer: str, run_id: str, worker: str, seconds: float) -> Iterator[Lease]:
    """The account's lease, renewed in the background until the block ends.

    Waits while another worker holds it, for as long as a dead one's lease can last; then raises `LeaseLost`. A lease
    that can't be renewed is not fought for: every write of the ledger checks it.
    """
    lease = _wait_for(ledger, oem, dealer, run_id, worker, seconds)
    stop = threading.Event()
    heartbeat = threading.Thread(
        target=_keep_alive, args=(ledger, lease, seconds, stop), name=f"lease {oem}/{dealer}", daemon=True
    )
    heartbeat.start()
    try:
        yield lease
    finally:
        stop.set()
        heartbeat.join()
        ledger.release_lease(lease)


def _wait_for(ledger: Ledger, oem: str, dealer: str, run_id: str, worker: str, seconds: float) -> Lease:
    patience, pause = 1.5 * seconds, min(1.0, seconds / 10)
    waited = 0.0
    nothing = threading.Event()
    while (lease := ledger.acquire_lease(oem, dealer, run_id, worker, seconds)) is None:
        if waited >= patience:
            raise LeaseLost(f"The account {oem}/{dealer} is held by another worker, for {waited:.0f} s now.")
        nothing.wait(pause)
        waited += pause
    return lease


def _keep_alive(ledger: Ledger, lease: Lease, seconds: float, stop: threading.Event) -> None:
    while not stop.wait(seconds / _HEARTBEATS_PER_LEASE):
        try:
            ledger.renew_lease(lease, seconds)
        except LeaseLost as lost:
            _log.warning("%s", lost)
            return
        except LedgerUnavailable as error:
            _log.warning("the lease of %s/%s was not renewed: %s", lease.oem, lease.dealer, error)


@contextmanager
def beating(ledger: Ledger, run_id: str, worker: str, seconds: float) -> Iterator[None]:
    """Says, and goes on to say in the background, that this run's process lives. Silence for `seconds` is a loss."""
    ledger.beat(run_id, worker)
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(ledger, run_id, worker, seconds, stop), name="beat", daemon=True)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()


def _beat(ledger: Ledger, run_id: str, worker: str, seconds: float, stop: threading.Event) -> None:
    """To the last: the beat outlives the run by a lease's time, in which the run is noted as ended."""
    going = True
    while going:
        going = not stop.wait(seconds / _HEARTBEATS_PER_LEASE)
        try:
            ledger.beat(run_id, worker)
        except LedgerUnavailable as error:
            _log.warning("run %s could not say that it lives: %s", run_id, error)
