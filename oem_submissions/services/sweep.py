"""The nightly sweep of an account: the portal's history against the ledger, in both directions. It only reports.

No claim is moved and nothing is filed: what is found, a person looks at. What the OEM decided is kept on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from oem_submissions.domain.failures import SubmissionError
from oem_submissions.domain.polling import is_locked_out
from oem_submissions.domain.records import Claim
from oem_submissions.domain.sweeping import Sweep, compare
from oem_submissions.services.dispositions import take_decisions
from oem_submissions.services.history import Reader, Reading, read_history

_LONGEST = timedelta(days=3660)
"""The pack's window is shorter in every case."""


@dataclass(frozen=True)
class Swept:
    """What a sweep found, and the trouble that kept it from finding anything."""

    sweep: Sweep
    trouble: SubmissionError | None = None


def sweep_account(reader: Reader) -> Swept:
    """Read the account's whole history, compare, and keep what was found. Raises `LeaseLost`."""
    ledger, oem, dealer = reader.ledger, reader.oem, reader.dealer
    last = ledger.last_history_read(oem, dealer)
    if is_locked_out(last):
        assert last is not None
        hours = last.again_seconds / 3600
        text = f"Nothing is concluded: the portal refused our log-in; not tried again for {hours:.1f} hours."
        sweep = Sweep((), False, f"{text} {last.text}")
        ledger.add_sweep(None, oem, dealer, sweep)
        return Swept(sweep)
    with read_history(reader, _everything) as reading:
        take_decisions(reading, ledger)
        sweep = _compared(reading, reader)
        ledger.add_sweep(reading.read_id, oem, dealer, sweep)
    return Swept(sweep, reading.trouble)


def _everything(_: list[Claim]) -> datetime:
    return datetime.now(UTC) - _LONGEST


def _compared(reading: Reading, reader: Reader) -> Sweep:
    if reading.listing is None:
        return Sweep((), False, f"Nothing is concluded: the history could not be read. {reading.trouble}")
    numbers = {filing.number for filing in reading.listing.filings if filing.number}
    holders = reader.ledger.holders(reader.oem, numbers)
    elsewhere = {number: claim for number, claim in holders.items() if claim.dealer != reader.dealer}
    begins = reader.ledger.account_begins(reader.oem, reader.dealer)
    return compare(reading.listing, reading.book, elsewhere, begins)
