"""What people are shown of many claims at once: lines of the desk's lists, and what is counted. Pure records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class EndedAttempts:
    """Attempts at claims that ended alike, counted."""

    oem: str
    state: State
    """That they left their claims in."""
    reason: ReasonCode | None
    attempts: int


@dataclass(frozen=True)
class StepSeconds:
    """How long a part of filing takes at an OEM."""

    oem: str
    step: str
    """`fill`, `click`, `answer`, `confirm`, `seal` or `sync`."""
    median: float
    p95: float


@dataclass(frozen=True)
class AccountLeases:
    """An OEM's accounts that are held now, and the workers it lost."""

    oem: str
    held: int
    overdue: int
    """Of those held: run out, and put right by nobody yet."""
    lost: int
    """Leases that ran out and were taken over, since the ledger began."""


@dataclass(frozen=True)
class OpenAlerts:
    """Alerts of one kind whose cause is not gone, counted."""

    kind: str
    oem: str | None
    alerts: int


@dataclass(frozen=True)
class Measures:
    """What monitoring reads, beside what the desk's lists count."""

    at: datetime
    """By the database's clock."""
    ended: Sequence[EndedAttempts]
    """In the last hour."""
    steps: Sequence[StepSeconds]
    """Of the last hour's confirmed attempts."""
    leases: Sequence[AccountLeases]
    alerts: Sequence[OpenAlerts]
