"""A desk that really listens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uvicorn

from oem_submissions.desk.app import create_app
from oem_submissions.desk.serving import with_access
from oem_submissions_tests.desk.access import loopback_access
from oem_submissions_tests.desk.ledger import MadeUpLedger, made_up


@dataclass(frozen=True)
class RunningDesk:
    """Where it listens and what it reads."""

    url: str
    ledger: MadeUpLedger


@pytest.fixture(scope="module")
def desk() -> Iterator[RunningDesk]:
    ledger = made_up()
    app = with_access(create_app(ledger, ledger.store, "http://127.0.0.1:3000/"), loopback_access())
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # The socket listens already: a request that comes before the server has started waits, and is answered.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield RunningDesk(f"http://127.0.0.1:{listening.getsockname()[1]}", ledger)
        server.should_exit = True
        thread.join()
