"""What people are shown of many claims at once: lines of the desk's lists, and what is counted. Pure records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import HELD, State


@dataclass(frozen=True)
class Held:
    """A claim whose outcome is not known, in a list."""

    claim: Claim
    since: datetime
    """When it came into the state that it is in."""
    clicked_at: datetime | None
    """When its last request left, or its click was armed at least."""


@dataclass(frozen=True)
class Dead:
    """A dead letter, in a list."""

    claim: Claim
    attempts: int
    """Over its whole life."""
    pack: str | None
    """Of the last attempt; None when there was none."""
    past_the_click: bool
    """Whether an attempt was armed: then redriving has it looked up."""


@dataclass(frozen=True)
class DeadKind:
    """Dead letters that have OEM, reason and pack in common."""

    oem: str
    reason: ReasonCode | None
    pack: str | None
    claims: int


@dataclass(frozen=True)
class QueueLine:
    """One OEM's queue, counted."""

    oem: str
    counts: Mapping[State, int]
    """Of the states that are not ends."""
    oldest_ready: datetime | None
    """When the claim that waits longest was taken in: not moved by retries and redrives."""
    last_tick: datetime | None
    """When its schedule was last evaluated."""

    @property
    def ready(self) -> int:
        """Claims that wait for their turn."""
        return self.counts.get(State.READY, 0)

    @property
    def running(self) -> int:
        """Claims that a worker has in hand, on either side of the click."""
        return sum(self.counts.get(state, 0) for state in (State.PREPARED, State.ARMED))

    @property
    def unknown(self) -> int:
        """Claims that are held."""
        return sum(self.counts.get(state, 0) for state in HELD)

    @property
    def dead(self) -> int:
        """Dead letters."""
        return self.counts.get(State.DEAD, 0)
