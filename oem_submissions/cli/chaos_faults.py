"""The faults of `oem-submissions chaos`: one table, what each does and how it is undone.

Which fault strikes when is a plan that follows from the seed alone. What it strikes depends on the machine: a worker
can only be killed while there is one.

Two faults of the simulator are not here. `double_processing` files twice by itself, whatever we do.
`no_duplicate_check` is set all the time: the portal that has such a check would hide a second click of ours.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import psutil
import requests

from adapters.registry import ADAPTERS
from oem_submissions.cli.demo import Demo
from oem_submissions.cli.stack import CODE_SERVER
from oem_submissions.defs.warm_pool import pool_below
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.states import State

OPERATOR = "chaos"
"""Who redrives and enqueues, in the ledger."""


class NothingToStrike(Exception):
    """The fault found nothing that it could have struck: a sentence."""


@dataclass(frozen=True)
class Strike:
    """One fault of the plan. `die`, from 0 to 1, decides whatever is left to chance."""

    fault: Fault
    oem: str
    die: float
    pause: float
    """Seconds until the next."""


@dataclass(frozen=True)
class Undo:
    """What ends a fault, and after how many seconds."""

    seconds: float
    act: Callable[[], None]


@dataclass
class Ground:
    """What the faults strike."""

    demo: Demo
    lease_seconds: float
    down: set[str] = field(default_factory=set)
    """Processes that are down on purpose, by name: nobody starts them but the fault's end."""
    bitten: dict[str, int] = field(default_factory=dict)
    """Faults of the portals that were taken away, by how many had fired."""

    def reached(self) -> Demo:
        """The system, when its portals are up. Raises `NothingToStrike`."""
        if self.demo.simulated.process.name in self.down:
            raise NothingToStrike("the portals are down")
        return self.demo


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    name: str
    does: str
    weight: int
    """How often it is in the deck from which the plan is dealt."""
    strike: Callable[[Ground, Strike], Undo | None]
    at_portal: bool = False
    """Whether it waits at the portal until a request meets it: it counts when it has fired."""


# --- at the portals -----------------------------------------------------------------------------------------------


def _once(fault: str, times: int = 1, seconds: float | None = None) -> Callable[[Ground, Strike], None]:
    def strike(ground: Ground, strike: Strike) -> None:
        ground.reached().portals.set_fault(strike.oem, fault, times=times, seconds=seconds)

    return strike


def _for_a_while(fault: str, lasts: float, seconds: float | None = None) -> Callable[[Ground, Strike], Undo]:
    def strike(ground: Ground, strike: Strike) -> Undo:
        portals = ground.reached().portals
        portals.set_fault(strike.oem, fault, seconds=seconds)

        def end() -> None:
            fired = sum(f["fired"] > 0 for f in portals.faults() if (f["oem"], f["fault"]) == (strike.oem, fault))
            ground.bitten[fault] = ground.bitten.get(fault, 0) + fired
            portals.clear_faults(strike.oem, fault)

        return Undo(lasts, end)

    return strike


def _portal(name: str, does: str, weight: int, strike: Callable[[Ground, Strike], Undo | None]) -> Fault:
    return Fault(name, does, weight, strike, at_portal=True)


# --- workers ------------------------------------------------------------------------------------------------------


def _kill_worker(ground: Ground, strike: Strike) -> None:
    _worker(ground, strike).kill()


def _pause_worker(ground: Ground, strike: Strike) -> Undo:
    """Its lease runs out, another takes the account, and then it wakes up and goes on."""
    worker = _worker(ground, strike)
    worker.suspend()

    def wake() -> None:
        try:
            worker.resume()
        except psutil.NoSuchProcess:
            pass  # killed while it slept

    return Undo(ground.lease_seconds + 6, wake)


def _worker(ground: Ground, strike: Strike) -> psutil.Process:
    """A run's process that holds a lease. The ledger's own sensors hold one, too: their names have an `@`."""
    holders = [lease.worker for lease in ground.demo.ledger.held_leases() if "@" not in lease.worker]
    mine = [name.rsplit(":", 1)[1] for name in holders if name.startswith(f"{socket.gethostname()}:")]
    alive = [int(pid) for pid in mine if psutil.pid_exists(int(pid))]
    if not alive:
        raise NothingToStrike("no worker holds a lease")
    return psutil.Process(alive[int(strike.die * len(alive))])


