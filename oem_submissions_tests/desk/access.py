"""What tests of the desk's access stand on: a log in memory, and desks that really listen, with any way in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import uvicorn
from starlette.types import ASGIApp

from oem_submissions.desk.forms import Forms
from oem_submissions.desk.gate import Access
from oem_submissions.desk.loopback import Loopback
from oem_submissions.domain.desk_log import DeskEntry, DeskRecord
from oem_submissions.ports import AccessLog, LedgerUnavailable

KEY = b"k" * 32


class MemoryLog:
    """`AccessLog` in memory."""

    def __init__(self) -> None:
        self.lines: list[DeskRecord] = []
        self.down = False

    def note_access(self, entry: DeskEntry) -> None:
        if self.down:
            raise LedgerUnavailable("The ledger's database does not answer.")
        self.lines.append(DeskRecord(len(self.lines) + 1, datetime.now(UTC), entry))

    def access_log(self, limit: int = 100, who: str | None = None) -> list[DeskRecord]:
        found = [line for line in reversed(self.lines) if who is None or line.entry.who == who]
        return found[:limit]


def loopback_access(log: AccessLog | None = None) -> Access:
    """This machine's own user, and nobody to sign in."""
    return Access(Loopback("ana"), Forms(KEY), log or MemoryLog())


@contextmanager
def listening(app: ASGIApp, at: socket.socket | None = None) -> Iterator[str]:
    """The application on a free port of this machine; where. The socket listens before the server has started."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", proxy_headers=False))
    with at or socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
