"""When an account's history is read again. Pure: no clock, no portal, no ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from oem_submissions.domain.looking import ACCOUNT_PAUSE
from oem_submissions.domain.reasons import REASONS, FailureClass, ReasonCode
from oem_submissions.domain.records import DueWork

FRESH = 600.0
"""Seconds for which a read serves every partition of its account."""
_FIRST, _LONGEST = 600.0, 6 * 3600.0


@dataclass(frozen=True)
class HistoryRead:
    """The last time that an account's history was read, or was tried to be."""

    read_id: int
    at: datetime
    reason: ReasonCode | None
    """Why it could not be read; None when it was."""
    text: str
    failures: int
    """In a row, up to this one."""
    age_seconds: float
    """Since then, by the database's clock."""
    again_seconds: float
    """Until it is due again, by the database's clock; negative when it is overdue."""


@dataclass(frozen=True)
class DuePoll:
    """A partition whose dispositions want a run."""

    work: DueWork
    what: str
    """For the run key: which read, or which change, it is that the run follows."""
    overdue_seconds: float


def seconds_until_next_read(reason: ReasonCode | None, failures: int, every: float) -> float:
    """`every` after a read; after trouble 10, 20, 40 … minutes, at most 6 hours; after a refused log-in 8 hours.

    `failures` are those in a row, this one included.
    """
    if reason is None:
        return every
    pause = min(_FIRST * float(2 ** min(max(failures - 1, 0), 10)), _LONGEST)
    return max(pause, ACCOUNT_PAUSE) if _of_account(reason) else pause


def is_fresh(last: HistoryRead | None) -> bool:
    """Whether the history was read so lately that reading it again would tell nothing new."""
    return last is not None and last.reason is None and last.age_seconds < FRESH


def is_locked_out(last: HistoryRead | None) -> bool:
    """Whether the portal refused our log-in lately: the same bad log-in tried again and again locks the account."""
    refused = last is not None and last.reason in (ReasonCode.LOGIN_FAILED, ReasonCode.MFA_REQUIRED)
    return refused and last is not None and last.again_seconds > 0


def _of_account(reason: ReasonCode) -> bool:
    return REASONS[reason].failure_class is FailureClass.ACCOUNT
