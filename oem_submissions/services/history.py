"""Reading an account's whole history, under the account's lease, with the submit gate closed.

One read serves whoever asks: the sweep and the dispositions work on the same listing. What follows from it is theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from oem_submissions.domain.claims import ClaimModel
from oem_submissions.domain.failures import PayloadInvalid, StepFailed, SubmissionError
from oem_submissions.domain.listing import Likeness, Listing, ListingRules
from oem_submissions.domain.polling import seconds_until_next_read
from oem_submissions.domain.records import Claim, Lease
from oem_submissions.domain.states import FILED
from oem_submissions.domain.sweeping import BookedClaim
from oem_submissions.ports import Account, Ledger, Portal, SessionShelf, Submission
from oem_submissions.services.leasing import held_account

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reader:
    """Whose history is read, by whom, and with what."""

    oem: str
    dealer: str
    run_id: str
    worker: str
    ledger: Ledger
    portal: Portal
    account: Callable[[], Account]
    parse: Callable[[dict[str, object]], ClaimModel]
    lease_seconds: float
    poll_seconds: float
    """Until the history is due again after a good read."""
    shelf: Callable[[Lease], SessionShelf | None] = lambda _: None


@dataclass(frozen=True)
class Reading:
    """What a read brought. The account's lease is held as long as it is worked with."""

    lease: Lease
    read_id: int
    listing: Listing | None
    """None when the history could not be read to its end: then nothing is known."""
    trouble: SubmissionError | None
    book: tuple[BookedClaim, ...]
    """The account's claims as they stood when the read began."""
    rules: Mapping[str, ListingRules | None]
    """By claim type."""


@contextmanager
def read_history(reader: Reader, since: Callable[[list[Claim]], datetime]) -> Iterator[Reading]:
    """Read the account's history back to `since`, and keep a note of that, or of what went wrong.

    What lost workers of the account left is put right first: whoever takes the lease next must do it. Raises
    `LeaseLost` when the account is another's; trouble of the portal is in the reading.
    """
    ledger = reader.ledger
    with held_account(ledger, reader.oem, reader.dealer, reader.run_id, reader.worker, reader.lease_seconds) as lease:
        for lost in ledger.recover(lease):
            _log.warning("claim %s: %s", lost.claim_id, lost.reason_text)
        claims = ledger.account_claims(reader.oem, reader.dealer)
        rules = {kind: reader.portal.listing_rules(kind) for kind in {claim.claim_type for claim, _ in claims}}
        start = _within(since([claim for claim, _ in claims]), rules)
        book = tuple(_booked(claim, seconds, start, rules, reader) for claim, seconds in claims)
        listing: Listing | None = None
        trouble: SubmissionError | None = None
        try:
            with reader.portal.session(reader.account(), reader.shelf(lease)) as session:
                listing = session.list_history(start)
        except StepFailed as failure:
            _log.warning("%s/%s: the history could not be read: %s", reader.oem, reader.dealer, failure)
            trouble = failure
        yield Reading(lease, _note(reader, lease, listing, trouble), listing, trouble, book, rules)


def _note(reader: Reader, lease: Lease, listing: Listing | None, trouble: SubmissionError | None) -> int:
    last = reader.ledger.last_history_read(reader.oem, reader.dealer)
    reason = trouble.reason if trouble else None
    failures = (last.failures if last else 0) + 1 if trouble else 0
    return reader.ledger.note_history_read(
        lease,
        (reader.oem, reader.dealer),
        (reader.run_id, reader.worker),
        reader.portal.pins,
        len(listing.filings) if listing else None,
        reason,
        trouble.text if trouble else "",
        failures,
        seconds_until_next_read(reason, failures, reader.poll_seconds),
    )


def _within(since: datetime, rules: Mapping[str, ListingRules | None]) -> datetime:
    """No portal lists what is older than its window, a day less for time zones."""
    days = [rule.shows_days for rule in rules.values() if rule is not None]
    return max(since, datetime.now(UTC) - timedelta(days=min(days) - 1)) if days else since


def _booked(
    claim: Claim,
    seconds: float | None,
    since: datetime,
    rules: Mapping[str, ListingRules | None],
    reader: Reader,
) -> BookedClaim:
    rule = rules[claim.claim_type]
    if rule is None:
        return BookedClaim(claim, None, seconds, must_be_listed=False)
    filed = claim.state in FILED and claim.reference is not None and seconds is not None
    settled = filed and (seconds or 0.0) >= rule.settle_minutes * 60
    # By when the claim came, not by when it was confirmed: a look may confirm it long after it was filed.
    return BookedClaim(claim, _likeness(claim, reader), seconds, settled and claim.created_at >= since)


def _likeness(claim: Claim, reader: Reader) -> Likeness | None:
    assert claim.natural_key is not None
    try:
        submission = Submission(claim.claim_id, reader.parse(claim.payload), claim.natural_key)
    except PayloadInvalid as invalid:  # the claim model has changed since
        _log.warning("claim %s can be told by its reference only: %s", claim.claim_id, invalid)
        return None
    return reader.portal.likeness(submission)
