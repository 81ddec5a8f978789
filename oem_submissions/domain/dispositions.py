"""What the OEM decided of a filed claim, in the portal's own time: states, moves, deadlines. Pure.

Never mixed with the submission's outcome (`states`): a claim that is denied was filed all the same. The portal is the
authority here, so a move that the table does not expect is kept as seen and flagged, never refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Disposition(StrEnum):
    """What the OEM says of a claim that it has."""

    UNDECIDED = "UNDECIDED"  # received, nothing is decided
    SUSPENDED = "SUSPENDED"  # the OEM waits for something, mostly for papers of the dealer's
    APPROVED = "APPROVED"  # will be paid
    DENIED = "DENIED"  # will not be paid
    PAID = "PAID"  # paid or credited
    CHARGED_BACK = "CHARGED_BACK"  # paid, and taken back by an audit
    UNRECOGNISED = "UNRECOGNISED"  # the portal says something that the pack does not know


D = Disposition

MOVES: dict[Disposition, frozenset[Disposition]] = {
    D.UNDECIDED: frozenset({D.SUSPENDED, D.APPROVED, D.DENIED, D.PAID}),
    D.SUSPENDED: frozenset({D.UNDECIDED, D.APPROVED, D.DENIED, D.PAID}),
    D.APPROVED: frozenset({D.PAID, D.SUSPENDED}),
    D.DENIED: frozenset({D.UNDECIDED, D.SUSPENDED, D.APPROVED}),  # an appeal
    D.PAID: frozenset({D.CHARGED_BACK}),
    D.CHARGED_BACK: frozenset({D.PAID}),  # a chargeback that was withdrawn
    D.UNRECOGNISED: frozenset(Disposition) - {D.UNRECOGNISED},  # what was before is not known, so anything may follow
}

FIRST = D.UNDECIDED
"""Where every filed claim begins, before the portal was asked."""
AWAITS_DECISION = frozenset({D.UNDECIDED, D.SUSPENDED, D.UNRECOGNISED})
"""In these states the deadline for the decision runs."""
POLLED = AWAITS_DECISION | {D.APPROVED}
"""In these states the portal is asked from time to time. A chargeback comes months later: the sweep sees it."""


@dataclass(frozen=True)
class Seen:
    """What the portal's history says of a claim now."""

    disposition: Disposition
    text: str
    """The portal's own words, untrusted, at most 500 characters."""


@dataclass(frozen=True)
class Standing:
    """A claim's disposition as the ledger has it."""

    claim_id: str
    disposition: Disposition
    text: str
    expected: bool
    """Whether the last move is one of the table's."""
    overdue: bool
    """The pack's deadline has passed without a decision."""
    version: int
    """Rises with every change."""
    crm_version: int | None
    """The `version` that the CRM was told; None when it was told none."""
    changed_at: datetime
    seen_at: datetime | None
    """When the portal last said so; None when it never listed the claim."""

    @property
    def needs_telling(self) -> bool:
        """Whether the CRM should be told something."""
        return self.crm_version != self.version


def is_expected(source: Disposition, target: Disposition) -> bool:
    """Whether the move is one that OEMs make. To `UNRECOGNISED` is no move: it is flagged for what it is."""
    return target in (source, D.UNRECOGNISED) or target in MOVES[source]
