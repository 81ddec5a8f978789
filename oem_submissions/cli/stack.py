"""The processes of one machine: database, simulator, Dagster's code server, webserver and daemon, the desk.

Started in order, stopped together.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psutil

from oem_submissions.defs.warm_pool import pool_below
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.migrate import migrate
from oem_submissions.ledger.store import ledger_engine
from oem_submissions.settings import PREFIX, PROJECT, Settings, read_settings

LOOPBACK = "127.0.0.1"
DEFINITIONS = "oem_submissions.definitions"
"""What Dagster loads in production, too."""
CODE_SERVER = "dagster-code-server"
_GRACE_SECONDS = 20


@dataclass(frozen=True)
class Addresses:
    """Where the parts of a running stack answer."""

    dagster: str
    desk: str
    simulator: str | None
    """Portals, http."""


@dataclass(frozen=True)
class RunningStack:
    """A stack that is up."""

    settings: Settings
    environment: Mapping[str, str]
    """What its processes see, and what a command must see to work with it."""
    addresses: Addresses

    def check(self) -> None:
        """Raises `ConfigurationError` when a process has died."""
        for process in self.processes:
            process.check()

    processes: tuple[Process, ...] = ()
    postgres: EmbeddedPostgres | None = None
    """None when the database is somebody else's."""

    def process(self, name: str) -> Process:
        """One of them."""
        return next(process for process in self.processes if process.name == name)

    def wait_until_it_answers(self) -> None:
        """Returns when webserver and desk answer. Raises `ConfigurationError`."""
        for address in (f"{self.addresses.desk}/health", f"{self.addresses.dagster}/server_info"):
            _wait_until_it_answers(address, self)


class Process:
    """A child in a session of its own, with its output in a log file. It can be ended and started again."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], log: Path, pipe: bool = False):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.name, self.log = name, log
        self.command, self._environment, self._pipe = command, dict(environment), pipe
        self._log = log.open("ab")
        self.start()

    def start(self) -> None:
        """Start the child, once more after it ended."""
        self._child = subprocess.Popen(  # noqa: S603 - our own programs, no shell
            self.command,
            env=self._environment,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._pipe else self._log,
            stderr=self._log,
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        """Whether the child lives."""
        return self._child.poll() is None

    def first_line(self) -> str:
        """The first line on its standard output; empty when it died before."""
        assert self._child.stdout is not None
        return self._child.stdout.readline().decode()

    def check(self) -> None:
        """Raises `ConfigurationError` with the end of its log when it has died."""
        if not self.running:
            tail = self.log.read_text(errors="replace").strip().splitlines()[-3:]
            raise ConfigurationError(
                f"{self.name} ended with code {self._child.returncode}: {' '.join(tail)} (all of it in {self.log})."
            )

    def kill(self, with_children: bool) -> None:
        """SIGKILL: for the child alone, whose own children are nobody's then, or for everything that it has started."""
        if with_children:
            self._signal_all(signal.SIGKILL)
        else:
            self._child.kill()
        self._ended()

    def end(self) -> None:
        """End the child and whatever it started: asked first, then killed."""
        self._signal_all(signal.SIGTERM)
        try:
            self._child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        self._signal_all(signal.SIGKILL)
        self._ended()

    def stop(self) -> None:
        """End it for good."""
        self.end()
        self._log.close()

    def _ended(self) -> None:
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def _signal_all(self, number: signal.Signals) -> None:
        """To everything in the child's session, also after it died; but not to a stranger who has its id by now."""
        if self._child.returncode is not None and psutil.pid_exists(self._child.pid):
            return
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            pass

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port(preferred: int) -> int:
    """The preferred port when it is free, else any."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConfigurationError("No port is free on the loopback interface.")


def usual_ports(home: Path, preferred: Mapping[str, int]) -> dict[str, int]:
    """The ports of the last time where they are free: links that went into CRM records then still lead somewhere."""
    file = home / "ports.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    ports = {name: free_port(known.get(name, port)) for name, port in preferred.items()}
    file.write_text(json.dumps(ports))
    return ports


@dataclass(frozen=True)
class Simulated:
    """The simulated portals and CRM, as a process of their own that can go down and come back where it was."""

    process: Process
    addresses: Mapping[str, str]
    """`http` and `https`, and the `ca` file."""

    def start_again(self) -> None:
        """Back on the same ports, with what was filed; returns when it answers. Raises `ConfigurationError`."""
        for last in (False, False, True):
            self.process.start()
            try:
                _announced(self.process)
            except ConfigurationError:
                if last:
                    raise
                time.sleep(1)  # somebody's connection has the port for a moment
            else:
                return


@contextmanager
def simulator(state: Path, logs: Path) -> Iterator[Simulated]:
    """The simulated portals and CRM on two free ports."""
    command = [sys.executable, "-m", "oem_submissions.simulator", "--state", str(state)]
    with Process("The simulator", command, os.environ, logs / "simulator.log", pipe=True) as process:
        addresses = _announced(process)
        http, https = (str(urlsplit(addresses[scheme]).port) for scheme in ("http", "https"))
        process.command = [*command, "--port", http, "--https-port", https]
        yield Simulated(process, addresses)


def _announced(process: Process) -> dict[str, str]:
    """Where it says that it listens."""
    line = process.first_line()
    if not line:
        process.check()
        raise ConfigurationError(f"{process.name} did not say where it listens; see {process.log}.")
    addresses: dict[str, str] = json.loads(line)
    return addresses


def database_environment(settings: Settings, postgres: EmbeddedPostgres | None) -> dict[str, str]:
    """The variables that lead to the ledger and to Dagster's storage.

    The latter defaults to a database beside the ledger's.
    """
    ledger = settings.database_url or (postgres.url("oem_submissions") if postgres else "")
    dagster = os.environ.get(f"{PREFIX}DAGSTER_DATABASE_URL")
    if dagster is None:
        dagster = postgres.url("dagster") if postgres else ledger
    # dagster-postgres needs psycopg2: SQLAlchemy would take psycopg 3 for a plain URL, and NOTIFY then fails.
    dagster = dagster.replace("postgresql://", "postgresql+psycopg2://", 1)
    home = settings.home
    return {
        f"{PREFIX}HOME": str(home),
        f"{PREFIX}DATABASE_URL": ledger,
        f"{PREFIX}DAGSTER_DATABASE_URL": dagster,
        "DAGSTER_HOME": os.environ.get("DAGSTER_HOME") or str(_dagster_home(home)),
    }


def _dagster_home(home: Path) -> Path:
    """A folder with the project's `dagster.yaml`: Dagster also writes there, which the project's folder is not for."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "dagster.yaml"
    link.unlink(missing_ok=True)
    link.symlink_to(PROJECT / "dagster.yaml")
    return folder