# --- processes ----------------------------------------------------------------------------------------------------


def _portal_outage(ground: Ground, strike: Strike) -> Undo:
    """Killed, not stopped: a claim may be filed and its answer never sent."""
    simulated = ground.reached().simulated
    ground.down.add(simulated.process.name)
    simulated.process.kill(with_children=True)

    def back() -> None:
        simulated.start_again()
        ground.down.discard(simulated.process.name)

    return Undo(5 + 12 * strike.die, back)


def _lost(*names: str, with_children: bool = True) -> Callable[[Ground, Strike], Undo]:
    def strike(ground: Ground, strike: Strike) -> Undo:
        if down := ground.down.intersection(names):
            raise NothingToStrike(f"{', '.join(sorted(down))} is down")
        ground.down.update(names)
        processes = [ground.demo.up.process(name) for name in names]
        for process in processes:
            process.kill(with_children)

        def back() -> None:
            for process in processes:
                process.start()
            ground.down.difference_update(names)

        return Undo(1 + 6 * strike.die, back)

    return strike


def _machine_lost(ground: Ground, strike: Strike) -> Undo:
    """The workers' machine, where daemon and code server run, too."""
    undo = _lost("dagster-daemon", CODE_SERVER)(ground, strike)
    pool_below(ground.demo.up.environment["DAGSTER_HOME"]).kill()
    return undo


def _database(mode: Literal["fast", "immediate"]) -> Callable[[Ground, Strike], None]:
    def strike(ground: Ground, strike: Strike) -> None:
        postgres = ground.demo.up.postgres
        assert postgres is not None, "chaos runs on a database of its own"
        postgres.shut_down(mode)
        try:
            time.sleep(4 * strike.die)  # the outage itself
        finally:
            postgres.start_again()

    return strike


def _crm(fault: str, times: int | None, seconds: float | None = None) -> Callable[[Ground, Strike], None]:
    def strike(ground: Ground, strike: Strike) -> None:
        ground.reached().crm.set_fault(fault, times=times, seconds=seconds)

    return strike


# --- people and schedules -----------------------------------------------------------------------------------------


def _duplicate_ticks(ground: Ground, strike: Strike) -> None:
    for _ in range(5):
        ground.demo.ledger.request_enqueue(strike.oem, (), None, OPERATOR)


def _backfill(ground: Ground, strike: Strike) -> None:
    """Of partitions that are filed, and of others: what the UI's dialog asks for."""
    claims = ground.demo.ledger.all_claims(strike.oem)
    keys = sorted({f"{claim.dealer}|{claim.period}" for claim in claims if claim.state is not State.DEAD})
    if not keys:
        raise NothingToStrike(f"{strike.oem} has no partition yet")
    chosen = random.Random(strike.die).sample(keys, min(2, len(keys)))  # noqa: S311 - seeded chance
    mutation = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
        ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
    assets = [{"path": [strike.oem, name]} for name in ("submission_results", "evidence_bundles", "crm_sync")]
    params = {"assetSelection": assets, "partitionNames": chosen, "tags": []}
    body = {"query": mutation, "variables": {"p": params}}
    try:
        answer = requests.post(f"{ground.demo.up.addresses.dagster}/graphql", json=body, timeout=15).json()
    except (requests.RequestException, ValueError) as error:
        raise NothingToStrike(f"the webserver does not answer: {type(error).__name__}") from error
    launched: dict[str, Any] = (answer.get("data") or {}).get("launchPartitionBackfill") or {}
    if "backfillId" not in launched:
        raise NothingToStrike(f"the webserver refused the backfill of {', '.join(chosen)}")


def _redrive(ground: Ground, strike: Strike) -> None:
    dead = ground.demo.ledger.all_claims(strike.oem, State.DEAD)
    if not dead:
        raise NothingToStrike(f"{strike.oem} has no dead letter")
    for claim in random.Random(strike.die).sample(dead, min(3, len(dead))):  # noqa: S311 - seeded chance
        try:
            ground.demo.ledger.redrive(claim, OPERATOR)
        except StateConflict:
            pass  # intake was quicker


# --- the table ----------------------------------------------------------------------------------------------------

