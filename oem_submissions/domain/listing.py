"""An account's whole history as the portal lists it, and how its rows are held against claims. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from oem_submissions.domain.dispositions import Seen
from oem_submissions.domain.outcomes import Reference, Unknown


@dataclass(frozen=True)
class ListingRules:
    """What the pack says of the list of such claims."""

    settle_minutes: int
    """After the filing; before that, its absence proves nothing."""
    shows_days: int
    """How far back the portal lists filings."""
    decision_days: int | None
    """After the filing the OEM must have decided; None when the list shows no decision."""


@dataclass(frozen=True)
class Likeness:
    """What a list shows of a claim, normalised so that two can be compared: one line, capitals, NFKC."""

    fields: Mapping[str, str]
    """By the form's field name: the columns that identify a claim."""
    identity: tuple[str, ...] | None
    """The values of the claim's natural key; None where the columns don't show all of it."""

    def differs(self, other: Likeness) -> tuple[str, ...]:
        """The fields in which the two differ."""
        return tuple(name for name, value in self.fields.items() if other.fields.get(name) != value)


@dataclass(frozen=True)
class ListedFiling:
    """One filing in the portal's history."""

    claim_type: str
    cells: Mapping[str, str]
    """The row by column heading; untrusted."""
    reference: Reference | Unknown
    """Well-formed, or why there is none (`REFERENCE_MISSING`: not yet)."""
    likeness: Likeness
    our_reference: str | None
    """Our claim id, if the portal shows what stood in "your reference"; untrusted."""
    submitted_at: datetime | None
    """UTC, if the list shows it."""
    seen: Seen | None
    """The OEM's decision; None when the list shows none."""

    @property
    def number(self) -> str | None:
        """The well-formed reference."""
        return self.reference.value if isinstance(self.reference, Reference) else None

    @property
    def name(self) -> str:
        """The filing in words, for people."""
        said = "" if isinstance(self.reference, Reference) else f" ({self.reference.text})"
        return self.number or f"a filing without a valid reference{said}"


@dataclass(frozen=True)
class Listing:
    """An account's filings, all pages of them, newest window first or last as the portal has it."""

    oem: str
    filings: tuple[ListedFiling, ...]
    claim_types: tuple[str, ...]
    """Those whose lists were read."""
    since: datetime
    """The list is read back to here; older filings may be in it or not."""
    pages: int
    complete: bool
    """Whether the portal's own count of rows agrees with what was read, to the last page."""
    others: int = 0
    """Rows that are filings of no claim type of ours."""
