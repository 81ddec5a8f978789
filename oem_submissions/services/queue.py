"""What belongs in the queue: due partitions that no run is at work on. Pure but for the ledger's read."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from oem_submissions.domain.breaker import Position
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

    Twice the same question gives no run twice; and if it ever did, the second would find nothing left to file. While
    the OEM's breaker is open, claims wait: only what is under way goes on, and one partition when a probe is due.
    """
    breaker = ledger.breaker(oem)
    all_due = [work for work in ledger.due_work(oem, dealers, period) if (work.dealer, work.period) not in under_way]
    if breaker.position is Position.CLOSED:
        return all_due
    going_on = {(work.dealer, work.period) for work in ledger.due_work(oem, dealers, period, filing=False)}
    due = [work for work in all_due if (work.dealer, work.period) in going_on]
    waiting = [work for work in all_due if (work.dealer, work.period) not in going_on]
    return due + waiting[: 1 if breaker.probe_is_due else 0]
