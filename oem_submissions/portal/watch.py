"""Ends what a page holds up for ever: most calls of Playwright wait for the page's answer without a time-out.

`while (true);` in a script, a loop of dialogs, a frame that hangs: closing the context ends them all, and every call
that waits fails at once. Here is when; what follows from it is said by the session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from greenlet import greenlet  # type: ignore[import-untyped]

log = logging.getLogger(__name__)
LATE_SECONDS = 1.0
"""When the timer itself comes later than that, our own process stood still, and the page is given its time again."""


class Watch:
    """Calls `close` when the page gave no sign of life for so many seconds; `close` may use the sync Playwright."""

    def __init__(self, close: Callable[[], None], seconds: float) -> None:
        self._close, self._seconds = close, seconds
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False
        """Whether it did."""

    def alive(self) -> None:
        """A page answered, or something new is asked of it: the time begins anew."""
        self.rest()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._due)

    def rest(self) -> None:
        """Nothing is asked of a page now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        assert self._timer is not None
        late = asyncio.get_running_loop().time() - self._timer.when()
        self._timer = None
        if late > LATE_SECONDS:
            self.alive()
            return
        self.closed = True
        log.warning("The page gave no sign of life for %g seconds: its browser context is closed.", self._seconds)
        # The loop runs while somebody waits for Playwright; a greenlet may call it, as in Playwright's event handlers.
        ending: Any = greenlet(self._close)
        ending.switch()
