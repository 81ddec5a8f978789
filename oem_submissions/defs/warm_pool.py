"""The way to the warm server and to the workers that it forked: find it, start it, ask it; and look a worker up.

Everything is in one folder that only its user can enter: the servers' sockets, a record and a log per run. Records
outlive daemon and server, so any process of the machine can say whether a run's worker lives, and end it. No Dagster.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from oem_submissions.defs import warm_server
from oem_submissions.defs.warm_server import STOP_SECONDS, read_record, started, write_record

_START_SECONDS = 90.0
_KEEP_SECONDS = 86_400.0
"""For so long after its last change a run's record and log are there to be looked at."""


class WarmUnavailable(Exception):
    """No warm process takes the run, and none will: one sentence that says why."""


@dataclass(frozen=True)
class Worker:
    """The process of a run, which may have ended."""

    record: Path

    @property
    def pid(self) -> int:
        """Its id; another process may have it by now."""
        return int(self._known().get("pid", 0))

    @property
    def alive(self) -> bool:
        """Whether that very process lives."""
        known = self._known()
        return "started" in known and started(known["pid"]) == known["started"]

    @property
    def exit_code(self) -> int | None:
        """Not 0, for then it is forgotten; negative for a signal; None when it lives or nobody saw it end."""
        return self._known().get("exit")

    @property
    def why_killed(self) -> str:
        """Why the server killed it; empty when it did not."""
        return str(self._known().get("why", ""))

    @property
    def log(self) -> Path:
        """What it wrote outside of Dagster's own capture."""
        return self.record.with_suffix(".log")

    def interrupt(self) -> bool:
        """Ask it to end, as Ctrl-C does; False when it has ended. The server kills it when it does not listen."""
        known = self._known()
        try:
            handle = os.pidfd_open(known["pid"])
        except (KeyError, OSError):
            return False
        try:
            if started(known["pid"]) != known["started"]:  # looked at after it was opened: it stays this process
                return False
            write_record(self.record, known | {"asked": time.clock_gettime(time.CLOCK_BOOTTIME)})
            signal.pidfd_send_signal(handle, signal.SIGINT)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def _known(self) -> dict[str, Any]:
        return read_record(self.record)