@contextmanager
def running_stack(
    settings: Settings, extra: Mapping[str, str], definitions: str = DEFINITIONS
) -> Iterator[RunningStack]:
    """Database, migrated; code server, webserver, daemon and desk, answering. `extra` is added to their environment.

    `definitions`: the module that Dagster loads.
    """
    logs = settings.home / "logs"
    with ExitStack() as stack:
        postgres = None
        if settings.database_url is None:
            postgres = EmbeddedPostgres(settings.postgres)
            stack.callback(postgres.stop)
        databases = database_environment(settings, postgres)
        engine = ledger_engine(databases[f"{PREFIX}DATABASE_URL"])
        migrate(engine)
        engine.dispose()

        stack.callback(pool_below(databases["DAGSTER_HOME"]).end)  # it outlives a daemon, but not the stack
        ports = usual_ports(settings.home, {"dagster": 3000, "desk": 8787})
        addresses = Addresses(
            f"http://{LOOPBACK}:{ports['dagster']}", f"http://{LOOPBACK}:{ports['desk']}", extra.get("SIMULATOR")
        )
        environment = {
            **os.environ,
            **databases,
            f"{PREFIX}DESK_URL": addresses.desk,
            f"{PREFIX}DAGSTER_URL": addresses.dagster,
            **extra,
        }
        programs = Path(sys.executable).parent
        short = stack.enter_context(TemporaryDirectory(prefix="oem-submissions-"))  # a socket's path has to be
        code = Path(short) / "code"
        loads = ["-w", str(_workspace(settings.home, code))]
        commands = {
            CODE_SERVER: [
                str(programs / "dagster"), "code-server", "start", "-m", definitions, "-d", str(PROJECT),
                "--socket", str(code), "--use-python-environment-entry-point",
            ],
            "dagster-webserver": [
                str(programs / "dagster-webserver"), *loads, "-h", LOOPBACK, "-p", str(ports["dagster"]),
            ],
            "dagster-daemon": [str(programs / "dagster-daemon"), "run", *loads],
            "desk": [
                sys.executable, "-m", "oem_submissions.cli", "desk", "--host", LOOPBACK, "--port", str(ports["desk"]),
            ],
            "watch": [sys.executable, "-m", "oem_submissions.cli", "watch"],
        }  # fmt: skip
        processes: list[Process] = []
        for name, command in commands.items():
            processes.append(stack.enter_context(Process(name, command, environment, logs / f"{name}.log")))
            if name == CODE_SERVER:
                _wait_until_it_listens(processes[-1], code)
        up = RunningStack(read_settings(environment), environment, addresses, tuple(processes), postgres)
        up.wait_until_it_answers()
        yield up


def _workspace(home: Path, code: Path) -> Path:
    """The file that leads webserver and daemon to the one code server.

    `workspace.yaml` names the module instead: then each starts a code server of its own, and the daemon a new one
    every minute, which costs a sixth of a core.
    """
    server = {"socket": str(code), "location_name": "oem_submissions"}
    file = home / "dagster" / "workspace.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))  # which is YAML, too
    return file


def _wait_until_it_listens(process: Process, address: Path, seconds: float = 120) -> None:
    """Returns when something listens at the socket: a code server does when it has loaded the code."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process.check()
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(address)) == 0:
                return
        time.sleep(0.1)
    raise ConfigurationError(f"{process.name} did not listen within {seconds:.0f} s; see {process.log}.")


def _wait_until_it_answers(address: str, up: RunningStack, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        up.check()
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - an address of our own, on loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    logs = up.settings.home / "logs"
    raise ConfigurationError(f"{address} did not answer within {seconds:.0f} s; see the logs in {logs}.")
