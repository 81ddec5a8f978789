"""The deliverer: gives each channel what it was not told yet, in order, at least once. Any number may run.

A channel has a lock of its own in the ledger, a thread of its own here, and is left alone for a while when it fails.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from oem_submissions.alerts.channels import Channel
from oem_submissions.alerts.message import Links, bare_message_of, message_of
from oem_submissions.domain.records import AlertKind, NewAlert
from oem_submissions.ports import Ledger

_MOST, _PASS_SECONDS, _THREADS = 50, 20.0, 4
_BARE_AFTER = 5
"""Failures in a row."""


@dataclass(frozen=True)
class Backoff:
    """How long a channel is left alone after its nth failure in a row."""

    first_seconds: float = 10.0
    most_seconds: float = 600.0

    def seconds(self, failures: int) -> float:
        """Doubles from the first on."""
        return float(min(self.first_seconds * 2 ** min(failures, 20), self.most_seconds))


@dataclass(frozen=True)
class Delivered:
    """What became of a channel's turn."""

    channel: str
    sent: int
    problem: str = ""


@dataclass(frozen=True)
class Deliverer:
    """The channels of an installation, and where their messages come from."""

    ledger: Ledger
    channels: Sequence[Channel]
    links: Links
    backoff: Backoff = Backoff()

    def deliver(self, now: datetime | None = None) -> list[Delivered]:
        """One turn of every channel. Raises `LedgerUnavailable`."""
        self.ledger.see_channels([channel.name for channel in self.channels], now)
        if not self.channels:
            return []
        with ThreadPoolExecutor(_THREADS, "alerts") as pool:
            done = list(pool.map(lambda channel: self._turn(channel, now), self.channels))
        for channel, turn in zip(self.channels, done, strict=True):
            if turn.problem:
                text = f"The alert channel {channel.name} does not work: {turn.problem}."
                self.ledger.raise_alert(NewAlert(channel.key, AlertKind.CHANNEL_BROKEN, text), now)
            elif turn.sent:
                self.ledger.resolve_alert(channel.key, now)
        return done

    def _turn(self, channel: Channel, now: datetime | None) -> Delivered:
        """In order, up to the first that is not taken. A crash between a sending and its note sends twice."""
        sent, end = 0, time.monotonic() + _PASS_SECONDS
        with self.ledger.delivering(channel.name, now) as outbox:
            if outbox is None:
                return Delivered(channel.name, 0)
            for told in outbox.pending(_MOST):
                if not channel.wants(told):
                    outbox.passed(told.number, sent=False)
                    continue
                problem = channel.send(message_of(told, self.links))
                if problem and outbox.failures() >= _BARE_AFTER:  # one that is never taken must not hold up the others
                    problem = channel.send(bare_message_of(told, self.links))
                if problem:
                    outbox.failed(problem, self.backoff.seconds(outbox.failures()))
                    return Delivered(channel.name, sent, problem)
                outbox.passed(told.number, sent=True)
                sent += 1
                if time.monotonic() > end:
                    break
        return Delivered(channel.name, sent)
