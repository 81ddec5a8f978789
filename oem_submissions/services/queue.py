"""What belongs in the queue: due partitions that no run is at work on. Pure but for the ledger's read."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from oem_submissions.domain.breaker import Position
from oem_submissions.domain.records import DueWork
from oem_submissions.domain.releases import Release, admit
from oem_submissions.ports import Ledger


def work_to_enqueue(
    ledger: Ledger,
    oem: str,
    releases: Sequence[Release],
    under_way: Collection[tuple[str, str]],
    dealers: Sequence[str] = (),
    period: str | None = None,
) -> list[DueWork]:
    """An OEM's due partitions, oldest first, without those (dealer, period) that a queued or running run has.

    Twice the same question gives no run twice; and if it ever did, the second would find nothing left to file. Claims
    of dealers whom the release gate does not admit wait, and so they do while the OEM's breaker is open: only what is
    under way goes on, and one partition when a probe is due. `releases` are the deployed ones.
    """
    all_due = [work for work in ledger.due_work(oem, dealers, period) if (work.dealer, work.period) not in under_way]
    going_on = {(work.dealer, work.period) for work in ledger.due_work(oem, dealers, period, filing=False)}
    pilots = set(ledger.pilots(oem))
    turn_taken = any(dealer in pilots for dealer, _ in under_way)
    breaker = ledger.breaker(oem)
    may_begin = len(all_due) if breaker.position is Position.CLOSED else int(breaker.probe_is_due)
    due = []
    for work in all_due:
        admission = admit(releases, pilot=work.dealer in pilots, turn_taken=turn_taken)
        goes_on = (work.dealer, work.period) in going_on
        if goes_on or (admission.release is not None and may_begin > 0):
            turn_taken |= admission.release is not None and admission.release.is_verifying
            may_begin -= not goes_on
            due.append(work)
    return due
