"""What a claim costs from the queue to the CRM: dealers × claims through the whole stack, beside a bare script.

Ours is everything that `oem-submissions up` starts, and what it starts: webserver, daemon, code servers, desk, warm
workers, PostgreSQL; with all it does for a claim: bundles, log, checks, CRM. It is up before the measuring begins, and
so is the script's browser, the same program. Not counted: the simulated portal and CRM, a process of their own.
"""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import psutil
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from adapters import registry
from adapters.aurora.mapping import form_values
from oem_submissions import wiring
from oem_submissions.cli.demo import simulated_environment
from oem_submissions.cli.stack import RunningStack, Simulated, free_port, running_stack, simulator
from oem_submissions.defs.warm_pool import pool_below
from oem_submissions.domain.claims import WarrantyClaim, parse_claim
from oem_submissions.domain.records import Pins
from oem_submissions.domain.states import FILED
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.ports import Account
from oem_submissions.services.bound import Services
from oem_submissions.services.release import declare_live
from oem_submissions.settings import PREFIX, EnvironmentSecrets, read_settings
from oem_submissions.simulator.client import SimulatorClient
from oem_submissions.simulator.crm_client import CrmAdmin
from oem_submissions_tests.bench import bare
from oem_submissions_tests.bench.figures import ratio
from oem_submissions_tests.bench.meter import Cost, Meter
from oem_submissions_tests.bench.report import Figures
from oem_submissions_tests.bench.rows.launcher import compiled
from oem_submissions_tests.making import warranty_payload

OEM, DEALERS, SIZES = "aurora", 10, (3, 1)
OURS, SCRIPT = "through the queue", "bare script"
TITLE = f"Throughput: {DEALERS} dealers × claims through the queue, and by a bare script (Aurora, warranty)"
NOTE = "Seconds per claim, medians; ratios of what was measured side by side. A run is one dealer's claims."
_PATIENCE = 900
_UNDER_WAY = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
]


@dataclass
class Floor:
    """A stack that is up, on a portal with accounts; a browser for the script."""

    folder: Path
    up: RunningStack
    services: Services
    instance: DagsterInstance
    portals: SimulatorClient
    crm: CrmAdmin
    simulated: Simulated
    browsers: BrowserRuntime
    accounts: list[Account]
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def payloads(self, each: int) -> list[dict[str, Any]]:
        """So many new claims of every dealer."""
        today = datetime.now(UTC).date()
        dates = {"opened_on": str(today - timedelta(9)), "closed_on": str(today - timedelta(7))}
        return [
            warranty_payload(next(self.numbers), account.dealer, **dates)
            for account in self.accounts
            for _ in range(each)
        ]

    def processes(self) -> list[psutil.Process]:
        """Everything of ours."""
        roots = [*psutil.Process().children(), *map(psutil.Process, self.others())]
        trees = [process for root in roots for process in (root, *root.children(recursive=True))]
        return [process for process in set(trees) if process.pid not in self.not_ours()]

    def others(self) -> tuple[int, ...]:
        postmaster = (self.folder / "postgres" / "postmaster.pid").read_text().split()[0]
        return (int(postmaster), *pool_below(self.up.environment["DAGSTER_HOME"]).servers())

    def not_ours(self) -> tuple[int, ...]:
        """The simulator's, which `cli.stack` started."""
        pids = [p.pid for p in psutil.Process().children() if "oem_submissions.simulator" in p.cmdline()]
        return tuple(pids)


@dataclass(frozen=True)
class Way:
    """A way to file claims, and what is done before it is measured."""

    prepare: Callable[[Floor, list[dict[str, Any]]], None]
    file: Callable[[Floor, list[dict[str, Any]]], None]


def measure(repetitions: int) -> Figures:
    """`repetitions` of each size, both ways taking turns."""
    with _floor() as on:
        ways = {OURS: Way(_take_in, _queue), SCRIPT: Way(lambda on, payloads: None, _script)}
        memory = {name: _peak(on, way) for name, way in ways.items()}  # and what is only slow the first time
        costs: dict[tuple[str, int], list[Cost]] = {(way, size): [] for size in SIZES for way in ways}
        for turn in range(repetitions):
            for size in SIZES:
                for way in (OURS, SCRIPT) if turn % 2 else (SCRIPT, OURS):
                    costs[way, size].append(_once(on, ways[way], size))
        load = os.getloadavg()
    return Figures(
        TITLE,
        f"{NOTE} Load: {load[0]:.1f} now, {load[2]:.1f} in 15 minutes, ours included.",
        {
            "seconds per claim": [_line(costs, way, size) for size in SIZES for way in ways],
            "ours / script": [_ratios(costs, size) for size in SIZES],
            "of a run": [_fixed(costs, way) | {"peak memory MiB": memory[way]} for way in ways],
        },
    )


def _once(on: Floor, way: Way, each: int) -> Cost:
    """So many claims of every dealer, on an empty portal; they are due before the measuring begins."""
    on.portals.reset()
    payloads = on.payloads(each)
    way.prepare(on, payloads)
    with Meter(others=on.others(), portals=on.not_ours()).measure() as measured:
        way.file(on, payloads)
    if (filed := int(on.portals.truth(OEM)["filed"])) != len(payloads):
        raise RuntimeError(f"{filed} of {len(payloads)} claims were filed; the logs are in {on.folder / 'logs'}.")
    return measured[0].per(len(payloads))


def _take_in(on: Floor, payloads: list[dict[str, Any]]) -> None:
    """How often the CRM is asked is a setting, and not measured."""
    today = datetime.now(UTC).date().isoformat()
    common = {"oem": OEM, "claim_type": "warranty", "due_on": today, "files": []}
    on.crm.seed(
        [
            common | {"name": f"B-{payload['repair_order']}", "dealer": payload["dealer_code"], "payload": payload}
            for payload in payloads
        ]
    )
    on.services.take_in()


