"""What belongs in the queue: due partitions that no run is at work on. Pure but for the ledger's read."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from oem_submissions.domain.records import DueWork
from oem_submissions.ports import Ledger


def work_to_enqueue(
    ledger: Ledger,
    oem: str,
    under_way: Collection[tuple[str, str]],
    dealers: Sequence[str] = (),
    period: str | None = None,
) -> list[DueWork]:
    """An OEM's due partitions, oldest first, without those (dealer, period) that a queued or running run has.

    Twice the same question gives no run twice; and if it ever did, the second would find nothing left to file.
    """
    return [work for work in ledger.due_work(oem, dealers, period) if (work.dealer, work.period) not in under_way]
