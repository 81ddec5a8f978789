"""Time-stamping the evidence log: its newest checkpoint, from time to time, never in a submission's path."""

from __future__ import annotations

from oem_submissions.domain.evidence_log import KeptStamp
from oem_submissions.ports import Ledger, Timestamps


def stamp_newest(ledger: Ledger, authority: Timestamps) -> KeptStamp | None:
    """Have the newest checkpoint stamped, unless it is; the newest stamp there is then, None when nothing is logged.

    A stamp covers everything below its checkpoint, so that checkpoints between two stamps need none. Raises
    `TimestampUnavailable` or `TimestampRefused`; then nothing was kept, and the next time will do.
    """
    newest, stamped = ledger.newest_checkpoint(), next(iter(ledger.stamps(limit=1)), None)
    if newest is None or (stamped is not None and stamped.size >= newest.size):
        return stamped
    ledger.keep_stamp(newest.size, authority.stamp(newest.note.encode()))
    return next(iter(ledger.stamps(limit=1)), None)
