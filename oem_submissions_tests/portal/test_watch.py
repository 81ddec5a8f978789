"""When a page that says nothing is given up: not when it was our own process that stood still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from oem_submissions.portal import watch
from oem_submissions.portal.watch import LATE_SECONDS, Watch


@dataclass
class Timer:
    at: float
    due: Callable[[], None]
    cancelled: bool = False

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Loop:
    """An event loop whose clock a test turns."""

    now: float = 0.0
    timers: list[Timer] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, due: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + seconds, due))
        return self.timers[-1]

    def turn_to(self, now: float) -> None:
        self.now = now
        for timer in [timer for timer in self.timers if timer.at <= now]:
            self.timers.remove(timer)
            if not timer.cancelled:
                timer.due()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr(watch.asyncio, "get_running_loop", lambda: made)  # type: ignore[attr-defined]
    return made


def test_a_page_is_closed_once_when_it_was_silent_for_too_long_and_only_while_it_is_asked(loop: Loop) -> None:
    closed: list[float] = []
    watching = Watch(lambda: closed.append(loop.now), 60.0)
    watching.alive()
    loop.turn_to(50.0)
    watching.alive()
    loop.turn_to(70.0)
    assert not watching.closed
    watching.rest()
    loop.turn_to(500.0)
    assert closed == []
    watching.alive()
    loop.turn_to(560.0)
    loop.turn_to(999.0)
    assert (watching.closed, closed) == (True, [560.0])


def test_a_process_that_stood_still_gives_the_page_its_time_again(loop: Loop) -> None:
    watching = Watch(lambda: None, 60.0)
    watching.alive()
    loop.turn_to(61.0 + LATE_SECONDS)
    assert not watching.closed
    loop.turn_to(121.0 + LATE_SECONDS)
    assert watching.closed
