"""How a claim may end, and whether it ended so: pure facts against pure expectations. No portal, no ledger."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import FILED as FILED_STATES
from oem_submissions.domain.states import HELD as HELD_STATES
from oem_submissions.domain.states import State


@dataclass(frozen=True)
class Seen:
    """What became of one claim: what its portal filed, and what the ledger says."""

    filed: int
    """How often the portal filed it."""
    state: State
    reason: ReasonCode | None
    looks: int
    """How often the portal's history was asked for it."""
    absences: int
    """How often it was proven never to have been filed, and returned."""


@dataclass(frozen=True)
class Ending:
    """One way in which a claim may end."""

    says: str
    filed: int
    states: frozenset[State]
    posts: int
    """Requests that may have reached a submit path, at most."""
    reasons: frozenset[ReasonCode] = frozenset()
    """One of these; any, when there are none."""
    looked_up: bool | None = None
    """Whether the history had to be asked; None when either is right."""
    returned: bool = False
    """Whether it was filed only after it was proven absent."""

    def fits(self, seen: Seen) -> bool:
        """Whether the claim ended so."""
        return (
            seen.filed == self.filed
            and seen.state in self.states
            and (not self.reasons or seen.reason in self.reasons)
            and self.looked_up in (None, seen.looks > 0)
            and self.returned == (seen.absences > 0)
        )


_DONE, _REVIEW = frozenset({State.SYNCED}), frozenset({State.NEEDS_REVIEW})

FILED = Ending("filed once and confirmed", 1, _DONE, posts=1, looked_up=False)
FOUND = Ending("filed once, found by reconciliation", 1, _DONE, posts=1, looked_up=True)
FILED_AGAIN = Ending("proven absent, then filed once", 1, _DONE, posts=2, looked_up=True, returned=True)
REFUSED = Ending("refused, not filed", 0, frozenset({State.REJECTED}), posts=1)


def held(*reasons: ReasonCode, filed: int = 1) -> Ending:
    """Given to a person, and never filed again."""
    return Ending(f"{times(filed)}, held for a person", filed, _REVIEW, posts=1, reasons=frozenset(reasons))


def dead(*reasons: ReasonCode) -> Ending:
    """Stopped before the click."""
    says = "not filed, dead letter" + (f": {reasons[0]}" if len(reasons) == 1 else "")
    return Ending(says, 0, frozenset({State.DEAD}), posts=0, reasons=frozenset(reasons))


def without_history(ending: Ending) -> Ending:
    """What follows where the portal has no history that could be asked."""
    if not ending.looked_up:
        return ending
    return held(filed=0 if ending.returned else ending.filed)


def times(filed: int) -> str:
    """How often it was filed, in words."""
    return {0: "not filed", 1: "filed once", 2: "filed twice"}.get(filed, f"filed {filed} times")


def in_words(seen: Seen) -> str:
    """What happened."""
    because = f": {seen.reason}" if seen.reason else ""
    if seen.state is State.SYNCED:
        known = (FILED, FOUND, FILED_AGAIN)
        return next((one.says for one in known if one.fits(seen)), f"{times(seen.filed)}, confirmed")
    if seen.state is State.DEAD:
        return f"{times(seen.filed)}, dead letter{because}"
    if seen.state is State.REJECTED:
        return f"refused, {times(seen.filed)}{because}"
    if seen.state is State.NEEDS_REVIEW:
        return f"{times(seen.filed)}, held for a person{because}"
    if seen.state in HELD_STATES:
        return f"{times(seen.filed)}, still held{because}"
    if seen.state in FILED_STATES:
        return f"{times(seen.filed)}, confirmed, and the CRM was not told"
    return f"{times(seen.filed)}, left {seen.state}{because}"


def misfit(claim: Claim, seen: Seen, expected: Collection[Ending]) -> str | None:
    """The sentence that says how it ended otherwise than it may; None when it ended well."""
    if any(ending.fits(seen) for ending in expected):
        return None
    wanted = " or ".join(ending.says for ending in expected)
    said = f" ({claim.reason_text})" if claim.reason_text else ""
    return f"Claim {claim.claim_id} should be {wanted}; it is {in_words(seen)}{said}"
