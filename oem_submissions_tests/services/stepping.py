"""Workers that take one step at a time, in any order that a test wants: each stops before every call to the outside.

A worker that is not stepped on is a stopped process; one that is killed writes nothing more, whatever it has to clean
up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from greenlet import greenlet

from oem_submissions.domain.records import Lease


class Killed(BaseException):
    """The worker is gone: nothing catches it."""


class Worker:
    """A body that runs until it is about to reach outside, and goes on when it is told to."""

    def __init__(self, name: str, body: Callable[[Worker], object], endings: tuple[type[Exception], ...]) -> None:
        self.name, self.at = name, "begin"
        """`at`: what it is about to do."""
        self.lease: Lease | None = None
        """The last one that it got."""
        self.dead = self.ended = False
        self._endings = endings
        self._greenlet = greenlet(lambda: self._run(body))

    def _run(self, body: Callable[[Worker], object]) -> None:
        try:
            body(self)
        except self._endings as expected:
            self.at = f"ended: {expected}"
        except Killed:
            self.at = "killed"
        finally:
            self.ended = True

    def pause(self, about_to: str) -> None:
        """Stop here until the next step."""
        if not self.dead:
            self.at = about_to
            self._greenlet.parent.switch()
        if self.dead:
            raise Killed

    def step(self, steps: int = 1) -> None:
        """Do what it is about to do, and so on."""
        for _ in range(steps):
            if not self.ended:
                self._greenlet.switch()

    def finish(self) -> None:
        """Step to the end, or to where it waits for another worker."""
        for _ in range(2000):
            if self.ended or self.at == WAIT:
                return
            self.step()
        raise AssertionError(f"{self.name} does not come to an end; it is about to {self.at}")

    def run_until(self, about_to: str) -> None:
        """Step until it is about to do that; to the end if it never is."""
        for _ in range(2000):
            if self.ended or self.at in (WAIT, about_to):
                return
            self.step()

    def kill(self) -> None:
        """The process is gone."""
        self.dead = True
        if not self.ended:
            self._greenlet.switch()
        self.ended = True


WAIT = "wait for the account"


class Stepped:
    """Any port, as one worker reaches it: it stops before each call."""

    def __init__(self, target: Any, worker: Worker) -> None:
        self._target, self._worker = target, worker

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def stepped(*args: Any, **kwargs: Any) -> Any:
            self._worker.pause(name)
            return value(*args, **kwargs)

        return stepped


class SteppedLedger(Stepped):
    """The ledger, as one worker reaches it. Its heartbeat is the test's to give, by the test's clock."""

    def renew_lease(self, lease: Lease, seconds: float) -> Lease:
        return lease

    def acquire_lease(self, *args: Any) -> Lease | None:
        self._worker.pause("acquire_lease")
        self._worker.lease = self._target.acquire_lease(*args)
        return self._worker.lease


class PatientLedger(SteppedLedger):
    """The same, for a worker that waits until it gets the account."""

    def acquire_lease(self, *args: Any) -> Lease | None:
        about_to = itertools.chain(["acquire_lease"], itertools.repeat(WAIT))
        while self._worker.lease is None:
            self._worker.pause(next(about_to))
            self._worker.lease = self._target.acquire_lease(*args)
        return self._worker.lease
