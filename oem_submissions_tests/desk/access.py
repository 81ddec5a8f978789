"""What tests of the desk's access stand on: a log in memory, and desks that really listen, with any way in."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from oem_submissions.desk.access import csrf_token, current_user, require_operator
from oem_submissions.desk.app import create_app
from oem_submissions.desk.door import Access
from oem_submissions.desk.forms import Forms
from oem_submissions.desk.loopback import Loopback
from oem_submissions.desk.room import Addresses
from oem_submissions.desk.serving import with_access
from oem_submissions.domain.desk_log import DeskEntry, DeskRecord
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.hand_over import Deed, HandOver
from oem_submissions.ports import AccessLog, EvidenceStore, LedgerUnavailable
from oem_submissions_tests.desk.gates import MadeUpOperating
from oem_submissions_tests.desk.ledger import MadeUpLedger, made_up
from oem_submissions_tests.evidence import samples

KEY = b"k" * 32
PICTURE = samples.jpeg(samples.shot("Sign in"))


class NoHelp:
    """`Helping` where somebody else is always faster."""

    def take(self, hand_over_id: str, by: str) -> HandOver:
        raise StateConflict("Somebody else has it.")

    def picture(self, hand_over_id: str, by: str) -> bytes | None:
        return PICTURE if by == "ana" else None

    def do(self, hand_over_id: str, by: str, picture: int, deeds: Sequence[Deed]) -> None:
        raise StateConflict("Somebody else has it.")

    def give_up(self, hand_over_id: str, by: str) -> None:
        raise StateConflict("Somebody else has it.")


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


def at_the_desk(ledger: Any, store: EvidenceStore) -> ASGIApp:
    """The desk of this machine on a ledger and a store."""
    app = create_app(ledger, store, Addresses("http://127.0.0.1:3000"), MadeUpOperating(), NoHelp())
    return with_access(app, loopback_access())


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


@dataclass
class Deciding:
    """The desk's pages, and one more that decides: what it was told, by whom."""

    pages: ASGIApp
    ledger: MadeUpLedger
    decided: list[tuple[str, str]] = field(default_factory=list)

    def app(self) -> Starlette:
        """Both."""
        return Starlette(
            routes=[
                Route("/decide", self.form),
                Route("/decide", self.decide, methods=["POST"]),
                Mount("/", self.pages),
            ]
        )

    def form(self, request: Request) -> Response:
        token = f'<input type="hidden" name="csrf" value="{csrf_token(request)}">'
        text = f"<p>{current_user(request).name}</p>"
        return HTMLResponse(
            f'{text}<form method="post">{token}<input name="verdict" value="filed"><button>Decide</button></form>'
        )

    async def decide(self, request: Request) -> Response:
        async with request.form() as form:
            said, picture = str(form["verdict"]), form.get("picture")
            if isinstance(picture, UploadFile):
                said += f", {len(await picture.read())} bytes"
        self.decided.append((require_operator(request).name, said))
        return HTMLResponse("<p>Decided</p>")


def deciding() -> Deciding:
    """On the made-up ledger."""
    ledger = made_up()
    addresses = Addresses("http://127.0.0.1:3000")
    return Deciding(create_app(ledger, ledger.store, addresses, MadeUpOperating(), NoHelp()), ledger)


def token_in(page: str) -> str:
    """The token of the page's form."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]