_LATE = 30.0
"""Seconds by which a late history is late: with a worker's pause still within the settle window that chaos sets."""

FAULTS = (
    _portal("reset_before_filing", "the submit's connection is reset; nothing is filed", 2,
            _once("reset_before_filing")),
    _portal("reset_after_filing", "the claim is filed, then the connection is reset", 3, _once("reset_after_filing")),
    _portal("error_before_filing", "the submit answers 500; nothing is filed", 2, _once("error_before_filing")),
    _portal("error_after_filing", "the claim is filed, then the submit answers 500", 2, _once("error_after_filing")),
    _portal("lost_response", "the claim is filed, and no answer comes", 2, _once("lost_response", seconds=20)),
    _portal("slow", "four pages take four seconds each", 2, _once("slow", times=4, seconds=4)),
    _portal("lying_success", "a confirmation is shown, and nothing is filed", 2, _once("lying_success")),
    _portal("reference_missing", "the claim is filed, its confirmation has no reference", 1,
            _once("reference_missing")),
    _portal("two_references", "the claim is filed, its confirmation shows a foreign reference, too", 1,
            _once("two_references")),
    _portal("duplicate_answer", "the claim is filed, the answer says that it was there already", 1,
            _once("duplicate_answer")),
    _portal("session_expired", "the session is over", 1, _once("session_expired")),
    _portal("drops_filled_value", "the VIN's field drops what is filled in", 1, _once("drops_filled_value")),
    _portal("maintenance", "every page is a maintenance page, for 12 s", 1, _for_a_while("maintenance", 12)),
    _portal("history_error", "the history answers 500, for 25 s", 1, _for_a_while("history_error", 25)),
    _portal("history_empty", "the history lists nothing, for 25 s", 1, _for_a_while("history_empty", 25)),
    _portal("history_late", "for 40 s, filings show half a minute late", 1, _for_a_while("history_late", 40, _LATE)),
    Fault("worker_killed", "SIGKILL for a worker that holds a lease", 5, _kill_worker),
    Fault("worker_paused", "SIGSTOP for longer than a lease, then SIGCONT", 3, _pause_worker),
    Fault("portal_outage", "portals and CRM are killed, and come back after 5 to 17 s", 2, _portal_outage),
    Fault("crm_outage", "the CRM answers 503, for 15 s", 1, _crm("outage", None, 15)),
    Fault("crm_loses_answer", "a write to the CRM is done and answers 500", 1, _crm("lose_answer", 1)),
    Fault("crm_drops_write", "a write to the CRM changes nothing and answers as always", 1, _crm("drop_write", 1)),
    Fault("database_restart", "PostgreSQL is shut down fast, and started", 1, _database("fast")),
    Fault("database_crash", "PostgreSQL dies at once, and is started", 1, _database("immediate")),
    Fault("daemon_killed", "SIGKILL for Dagster's daemon alone", 1, _lost("dagster-daemon", with_children=False)),
    Fault("code_server_killed", "SIGKILL for the code server and what it started", 1, _lost(CODE_SERVER)),
    Fault("machine_lost", "SIGKILL for the daemon, the code server and every worker", 1, _machine_lost),
    Fault("webserver_killed", "SIGKILL for the webserver", 1, _lost("dagster-webserver")),
    Fault("duplicate_ticks", "the same work is asked for five times at once", 2, _duplicate_ticks),
    Fault("backfill", "a backfill over partitions, filed and not", 2, _backfill),
    Fault("redrive", "an operator redrives dead letters", 2, _redrive),
)  # fmt: skip


def plan(seed: int, pause: tuple[float, float]) -> Iterator[Strike]:
    """The strikes, for ever: decks of the whole table by weight, shuffled. Follows from the arguments alone.

    `pause`: the least and the most seconds between two strikes.
    """
    chance = random.Random(f"chaos:{seed}")  # noqa: S311 - seeded chance
    while True:
        deck = [fault for fault in FAULTS for _ in range(fault.weight)]
        chance.shuffle(deck)
        for fault in deck:
            yield Strike(fault, chance.choice(sorted(ADAPTERS)), chance.random(), chance.uniform(*pause))


def processes_of(variable: str, value: str) -> list[psutil.Process]:
    """Every process but this one whose environment has the variable with this value."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(variable) == value:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue  # gone, or somebody else's
    return found
