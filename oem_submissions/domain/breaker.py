"""When an OEM's portal, or one account of it, is left alone: the circuit breaker's rules. Pure: no clock, no ledger.

An OEM's breaker opens after failures in a row with one signature, or at the first drift: then nothing is filed there.
A probe, which fills a form and submits nothing, half-opens it; one claim may go, and closes it. An account's breaker
opens at the first refused log-in, and only a person half-opens it: a second bad log-in may lock the account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from oem_submissions.domain.reasons import REASONS, FailureClass, ReasonCode
from oem_submissions.domain.states import State

_FIRST, _LONGEST = 60.0, 1800.0
_LEFT_HALF_OPEN = 600.0
"""Seconds after which whoever half-opened a breaker is taken for gone."""
_OURS = frozenset({ReasonCode.LEASE_LOST, ReasonCode.WORKER_LOST_PRE_INTENT, ReasonCode.WORKER_LOST_POST_INTENT})
"""Our own trouble says nothing of the portal."""
LOCKS = frozenset({ReasonCode.LOGIN_FAILED, ReasonCode.MFA_REQUIRED})
"""Each such answer brings the account nearer to being locked."""


class Position(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"  # claims are filed
    OPEN = "open"  # nothing is filed
    HALF_OPEN = "half-open"  # one claim is filed, to see


class Note(StrEnum):
    """What the append-only log of a breaker says."""

    OPENED = "opened"
    PROBE_FAILED = "probe_failed"
    HALF_OPENED = "half_opened"
    CLOSED = "closed"


@dataclass(frozen=True)
class Breaker:
    """A breaker as its log has it. `dealer` is None for the OEM's."""

    oem: str
    dealer: str | None
    position: Position
    reason: ReasonCode | None
    """Why it opened, and the text of it; None while it is closed."""
    text: str | None
    seconds: float
    """Since the last entry of its log, by the database's clock."""
    tries: int
    """How often it opened, or a probe failed, since it was last closed."""

    @property
    def probe_is_due(self) -> bool:
        """Whether a probe may be tried. Never for an account: a person says when it works again."""
        if self.dealer is not None or self.position is Position.CLOSED:
            return False
        return self.seconds >= (self.pause if self.position is Position.OPEN else _LEFT_HALF_OPEN)

    @property
    def pause(self) -> float:
        """Seconds from the last entry to the next probe: doubled by every failed try, from a minute to half an hour."""
        return float(min(_FIRST * 2 ** min(max(self.tries - 1, 0), 10), _LONGEST))

    def sentence(self) -> str:
        """Why nothing is filed, and what ends it."""
        whose = f"account {self.oem}/{self.dealer}" if self.dealer else f"portal of {self.oem}"
        ends = (
            "after it was mended, redrive its dead letters, or close it with `oem-submissions breakers reset`"
            if self.dealer
            else f"the next probe is made {self.pause / 60:.0f} min after the last"
        )
        why = f"({ReasonCode.BREAKER_OPEN}), because of {self.reason}: {(self.text or '').rstrip('.')}"
        return f"The {whose} is left alone {why}. Next: {ends}."


@dataclass(frozen=True)
class Ending:
    """How an attempt at an OEM's portal ended."""

    state: State
    reason: ReasonCode | None
    step: str | None


class _Says(StrEnum):
    WELL = "well"
    FAULT = "fault"
    NOTHING = "nothing"


def _says(ending: Ending) -> _Says:
    """What the ending says of the portal."""
    reason = ending.reason
    if reason is None or ending.state in (State.AWAITING_REFERENCE, State.REJECTED):
        return _Says.WELL
    failure = REASONS[reason].failure_class
    if failure is FailureClass.BUSINESS:
        return _Says.WELL  # it read the claim, and answered
    if reason in _OURS or failure in (FailureClass.ACCOUNT, FailureClass.SCHEDULING):
        return _Says.NOTHING
    return _Says.FAULT


def trips(newest_first: Sequence[Ending], limit: int) -> Ending | None:
    """The ending that opens the OEM's breaker: the first drift, or the last of `limit` faults alike in a row."""
    telling = [ending for ending in newest_first if _says(ending) is not _Says.NOTHING]
    if not telling or _says(telling[0]) is _Says.WELL:
        return None
    last = telling[0]
    assert last.reason is not None
    if REASONS[last.reason].failure_class is FailureClass.DRIFT:
        return last
    row = telling[:limit]
    alike = all((ending.reason, ending.step) == (last.reason, last.step) for ending in row)
    return last if len(row) == limit and alike else None


def is_fault(ending: Ending) -> bool | None:
    """Whether portal or robot failed; None when the ending says nothing of them. A refusal of the claim is no fault."""
    said = _says(ending)
    return None if said is _Says.NOTHING else said is _Says.FAULT


def is_well(ending: Ending) -> bool:
    """Whether the portal worked: then a half-open breaker closes."""
    return _says(ending) is _Says.WELL
