"""What a piece of work costs: wall seconds, and CPU seconds of every process that works for us."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Cost:
    """Seconds, of one run or of one claim."""

    wall: float
    cpu: float

    def per(self, claims: int) -> Cost:
        """The share of one claim."""
        return Cost(self.wall / claims, self.cpu / claims)


class Meter:
    """CPU is that of this process and of `others`, with all their descendants, without the trees of `portals`.

    A process that ended is counted by its parent, which waited for it: so the sum over those that live, of their own
    time and of that of the children they waited for, never loses one. It counts in steps of 10 ms a process.
    """

    def __init__(self, others: tuple[int, ...] = (), portals: tuple[int, ...] = ()) -> None:
        self._own = psutil.Process()
        self._roots = [self._own, *map(psutil.Process, others)]
        self._portals = [psutil.Process(pid) for pid in portals]

    @contextlib.contextmanager
    def measure(self) -> Iterator[list[Cost]]:
        """The list holds the cost when the block has ended."""
        measured: list[Cost] = []
        # This process is read last and first: looking through the others costs CPU, too, and is not to be counted.
        others, own, wall = self._others(), _seconds(self._own), time.perf_counter()
        yield measured
        wall, own = time.perf_counter() - wall, _seconds(self._own) - own
        measured.append(Cost(wall, own + self._others() - others))

    def _others(self) -> float:
        ours, theirs = _trees(self._roots), _trees(self._portals)
        return sum(_seconds(process) for process in ours - theirs - {self._own})


def _trees(roots: list[psutil.Process]) -> set[psutil.Process]:
    return {process for root in roots for process in (root, *root.children(recursive=True))}


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
