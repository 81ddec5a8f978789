"""Did this process stand still? Stopped, frozen with its machine, or starved, it notices nothing by itself.

A worker that stands still past the claim's SENT record may wake when its lease is long gone and the claim was looked up
as absent. What it wanted to send must not leave then: nobody else can stop it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clocks = Callable[[], tuple[float, ...]]
"""Seconds by several clocks, each from a start of its own."""


def clocks() -> tuple[float, ...]:
    """The time since the machine started, its sleep included where the system counts it, and the time of day.

    One alone misses something: a virtual machine that was frozen learns of it by the time of day only.
    """
    since_start = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
    return (since_start, time.time())


class Pulse:
    """Beats while the process runs. Once it lapsed it stays so."""

    def __init__(self, limit_seconds: float, clocks: Clocks = clocks) -> None:
        self._limit, self._clocks = limit_seconds, clocks
        self._last = clocks()
        self._lapsed = False

    def beat(self) -> bool:
        """Whether less than the limit has passed since the last beat, and always did."""
        now = self._clocks()
        passed = max(abs(at - before) for at, before in zip(now, self._last, strict=True))
        self._lapsed = self._lapsed or passed > self._limit
        self._last = now
        return not self._lapsed
