"""What lies between the browser and a real application: it passes everything on, or misbehaves as it is told.

So a real application can be made slow, lose an answer, or be reached without its log-in. It knows requests, no pages.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_OF_ONE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})
_IDENTITY = ("cookie", "authorization")
_BEFORE = {"error_before_filing", "reset_before_filing", "expired_at_submit"}
_AFTER = {"error_after_filing", "reset_after_filing", "lost_response"}


_Answer = tuple[int, list[tuple[str, str]], bytes]


@dataclass(frozen=True)
class Places:
    """Paths of the application, as the faults need them."""

    login: str
    form: str
    """Where the empty form is."""
    submit: str
    history: str
    parts: str
    """What begins so never changes: scripts, styles, pictures."""
    upload: str = "nowhere"
    """What begins so takes a file of a filed claim."""


@dataclass
class Fault:
    """A way to misbehave, so many times more; None: until it is cleared."""

    name: str
    left: int | None
    seconds: float
    fired: int = 0
    over: threading.Event = field(default_factory=threading.Event)


@dataclass
class Wire:
    """One application behind one port of this machine."""

    places: Places
    upstream: int
    """The application's port."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    port: int = 0
    arrived: threading.Condition = field(default_factory=threading.Condition)
    parts: dict[str, _Answer] = field(default_factory=dict)
    """The application's parts as it gave them: it is no fast server, and each page has twenty."""

    def set(self, name: str, times: int | None, seconds: float) -> None:
        """From now on it misbehaves so."""
        with self.arrived:
            self.faults.append(Fault(name, times, seconds))

    def clear(self) -> None:
        """It behaves again; who was kept waiting is let go."""
        with self.arrived:
            for fault in self.faults:
                fault.over.set()
            self.faults.clear()

    def take(self, *names: str) -> Fault | None:
        """The fault of one of these names, if it bites now."""
        with self.arrived:
            for fault in self.faults:
                if fault.name in names and fault.left != 0:
                    fault.left = None if fault.left is None else fault.left - 1
                    fault.fired += 1
                    return fault
        return None

    def note(self, method: str, path: str) -> None:
        """A request arrived."""
        with self.arrived:
            self.requests.append({"number": len(self.requests) + 1, "method": method, "path": path})
            self.arrived.notify_all()

    def submits(self) -> int:
        """Requests that came to the submit path."""
        return sum(seen["method"] == "POST" and seen["path"] == self.places.submit for seen in self.requests)

    def expect(self, path: str, since: int, seconds: float) -> dict[str, Any]:
        """The first request to that path after the `since`-th, a POST if it is the one that files."""
        deadline = time.monotonic() + seconds
        with self.arrived:
            while True:
                for seen in self.requests[since:]:
                    if seen["path"] == path and (path != self.places.submit or seen["method"] == "POST"):
                        return seen
                assert self.arrived.wait(max(0.0, deadline - time.monotonic())), f"no request for {path} came"


@contextmanager
def wired(wire: Wire, port: int) -> Iterator[Wire]:
    """The wire, open on that port."""

    server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"wire": wire}))
    wire.port = port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        wire.clear()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """Says nothing of clients that are gone: that is what happens here all the time."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection of the browser's."""

    wire: Wire
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base has it
        """Nothing: the application logs."""

    def _pass_on(self) -> None:
        wire, places, path = self.wire, self.wire.places, urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        wire.note(self.command, path)
        submits = self.command == "POST" and path == places.submit
        if self.command == "POST" and path.startswith(places.upload) and self._loses_upload():
            return self._reset()
        if slow := wire.take("slow"):
            slow.over.wait(slow.seconds)
        before = wire.take(*_BEFORE) if submits else None
        if before is not None and before.name == "reset_before_filing":
            return self._reset()
        if (before is not None and before.name == "error_before_filing") or self._history_fails(path):
            return self._answer(500, [("Content-Type", "text/html")], b"<h1>Internal Server Error</h1>")
        unknown = before is not None or self._is_unknown(path)
        after = wire.take(*_AFTER) if submits else None
        status, headers, content = self._part() or self._ask(body, without_identity=unknown)
        if after is not None and after.name == "error_after_filing":
            return self._answer(500, [("Content-Type", "text/html")], b"<h1>Internal Server Error</h1>")
        if after is not None:
            if after.name == "lost_response":
                after.over.wait(after.seconds)
            return self._reset()
        return self._answer(status, headers, content)

    def _loses_upload(self) -> bool:
        """Whether this upload is lost: only the first arrives, however often the browser sends the second."""
        lost = self.wire.take("uploads_lost")
        return lost is not None and lost.fired > 1

    def _history_fails(self, path: str) -> bool:
        return path == self.wire.places.history and self.wire.take("history_error") is not None

    def _is_unknown(self, path: str) -> bool:
        """Whether the application is not to know who asks."""
        places = self.wire.places
        at_log_in = path == places.login and self.wire.take("login_refused") is not None
        return at_log_in or (path == places.form and self.wire.take("session_expired") is not None)

    def _part(self) -> _Answer | None:
        if not self.path.startswith(self.wire.places.parts):
            return None
        if self.path not in self.wire.parts:
            del self.headers["If-Modified-Since"], self.headers["If-None-Match"]
            self.wire.parts[self.path] = self._ask(b"", without_identity=False)
        status, headers, content = self.wire.parts[self.path]
        return status, [*headers, ("Cache-Control", "max-age=3600")], content

    def _ask(self, body: bytes, *, without_identity: bool) -> _Answer:
        left_out = _IDENTITY if without_identity else ()
        headers = {n: v for n, v in self.headers.items() if n.lower() not in (*left_out, "connection")}
        connection = http.client.HTTPConnection("127.0.0.1", self.wire.upstream, timeout=60)
        try:
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OF_ONE_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        if self.wire.take("closes_connections"):
            self.send_header("Connection", "close")
        with contextlib.suppress(ConnectionError):  # who asked may be gone
            self.end_headers()
            self.wfile.write(content)

    def _reset(self) -> None:
        """TCP RST."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())
