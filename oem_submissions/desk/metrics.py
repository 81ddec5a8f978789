"""`/metrics`: what Prometheus scrapes. Figures per OEM, reason and step; never per dealer or claim.

Read from the ledger and not counted by this process, so that every replica of the desk says the same and a restart
loses nothing. What is no running total in the ledger is a gauge, with its window in its name.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from oem_submissions.desk.access import current_user
from oem_submissions.desk.door import METRICS
from oem_submissions.desk.operating import GateLine
from oem_submissions.desk.room import Room
from oem_submissions.domain.overview import DeadKind, Measures, QueueLine
from oem_submissions.domain.releases import ReleaseState

FRESH_SECONDS = 5.0
"""For so long figures are given again without asking the ledger, however many ask."""
GATE_SECONDS = 60.0
"""Likewise for the gates: a streak is computed from the whole chains of the last runs' claims."""
_PREFIX = "oem_submissions_"
T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """All figures but the gates', of one moment."""

    queues: Sequence[QueueLine]
    measures: Measures
    dead: Sequence[DeadKind]
    seconds: float
    """That it took to read them."""


class Kept(Generic[T]):
    """What was read last, while it is fresh. One reads at a time; an error is nobody's but the reader's."""

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._seconds, self._until = seconds, 0.0
        self._known: T | None = None

    def fresh(self, read: Callable[[], T]) -> T:
        """It, read anew when it is old."""
        with self._lock:
            if self._known is None or time.monotonic() >= self._until:
                self._known = read()
                self._until = time.monotonic() + self._seconds
            return self._known


@dataclass(frozen=True)
class Metrics(Room):
    """`/metrics`, for whoever may see the desk: a machine with a viewer's token, or this machine's own user."""

    figures: Kept[Snapshot] = field(default_factory=lambda: Kept(FRESH_SECONDS))
    gates: Kept[list[GateLine]] = field(default_factory=lambda: Kept(GATE_SECONDS))

    def routes(self) -> list[Route]:
        """The room's address."""
        return [Route(METRICS, self.scraped)]

    def scraped(self, request: Request) -> Response:
        """The figures, as text or OpenMetrics, as is asked for."""
        current_user(request)
        snapshot, gates = self.figures.fresh(self._read), self.gates.fresh(self._read_gates)
        registry = CollectorRegistry()  # not the process's: that tells of Python, and of what any library adds
        registry.register(SnapshotCollector(snapshot, gates))
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    def _read(self) -> Snapshot:
        begun, oems = time.monotonic(), self.operating.oems()
        queues, measures = self.reader.queue_lines(oems), self.reader.measures(oems)
        return Snapshot(queues, measures, self.reader.dead_kinds(), time.monotonic() - begun)

    def _read_gates(self) -> list[GateLine]:
        return [self.operating.gate_line(oem) for oem in self.operating.oems()]


class SnapshotCollector(Collector):
    """A snapshot and the gates as metric families."""

    def __init__(self, snapshot: Snapshot, gates: Sequence[GateLine]) -> None:
        self._snapshot, self._gates = snapshot, gates

    def describe(self) -> list[Metric]:
        """Nothing is asked for its names before it is scraped."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family, in a fixed order, also those without a sample."""
        yield from _queues(self._snapshot.queues, self._snapshot.measures.at)
        yield from _work(self._snapshot.measures, self._snapshot.dead)
        yield from _leases(self._snapshot.measures)
        yield from _gates(self._gates)
        yield _gauge("ledger_read_seconds", "What it took to read these figures.", [], [((), self._snapshot.seconds)])


Samples = Sequence[tuple[Sequence[str], float]]


def _gauge(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
    for values, number in samples:
        family.add_metric(list(values), number)
    return family


def _queues(lines: Sequence[QueueLine], now: datetime) -> Iterator[Metric]:
    def age(line: QueueLine) -> float:
        return max(0.0, (now - line.oldest_ready).total_seconds()) if line.oldest_ready else 0.0

    ticks = [((line.oem,), line.last_tick.timestamp()) for line in lines if line.last_tick]
    of = ["oem"]
    yield _gauge("queue_age_seconds", "Since the claim that waits longest was taken in; 0 when none waits.", of,
                 [((line.oem,), age(line)) for line in lines])  # fmt: skip
    yield _gauge("claims_ready", "Claims that wait for their turn.", of, [((q.oem,), q.ready) for q in lines])
    yield _gauge("claims_running", "Claims that a worker has in hand.", of, [((q.oem,), q.running) for q in lines])
    yield _gauge("claims_unknown", "Claims that are held: look-ups or people decide.", of,
                 [((line.oem,), line.unknown) for line in lines])  # fmt: skip
    yield _gauge("last_tick_timestamp_seconds", "When the schedule was last evaluated, in Unix time.", of, ticks)


def _work(measures: Measures, dead: Sequence[DeadKind]) -> Iterator[Metric]:
    letters: Counter[tuple[str, str]] = Counter()
    for kind in dead:
        letters[kind.oem, kind.reason or ""] += kind.claims
    yield _gauge("dead_letters", "What ended before the click and waits for a person.", ["oem", "reason"],
                 list(letters.items()))  # fmt: skip
    yield _gauge("attempts_last_hour", "Attempts that ended, by the state that they left their claim in.",
                 ["oem", "outcome", "reason"],
                 [((e.oem, e.state, e.reason or ""), e.attempts) for e in measures.ended])  # fmt: skip
    steps = [
        ((took.oem, took.step, quantile), seconds)
        for took in measures.steps
        for quantile, seconds in (("0.5", took.median), ("0.95", took.p95))
    ]
    yield _gauge("step_seconds_last_hour", "Of the attempts that were confirmed.", ["oem", "step", "quantile"], steps)
    yield _gauge("open_alerts", "Alerts whose cause is not gone.", ["oem", "kind"],
                 [((alerts.oem or "", alerts.kind), alerts.alerts) for alerts in measures.alerts])  # fmt: skip


def _leases(measures: Measures) -> Iterator[Metric]:
    lines, of = measures.leases, ["oem"]
    yield _gauge(
        "leases_held", "Portal accounts that a worker holds.", of, [((line.oem,), line.held) for line in lines]
    )
    yield _gauge("leases_overdue", "Of those, leases that ran out and that nobody has put right.", of,
                 [((line.oem,), line.overdue) for line in lines])  # fmt: skip
    lost = CounterMetricFamily(f"{_PREFIX}leases_lost", "Leases that ran out: their workers are lost.", labels=of)
    for line in lines:
        lost.add_metric([line.oem], line.lost)
    yield lost


def _gates(gates: Sequence[GateLine]) -> Iterator[Metric]:
    streaks = [((line.oem,), float(line.streak.count)) for line in gates if line.streak]
    yield _gauge("clean_runs", "Clean runs in a row of the release that people ask about.", ["oem"], streaks)
    states = [
        ((line.oem, state), float(line.release.state is state))
        for line in gates
        if line.release
        for state in ReleaseState
    ]
    yield _gauge("release_state", "1 for the state that the release is in.", ["oem", "state"], states)
