"""How often an OEM's claims are filed, and which period a claim belongs to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Grain = Literal["day", "week", "month"]


@dataclass(frozen=True)
class Cadence:
    """An OEM's rhythm: when to enqueue, and the grain of its partitions."""

    cron: str
    timezone: str
    """IANA name; the cron runs in it."""
    period: Grain

    def period_of(self, due_on: date) -> str:
        """The key of the period that holds the day: the day itself, its week's Sunday, or its month's first day."""
        match self.period:
            case "day":
                start = due_on
            case "week":
                start = due_on - timedelta(days=(due_on.weekday() + 1) % 7)
            case "month":
                start = due_on.replace(day=1)
        return start.isoformat()
