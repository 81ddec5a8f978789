"""The desk as an ASGI application: its rooms, and the headers of every answer.

Every text is hostile until escaped; what a browser may do with a page is fixed by headers for all of them. Who may ask,
and how much they may send, is decided before (`serving.with_access`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oem_submissions.desk.alerts import Alerts
from oem_submissions.desk.claims import Claims, Proofs
from oem_submissions.desk.dead_letters import DeadLetters
from oem_submissions.desk.hand_overs import HandOvers, Helping
from oem_submissions.desk.lookup import Lookup
from oem_submissions.desk.metrics import Metrics
from oem_submissions.desk.oems import Oems
from oem_submissions.desk.operating import Operating
from oem_submissions.desk.queue import Queue
from oem_submissions.desk.reader import DeskReader
from oem_submissions.desk.rendering import make_environment
from oem_submissions.desk.review import Review
from oem_submissions.desk.room import Addresses, Room
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.ports import EvidenceStore, EvidenceUnavailable, LedgerUnavailable

_STATIC = Path(__file__).parent / "static"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}


def create_app(
    reader: DeskReader,
    store: EvidenceStore,
    addresses: Addresses,
    operating: Operating,
    helping: Helping,
    proofs: Proofs | None = None,
) -> Starlette:
    """The desk on its parts. It does not ask who comes: the access middleware around it does."""
    parts = (reader, store, addresses, operating, make_environment())
    refusals = Refusals(*parts)
    rooms = (Lookup(*parts), Claims(*parts, proofs), Review(*parts), DeadLetters(*parts), Oems(*parts),
             Queue(*parts), Alerts(*parts), HandOvers(*parts, helping), Metrics(*parts))  # fmt: skip
    return Starlette(
        routes=[
            Route("/health", _health),
            *(route for room in rooms for route in room.routes()),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        exception_handlers={
            HTTPException: refusals.refuse,  # type: ignore[dict-item]
            EvidenceUnavailable: refusals.unavailable,
            ConfigurationError: refusals.unavailable,
            LedgerUnavailable: refusals.unavailable,
        },
    )


def _health(_: Request) -> Response:
    """Says that the desk answers; asks nobody else."""
    return PlainTextResponse("ok\n")


class Refusals(Room):
    """What is not shown, in one sentence for people."""

    def refuse(self, request: Request, error: HTTPException) -> Response:
        """With the status that the error has."""
        texts = {404: "There is no such page.", 405: "This page can only be read."}
        plain = error.detail in ("Not Found", "Method Not Allowed")
        text = texts.get(error.status_code, error.detail) if plain else error.detail
        return self.page(request, "refusal.html.j2", error.status_code, text=text)

    def unavailable(self, request: Request, error: Exception) -> Response:
        """A part is missing or can't be reached: nothing may be concluded from that."""
        return self.page(request, "refusal.html.j2", 503, text=str(error))


class FixedHeaders:
    """Puts the same security headers on every answer, also on errors."""

    def __init__(self, app: ASGIApp, more: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._fixed = [(name.lower().encode(), value.encode()) for name, value in (_HEADERS | dict(more or {})).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, with the headers added as its answer begins."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._fixed]
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
