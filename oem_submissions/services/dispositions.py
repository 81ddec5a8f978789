"""What the OEM decides of filed claims: polled from the portal's history, kept as seen, told to the CRM.

The submission's outcome is never touched. What the portal says is taken as it is; what it can't have meant is flagged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from oem_submissions.domain.dispositions import AWAITS_DECISION, POLLED, Seen, Standing
from oem_submissions.domain.failures import SubmissionError
from oem_submissions.domain.listing import ListedFiling, Listing
from oem_submissions.domain.polling import is_fresh, is_locked_out
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import FILED, State
from oem_submissions.domain.sweeping import BookedClaim
from oem_submissions.ports import Crm, Ledger
from oem_submissions.services.history import Reader, Reading, read_history
from oem_submissions.services.sync import Untold, outcome_for, tell_each, write_and_read_back

_log = logging.getLogger(__name__)
_DAY = 86_400.0


@dataclass(frozen=True)
class Polled:
    """What a poll of an account brought."""

    text: str
    """What was read, or why nothing was."""
    changed: tuple[Standing, ...] = ()
    problems: tuple[str, ...] = ()
    """Claims whose rows could not be taken for an answer, a sentence each."""
    trouble: SubmissionError | None = None


def poll_dispositions(reader: Reader) -> Polled:
    """Read the account's history once for all its claims, unless it was just read. Raises `LeaseLost`."""
    ledger, last = reader.ledger, reader.ledger.last_history_read(reader.oem, reader.dealer)
    if is_fresh(last):
        assert last is not None
        return Polled(f"The history was read {last.age_seconds:.0f} seconds ago: it is not read again.")
    if is_locked_out(last):
        assert last is not None
        hours = last.again_seconds / 3600
        return Polled(f"The portal refused our log-in; it is not tried again for {hours:.1f} hours. {last.text}")
    known = ledger.standings(reader.oem, reader.dealer)

    def since(claims: list[Claim]) -> datetime:
        waiting = [c.created_at for c in claims if c.state in FILED and _is_polled(known.get(c.claim_id))]
        return min(waiting, default=datetime.now(UTC)) - timedelta(days=1)

    with read_history(reader, since) as reading:
        return take_decisions(reading, ledger)


def take_decisions(reading: Reading, ledger: Ledger) -> Polled:
    """Keep what a reading says of the account's filed claims, and flag those whose decision is late."""
    changed, problems = [], []
    filed = [booked for booked in reading.book if booked.claim.state in FILED]
    known = _standings(filed, ledger)
    for booked in filed if reading.listing is not None else ():
        assert reading.listing is not None
        claim, before = booked.claim, known.get(booked.claim.claim_id)
        answer = _answer(booked, reading.listing)
        if isinstance(answer, str):
            _log.warning("%s", answer)
            problems.append(answer)
        elif answer is not None:
            after = ledger.see(claim, before, answer, reading.lease)
            known[claim.claim_id] = after
            if before is None or after.version != before.version:
                changed.append(after)
    for booked in filed:
        before = known.get(booked.claim.claim_id)
        if (days := _overdue_days(booked, before, reading)) is not None:
            changed.append(ledger.decision_overdue(booked.claim, before, days, reading.lease))
    text = f"{len(reading.listing.filings)} filings were listed." if reading.listing else f"{reading.trouble}"
    return Polled(text, tuple(changed), tuple(problems), reading.trouble)


def _standings(filed: Sequence[BookedClaim], ledger: Ledger) -> dict[str, Standing]:
    if not filed:
        return {}
    return ledger.standings(filed[0].claim.oem, filed[0].claim.dealer)


def _is_polled(standing: Standing | None) -> bool:
    return standing is None or standing.disposition in POLLED


def _answer(booked: BookedClaim, listing: Listing) -> Seen | str | None:
    """What the list says of the claim; None when it says nothing; a sentence when that can't be taken for an answer."""
    claim = booked.claim
    rows = [f for f in listing.filings if f.number == claim.reference and f.claim_type == claim.claim_type]
    said = {row.seen for row in rows if row.seen is not None}
    if not said:
        return None
    about = f"The portal lists {claim.reference} of claim {claim.claim_id}"
    if len(said) > 1:
        return f"{about} {len(rows)} times, with different decisions: none of them is taken."
    if any(_is_anothers(row, booked) for row in rows):
        return f"{about} with the fields of another claim: its decision is not taken. See the history sweep."
    return said.pop()


def _is_anothers(row: ListedFiling, booked: BookedClaim) -> bool:
    """By the business identity; an amount that the OEM has cut makes no other claim."""
    mine = booked.likeness.identity if booked.likeness else None
    return mine is not None and row.likeness.identity is not None and mine != row.likeness.identity


def _overdue_days(booked: BookedClaim, standing: Standing | None, reading: Reading) -> int | None:
    rules = reading.rules.get(booked.claim.claim_type)
    days = rules.decision_days if rules else None
    waits = standing is None or (standing.disposition in AWAITS_DECISION and not standing.overdue)
    late = days is not None and booked.seconds is not None and booked.seconds >= days * _DAY
    return days if waits and late else None


def tell_dispositions(
    claims: Iterable[Claim], run_id: str, actor: str, *, ledger: Ledger, crm: Crm, desk_url: str
) -> list[Untold]:
    """Tell the CRM of decisions that it does not know; what it did not take. The submission's fields stay as they are.

    Only of claims that the CRM knows to be filed: for the others the sync of the filing run brings the decision along.
    """

    def tell(claim: Claim) -> str | None:
        standing = ledger.standing(claim.claim_id)
        if claim.state is not State.SYNCED or standing is None or not standing.needs_telling:
            return None
        if (problem := write_and_read_back(claim, outcome_for(claim, desk_url, standing), crm)) is None:
            ledger.disposition_told(claim, standing, run_id, actor)
        return problem

    return tell_each(claims, tell)
