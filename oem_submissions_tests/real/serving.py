"""An application as a process of its own on a free port of this machine: started, waited for, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SECONDS = 60.0
"""So long may an application take until it answers."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: Sequence[str], port: int, folder: Path) -> Iterator[None]:
    """The process, listening on that port; its words are in `folder/server.log`."""
    log = folder / "server.log"
    with log.open("ab") as words:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, cwd=folder, start_new_session=True
        )
    try:
        deadline = time.monotonic() + SECONDS
        while not _listens(port):
            assert process.poll() is None, f"{command[0]} ended by itself: {log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"{command[0]} did not answer within {SECONDS:g} seconds"
            time.sleep(0.02)
        yield
    finally:
        os.killpg(
            process.pid, signal.SIGKILL
        )  # its workers too; what it holds is thrown away, or read by nobody but us
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
