"""A desk that really listens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from oem_submissions.desk.access import Role, User
from oem_submissions.desk.app import FixedHeaders, create_app
from oem_submissions.desk.room import Addresses
from oem_submissions_tests.desk.gates import MadeUpOperating
from oem_submissions_tests.desk.ledger import MadeUpLedger, made_up

ADDRESSES = Addresses("http://127.0.0.1:3000/", "http://127.0.0.1:8700/crm/{id}")


class SignedIn:
    """Stands in for the access middleware: everybody is Ana, or the role that a header names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        role = dict(scope.get("headers", [])).get(b"x-role", b"operator").decode()
        user = None if role == "nobody" else User("Ana", Role(role))
        scope.setdefault("state", {}).update(user=user, csrf="token-of-the-session")
        await self._app(scope, receive, send)


@dataclass(frozen=True)
class RunningDesk:
    """Where it listens and what it reads."""

    url: str
    ledger: MadeUpLedger
    operating: MadeUpOperating


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """The application on a port of this machine; its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # The socket listens already: a request that comes before the server has started waits, and is answered.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def desk() -> Iterator[RunningDesk]:
    ledger, operating = made_up(), MadeUpOperating()
    with listening(FixedHeaders(SignedIn(create_app(ledger, ledger.store, ADDRESSES, operating)))) as url:
        yield RunningDesk(url, ledger, operating)