@dataclass(frozen=True)
class WarmPool:
    """The warm servers below one folder. More than one only while the libraries change: older ones drain."""

    folder: Path
    idle_seconds: float = 900.0
    memory_mib: int = 4096
    watch_seconds: float = 15.0

    def launch(self, run_id: str, instance: str) -> Worker:
        """A worker that executes the run, begun. `instance` is Dagster's serialised reference to its instance.

        Raises `WarmUnavailable`; then nothing was begun, and nothing will be.
        """
        record = self._record(run_id)
        request = {
            "run_id": run_id,
            "instance": instance,
            "record": str(record),
            "environment": dict(os.environ),
            "directory": os.getcwd(),
            "path": sys.path,
        }
        # Twice: a server that was idle may end just when it is asked.
        if not self._asked(request) and not self._asked(request):
            raise WarmUnavailable(f"The warm server ended before it forked; see {self._log}.")
        return Worker(record)

    def _asked(self, request: dict[str, Any]) -> bool:
        """Whether a worker was told to go; not when the server ended before. Raises `WarmUnavailable`."""
        try:
            with closing(self._reach()) as connection:
                connection.settimeout(_START_SECONDS)
                connection.sendall(json.dumps(request).encode() + b"\n")
                if connection.recv(16) != b"ready\n":
                    return False
                connection.sendall(b"go")
        except ConnectionError:
            return False
        except (OSError, subprocess.SubprocessError) as error:
            raise WarmUnavailable(f"The warm server does not answer: {error}; see {self._log}.") from error
        return True

    def worker(self, run_id: str) -> Worker | None:
        """The run's worker; None when no warm process ever had the run."""
        record = self._record(run_id)
        return Worker(record) if read_record(record).get("went") else None

    def end(self) -> None:
        """End every server and its workers: asked first, then killed. Returns when they have ended."""
        self._tell_all({"end": True}, STOP_SECONDS + 10)

    def kill(self) -> None:
        """SIGKILL for every server and worker, as when the machine is lost."""
        for pid in self.servers():
            with suppress(psutil.NoSuchProcess):
                server = psutil.Process(pid)
                for process in (server, *server.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
        for record in self._runs.glob("*.json"):
            if (worker := Worker(record)).alive:
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)

    def _reach(self) -> socket.socket:
        """A connection to the server of these libraries, started if need be."""
        if sys.platform != "linux":
            raise WarmUnavailable(f"Warm processes need Linux, and this is {sys.platform}.")
        self._runs.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        name = fingerprint()
        with self._locked():
            try:
                return self._connect(name)
            except (FileNotFoundError, ConnectionRefusedError):
                self._tell_all({"drain": True}, 5)
                self._prune()
                self._start(name)
                return self._connect(name)

    def _start(self, name: str) -> None:
        """We listen, the server inherits: who connects waits for it, and sees it die."""
        path = self.folder / f"{name}.sock"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        with closing(listener), self._short(path) as address, self._log.open("ab") as log:
            listener.bind(address)
            path.chmod(0o600)
            listener.listen(64)
            command = [
                sys.executable, "-P", warm_server.__file__,
                "--socket", str(path), "--descriptor", str(listener.fileno()),
                "--idle-seconds", str(self.idle_seconds), "--memory-mib", str(self.memory_mib),
                "--watch-seconds", str(self.watch_seconds),
            ]  # fmt: skip
            # One thread per process, or it can't be forked: numpy's own would be idle anyway.
            environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            subprocess.run(  # noqa: S603 - our own program, no shell
                command,
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(listener.fileno(),),
                check=True,
            )

    def _connect(self, name: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(5)
            with self._short(self.folder / f"{name}.sock") as address:
                connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection

    def servers(self) -> list[int]:
        """The ids of the servers that run, of any libraries."""
        return [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if warm_server.__file__ in (line := process.info["cmdline"] or [])
            and any(argument.startswith(f"{self.folder}/") for argument in line)
        ]

    def _tell_all(self, word: dict[str, bool], seconds: float) -> None:
        """Tell every server that listens, and wait until it hangs up."""
        for path in self.folder.glob("*.sock"):
            try:
                with closing(self._connect(path.stem)) as connection:
                    connection.settimeout(seconds)
                    connection.sendall(json.dumps(word).encode() + b"\n")
                    pid = int(connection.makefile().readline())
                if "end" in word:
                    psutil.Process(pid).wait(seconds)
            except psutil.TimeoutExpired:
                self.kill()
            except (OSError, ValueError, psutil.NoSuchProcess):
                path.unlink(missing_ok=True)  # nobody listens there

    def _prune(self) -> None:
        for path in self._runs.iterdir():
            if path.stat().st_mtime < time.time() - _KEEP_SECONDS and not Worker(path.with_suffix(".json")).alive:
                path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _short(self, path: Path) -> Iterator[str]:
        """An address that fits: a socket's may have 107 bytes, and a folder's path is as long as it likes."""
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{folder}/{path.name}"
        finally:
            os.close(folder)

    @property
    def _runs(self) -> Path:
        return self.folder / "runs"

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _record(self, run_id: str) -> Path:
        return self._runs / f"{run_id}.json"


def pool_below(dagster_home: str | Path, **limits: Any) -> WarmPool:
    """The pool of an instance that has its files there."""
    return WarmPool(Path(dagster_home).resolve() / "warm", **limits)


def fingerprint() -> str:
    """What a forked process can't shed: interpreter, installed libraries, import path, and the server's own code."""
    said = hashlib.sha256(Path(warm_server.__file__).read_bytes())
    python = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(("PYTHON", "LD_"))]
    for part in (sys.executable, sys.version, *sys.path, *python, *_distributions()):
        said.update(part.encode() + b"\0")
    return said.hexdigest()[:16]


def _distributions() -> list[str]:
    """What is installed; an installer writes the folder anew."""
    found = []
    for folder in {path for path in sys.path if path.endswith("-packages")}:
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            found += [f"{entry.path} {entry.stat().st_mtime_ns}" for entry in entries if entry.name.endswith("-info")]
    return sorted(found)