def _queue(on: Floor, payloads: list[dict[str, Any]]) -> None:
    """Ask that they be enqueued, and wait until the CRM knows of all and every run has ended."""
    ledger, wanted = on.services.ledger, {payload["repair_order"] for payload in payloads}
    ledger.request_enqueue(OEM, (), None, "bench")
    deadline = time.monotonic() + _PATIENCE
    while True:
        claims = [claim for claim in ledger.all_claims() if claim.payload["repair_order"] in wanted]
        if len(claims) == len(wanted) and all(c.state in FILED and c.crm_version == c.version for c in claims):
            break
        on.up.check()
        if time.monotonic() > deadline:
            states = {claim.claim_id: f"{claim.state} {claim.reason_text or ''}" for claim in claims}
            raise RuntimeError(f"Not filed in {_PATIENCE} s: {states}")
        time.sleep(0.5)
    while on.instance.get_runs_count(RunsFilter(statuses=_UNDER_WAY, tags={"oem": OEM})):
        time.sleep(0.2)


def _script(on: Floor, payloads: list[dict[str, Any]]) -> None:
    folder = on.folder / "script"
    folder.mkdir(exist_ok=True)
    for account in on.accounts:
        mine = [payload for payload in payloads if payload["dealer_code"] == account.dealer]
        forms = [form_values(parse_claim(WarrantyClaim, payload)) for payload in mine]
        bare.file_claims(on.browsers.browser(), on.simulated.addresses["http"], account, forms, folder)


def _peak(on: Floor, way: Way) -> float:
    """MiB of all processes together at the worst moment, of what they don't share with others."""
    done, peak = threading.Event(), 0

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.5):
            try:
                peak = max(peak, sum(map(_own_memory, [*on.processes(), psutil.Process()])))
            except psutil.NoSuchProcess:
                pass  # one ended while it was looked for: the next look is soon

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _once(on, way, 1)
    finally:
        done.set()
        watcher.join()
    return peak / 2**20


def _own_memory(process: psutil.Process) -> int:
    memory = process.memory_info()
    return int(memory.rss - memory.shared)


def _line(costs: dict[tuple[str, int], list[Cost]], way: str, size: int) -> dict[str, str | float]:
    found = costs[way, size]
    wall, cpu = (statistics.median(getattr(cost, what) for cost in found) for what in ("wall", "cpu"))
    return {"": f"{DEALERS} × {size}, {way}", "wall": wall, "CPU": cpu}


def _ratios(costs: dict[tuple[str, int], list[Cost]], size: int) -> dict[str, str | float]:
    line: dict[str, str | float] = {"": f"{DEALERS} × {size}"}
    for what in ("wall", "cpu"):
        ones, others = ([getattr(cost, what) for cost in costs[way, size]] for way in (OURS, SCRIPT))
        found = ratio(ones, others)
        line |= {what: found.median, f"{what} least": found.least, f"{what} most": found.most}
    return line


def _fixed(costs: dict[tuple[str, int], list[Cost]], way: str) -> dict[str, str | float]:
    """From two sizes: a run costs a + b × claims."""
    many, one = SIZES
    whole = {size: statistics.median(cost.cpu for cost in costs[way, size]) * size for size in SIZES}
    each = (whole[many] - whole[one]) / (many - one)
    return {"": way, "fixed CPU s per run": whole[one] - each, "CPU s per further claim": each}


@contextmanager
def _floor() -> Iterator[Floor]:
    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="oem-submissions-bench-"))).resolve()
        opened.enter_context(patch.dict(os.environ, compiled(folder)))
        for name in [name for name in os.environ if name.startswith(PREFIX) or name == "DAGSTER_HOME"]:
            del os.environ[name]  # put back by the patch
        simulated = opened.enter_context(simulator(folder / "simulator", folder / "logs"))
        http = simulated.addresses["http"]
        portals, crm = SimulatorClient(http), CrmAdmin(http)
        opened.callback(portals.close)
        accounts = [Account(OEM, str(10_000 + number), f"user{number}", "secret-pw-7") for number in range(DEALERS)]
        environment = simulated_environment(simulated.addresses, 1) | {f"{PREFIX}INTAKE_SECONDS": "3600"}
        for account in accounts:
            portals.add_account(OEM, account.dealer, account.username, account.password, "Lakeside Motors")
            for part in ("username", "password"):
                name = f"portal/{OEM}/{account.dealer}/{part}"
                environment[EnvironmentSecrets.where(name)] = getattr(account, part)
        (folder / "ports.json").write_text(json.dumps({name: free_port(0) for name in ("dagster", "desk")}))
        up = opened.enter_context(running_stack(read_settings({f"{PREFIX}HOME": str(folder)}), environment))
        secrets = EnvironmentSecrets(up.environment)
        parts = {"secrets": secrets, "crm": wiring.salesforce(up.settings, secrets)}
        services = opened.enter_context(wiring.build(up.settings, **parts))
        pins = Pins(registry.ADAPTERS[OEM].digest, *services.released_packs(OEM)[-1])
        declare_live(services.ledger, OEM, pins, "bench", "what is measured is not the gate")
        opened.enter_context(patch.dict(os.environ, up.environment))
        instance = opened.enter_context(DagsterInstance.from_config(up.environment["DAGSTER_HOME"]))
        browsers = opened.enter_context(BrowserRuntime(registry.adapter, up.settings.selectors, {OEM: http}))
        yield Floor(folder, up, services, instance, portals, crm, simulated, browsers, accounts)
