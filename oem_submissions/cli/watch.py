"""`oem-submissions watch`: looks after workers without Dagster, so that a dead daemon hides no dead worker."""

from __future__ import annotations

import logging
import os
import socket
import threading

from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import LedgerUnavailable
from oem_submissions.services.health import lost_workers, recover_lost_workers

_log = logging.getLogger(__name__)


def watch(ledger: Ledger, lease_seconds: float, stop: threading.Event) -> None:
    """Until `stop`: every sixth of a lease, put right what lost workers left, and raise the alert."""
    actor = f"watch@{socket.gethostname()}:{os.getpid()}"
    seen = None
    while not stop.wait(lease_seconds / 6):
        try:
            if seen is None:
                seen = ledger.last_lease_entry()
            recover_lost_workers(ledger, actor, lease_seconds)
            for worker in lost_workers(ledger, seen):
                _log.error("%s", worker.sentence())
                seen = worker.lease.entry
        except LedgerUnavailable as error:
            _log.warning("%s", error)
