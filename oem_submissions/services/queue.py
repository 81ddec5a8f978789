"""What belongs in the queue, and when: due partitions that no run is at work on. Pure but for the ledger.

The rules of time are in `domain.scheduling`, who files at all in `domain.releases`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from oem_submissions.domain.breaker import Position
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.records import DueWork
from oem_submissions.domain.releases import Release, admit
from oem_submissions.domain.scheduling import (
    Source,
    catch_up,
    claim_seconds,
    priority,
    why_not_begin,
    why_not_tick,
)
from oem_submissions.ports import ClaimRules, Ledger

_log = logging.getLogger(__name__)
_MEASURED_RUNS = 30
"""The last ones: what a claim of a release takes."""


def work_to_enqueue(
    ledger: Ledger,
    oem: str,
    releases: Sequence[Release],
    under_way: Collection[tuple[str, str]],
    dealers: Sequence[str] = (),
    period: str | None = None,
    cadence: Cadence | None = None,
) -> list[DueWork]:
    """An OEM's due partitions without those (dealer, period) that a queued or running run has: the overlap policy.

    The nearest deadline comes first, then the oldest. Twice the same question gives no run twice; and if it ever did,
    the second would find nothing left to file. Claims of dealers whom the release gate does not admit wait, and so they
    do while the OEM's breaker is open, in a window, and when they don't fit before the next: only what is under way
    goes on, and one partition when a probe is due. `releases` are the deployed ones; without a cadence there are no
    rules of time.
    """
    found = [work for work in ledger.due_work(oem, dealers, period) if (work.dealer, work.period) not in under_way]
    all_due = _by_deadline(found, cadence, ledger) if cadence is not None else found
    pilots = set(ledger.pilots(oem))
    turn_taken = any(dealer in pilots for dealer, _ in under_way)
    breaker = ledger.breaker(oem)
    may_begin = len(all_due) if breaker.position is Position.CLOSED else int(breaker.probe_is_due)
    due = []
    for work in all_due:
        admission = admit(releases, pilot=work.dealer in pilots, turn_taken=turn_taken)
        begins = admission.release is not None and may_begin > 0
        if (
            begins
            and cadence is not None
            and not work.goes_on
            and (why := why_wait(ledger, cadence, admission.release, work.ready))
        ):
            _log.info("%s/%s, %s waits. %s", oem, work.dealer, work.period, why)
            begins = False
        if work.goes_on or begins:
            turn_taken |= admission.release is not None and admission.release.is_verifying
            may_begin -= not work.goes_on
            due.append(work)
    return due


def _by_deadline(found: Sequence[DueWork], cadence: Cadence, ledger: Ledger) -> list[DueWork]:
    if cadence.deadline_days is None or not found:
        return list(found)
    now = ledger.now()
    never = datetime.max.replace(tzinfo=now.tzinfo)
    dated = [(work, cadence.deadline(work.first_due_on) if work.first_due_on else None) for work in found]
    dated.sort(key=lambda pair: (pair[1] or never, pair[0].oldest_due_at))
    return [replace(work, priority=priority(deadline, now)) for work, deadline in dated]


def why_wait(ledger: Ledger, cadence: Cadence, release: Release | None, claims: int = 1) -> str:
    """Why so many claims are not begun now: a window, or a cut-off that is too near; empty when they may.

    How long they take follows from the release's last runs. It is asked before a run is queued, and before every claim.
    """
    if not cadence.windows:
        return ""
    runs = ledger.run_measures(release, 0, _MEASURED_RUNS) if release is not None else []
    seconds = claim_seconds([took for run in runs for took in run.seconds])
    return why_not_begin(cadence, ledger.now(), max(claims, 1), seconds)


# --- ticks ----------------------------------------------------------------------------------------------------------


def look_at_tick(ledger: Ledger, rules: ClaimRules, scheduled: datetime) -> tuple[bool, str]:
    """Whether the tick is to be noted, and why there is nothing to do at it; empty: enqueue."""
    cadence = rules.cadence
    noted = ledger.noted_tick(rules.oem, str(cadence), scheduled)
    newest = ledger.newest_ticks({rules.oem: str(cadence)}).get(rules.oem)
    return noted is None, why_not_tick(cadence, scheduled, ledger.now(), noted, newest)


def note_command(ledger: Ledger, rules: ClaimRules, due: int) -> None:
    """A command asked for all that is due. In time, that was the tick, as in a deployment without a scheduler of ours.

    Later it makes up a tick that the log lacks; where no tick was ever expected it is none.
    """
    cadence, now = rules.cadence, ledger.now()
    scheduled = cadence.last_tick(now)
    newest = ledger.newest_ticks({rules.oem: str(cadence)}).get(rules.oem)
    in_time = now - scheduled <= cadence.grace(now)
    if newest < scheduled if newest is not None else in_time:
        ledger.record_tick(rules.oem, Source.COMMAND, scheduled, due, str(cadence))


def make_up_ticks(ledger: Ledger, adapters: Mapping[str, ClaimRules], paused: Collection[str]) -> list[str]:
    """Note the ticks that nobody evaluated, and ask once for what they would have asked for; what was done, in words.

    An OEM whose schedule a person has stopped is left alone.
    """
    cadences = {oem: rules.cadence for oem, rules in adapters.items() if oem not in paused}
    newest, now = ledger.newest_ticks({oem: str(cadence) for oem, cadence in cadences.items()}), ledger.now()
    said = []
    for oem, cadence in cadences.items():
        lacking = catch_up(cadence, newest.get(oem), now)
        if lacking is None or not ledger.make_up(oem, str(cadence), lacking):
            continue
        missed = len(lacking.missed) + (lacking.made_up is not None)
        what = "made up by one" if lacking.made_up else "too long ago to be made up"
        said.append(f"{oem}: {missed} ticks were missed, {what}.")
    return said
