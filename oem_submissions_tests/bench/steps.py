"""Where a claim's time goes: wall seconds by step, the ledger's and the store's writes apart from the browser's."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from oem_submissions.portal import answer, session, steps

OUTSIDE = "between the steps"
HISTORY = "history (second oracle)"
CONTEXT = "browser context"


class Timeline:
    """Seconds by name, each moment under one name only: the innermost."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._names = [OUTSIDE]
        self._since = time.perf_counter()

    def begin(self, name: str) -> None:
        """From now on it is this, but for what is inside it."""
        self._count()
        self._names[0] = name

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """All of the block is this."""
        self._count()
        self._names.append(name)
        try:
            yield
        finally:
            self._count()
            self._names.pop()

    def _count(self) -> None:
        now = time.perf_counter()
        self.seconds[self._names[-1]] += now - self._since
        self._since = now

    def timed(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The same call, under that name."""

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.inside(name):
                return call(*arguments, **named)

        return timed


class Timed:
    """A part whose public calls are counted, as `what` or as `what: call`."""

    def __init__(self, part: Any, timeline: Timeline, what: str) -> None:
        self._part, self._timeline, self._what = part, timeline, what

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        return self._timeline.timed(value, f"{self._what}: {name}") if callable(value) else value


class _Steps(logging.Handler):
    """The walk logs every step that it begins."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(logging.INFO)
        self._timeline = timeline

    def emit(self, record: logging.LogRecord) -> None:
        self._timeline.begin(record.__dict__["step"])


@contextmanager
def watched(timeline: Timeline) -> Iterator[None]:
    """The portal's steps are counted in the block."""
    own, handler, level = session.BrowserSession, _Steps(timeline), steps.log.level
    steps.log.addHandler(handler)
    steps.log.setLevel(logging.INFO)
    steps.log.propagate = False
    try:
        with (
            patch.object(answer.history, "list_filings", timeline.timed(answer.history.list_filings, HISTORY)),
            patch.object(own, "_walk_of", timeline.timed(own._walk_of, CONTEXT)),
            patch.object(own, "prepare", _outside(timeline, own.prepare)),
            patch.object(own, "submit", _outside(timeline, own.submit)),
        ):
            yield
    finally:
        steps.log.removeHandler(handler)
        steps.log.setLevel(level)
        steps.log.propagate = True
        timeline.begin(OUTSIDE)


def _outside(timeline: Timeline, method: Callable[..., Any]) -> Callable[..., Any]:
    """When it returns, no step is under way."""

    def counted(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        finally:
            timeline.begin(OUTSIDE)

    return counted
