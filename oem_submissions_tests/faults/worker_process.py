"""A worker as a process of its own, with real parts, that ends or stops itself at one of its durable writes.

What a durable write is nobody lists: every commit of the ledger's engine by the main thread (the heartbeat has one of
its own), every `put` of the evidence store, every write to the CRM and every request that can change something at the
portal is one, found by watching the parts.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import event

from adapters import registry
from oem_submissions import wiring
from oem_submissions.portal import runtime
from oem_submissions.portal.gate import SubmitGate
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.steps import Limits
from oem_submissions.ports import Portal
from oem_submissions.services.bound import Services
from oem_submissions.services.submit import Partition
from oem_submissions.settings import EnvironmentSecrets, Settings, read_settings


@dataclass(frozen=True)
class Job:
    """One run of a worker."""

    environment: dict[str, str]
    partition: Partition
    strike: int
    """Which write it dies at, from 1; 0: none."""
    after: bool
    """Whether the write is done by then."""
    log: Path
    """Gets a line per write."""
    only: tuple[str, ...] = ()
    """The names of the writes that count; none: every write, and of those `ALIKE` the first pair of a row."""
    lease_seconds: float = 60.0
    click_seconds: float = 20.0
    stops_at: str = ""
    """Where it stops itself (SIGSTOP), once, instead of dying: a write's name, with "before " or "after " in front."""
    standstill_seconds: float = 30.0


OUTWARD = ("commit moved ARMED", "request POST", "write_outcome", "commit crm_told SYNCED")
"""Writes that are struck after they are done, too: to die after any other is to die before the next, and that is."""
SLICE = (*OUTWARD, "commit sent", "commit moved CONFIRMED")
"""Those before which a world looks most different. Every write of the services, on parts that die in no time, is struck
by `services/test_submit.py`, `test_seal.py` and `test_reconcile.py`.
"""
SLICE_AFTER = ("request POST", "commit crm_told SYNCED")
"""Of those that are done, the ones that no other write of the slice follows at once."""
ALIKE = ("put", "commit evidence_kept")
"""Writes that come in rows, a pair for each piece of evidence: the first pair of a row stands for the others."""


class Strike:
    """Counts the writes of the main thread, and strikes at one side of one of them."""

    def __init__(self, job: Job) -> None:
        self._job, self._count = job, 0
        self._stops_at = job.stops_at
        self._row: set[str] = set()
        """What the row under way has of `ALIKE`."""
        self._log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.statement = ""
        """What the transaction under way is about: the event that it appends, or the table that it changes."""

    def around(self, name: str, write: Callable[[], Any]) -> Any:
        """Do the write, unless the worker dies first."""
        if threading.current_thread() is not threading.main_thread():
            return write()
        counts = name in self._job.only if self._job.only else name not in self._row
        self._row = {*self._row, name} if name in ALIKE else set()
        self._count += counts
        strikes = counts and self._count == self._job.strike  # asked now: in a request's writing, SENT is written
        if counts:
            os.write(self._log, f"{self._count} {name}\n".encode())
        self._side("before", name, strikes and not self._job.after)
        result = write()
        self._side("after", name, strikes and self._job.after)
        return result

    def _side(self, side: str, name: str, strikes: bool) -> None:
        if strikes:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._stops_at == f"{side} {name}":
            self._stops_at = ""
            os.kill(os.getpid(), signal.SIGSTOP)

    def watch(self, services: Services) -> Services:
        """The same services, with every write watched."""
        engine = services.ledger._engine  # type: ignore[attr-defined]
        commit = engine.dialect.do_commit

        def remember(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
            if threading.current_thread() is not threading.main_thread() or statement.startswith("SELECT"):
                return
            table = statement.split()[2 if statement.startswith("INSERT") else 1]
            if table == "events":
                self.statement = f"{values['kind']} {values['to_state'] or ''}".strip()
            else:
                self.statement = self.statement or table

        def watched(connection: Any) -> None:
            name, self.statement = self.statement, ""
            self.around(f"commit {name}", lambda: commit(connection))

        event.listen(engine, "before_cursor_execute", remember)
        engine.dialect.do_commit = watched
        return replace(
            services,
            evidence=Watched(services.evidence, "put", self),
            crm=Watched(services.crm, "write_outcome", self),
        )

    def watch_portal(self) -> None:
        """Every request that the gate sees and that is not a mere reading."""
        seen = SubmitGate._on_route

        def watched(gate: SubmitGate, route: Any, request: Any) -> None:
            if request.method in ("GET", "HEAD"):
                seen(gate, route, request)
            else:
                self.around(f"request {request.method}", lambda: seen(gate, route, request))

        SubmitGate._on_route = watched  # type: ignore[method-assign]


class Watched:
    """A port of which one method writes."""

    def __init__(self, target: Any, name: str, strike: Strike) -> None:
        self._target, self._name, self._strike = target, name, strike

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name != self._name:
            return value
        return lambda *args: self._strike.around(name, lambda: value(*args))


def settings_of(job: Job) -> Settings:
    """The job's settings."""
    patience = {"lease_seconds": job.lease_seconds, "click_seconds": job.click_seconds}
    return replace(read_settings(job.environment), **patience)  # type: ignore[arg-type]


def work(job: Job) -> None:
    """The life of the process: what a run does, from the portal to the CRM."""
    settings, secrets = settings_of(job), EnvironmentSecrets(job.environment)
    pack = load_pack(settings.selectors, job.partition.oem)
    runtime._checked.add((pack.digest, registry.adapter(job.partition.oem).digest))  # the goldens are not the subject
    limits = Limits(standstill_seconds=job.standstill_seconds)
    parts = {
        "secrets": secrets,
        "crm": wiring.salesforce(settings, secrets),
        "portals": lambda _: BrowserRuntime(registry.adapter, settings.selectors, settings.portal_urls, limits=limits),
    }
    with wiring.build(settings, **parts) as plain:
        strike = Strike(job)
        strike.watch_portal()
        services = strike.watch(plain)
        with services.portals("run") as portals:
            run(services, job.partition, f"process-{os.getpid()}", portals.portal(job.partition.oem))


def run(services: Services, partition: Partition, worker: str, portal: Portal) -> None:
    """One run over a partition."""
    services.submit(partition, f"run-{worker}", worker, portal)
    services.seal(partition, f"run-{worker}", worker)
    services.sync(partition, f"run-{worker}", worker)
