"""Real receivers of alerts, on loopback: webhooks that obey, refuse, or never answer, and an SMTP server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class Webhook:
    """What arrived, and how it answers."""

    status: int = 200
    never: str = ""
    """What it refuses a message for."""
    port: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the requests that it took."""
    refused: int = 0
    paths: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://user:s3cret-token@127.0.0.1:{self.port}/hook/s3cret-path"

    @property
    def name(self) -> str:
        """As people see it."""
        return f"json://127.0.0.1:{self.port}"

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.got]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """An HTTP server in a thread."""
    hook, lock = Webhook(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = 400 if hook.never and hook.never.encode() in body else hook.status
            with lock:
                hook.paths.append(self.path)
                if status == 200:
                    hook.got.append(json.loads(body) if body else {})
                else:
                    hook.refused += 1
            self.send_response(status)
            self.end_headers()

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def hanging() -> Iterator[int]:
    """A port that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def mailbox() -> Iterator[tuple[int, list[Any]]]:
    """An SMTP server and the mails that it took."""
    mails: list[Any] = []

    class Handler:
        async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:
            mails.append(message_from_bytes(envelope.content, policy=policy.default))
            return "250 OK"

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port, mails
    finally:
        controller.stop()
