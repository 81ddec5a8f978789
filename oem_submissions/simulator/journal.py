"""The test server: requests noted and waited for, routes scripted. Of the portals it knows the submit paths."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oem_submissions.simulator.truth import Truth

_KEPT_REQUESTS = 5_000
_KEPT_BODY = 65_536


@dataclass
class Noted:
    """A request that arrived. `body` holds its first 64 KB."""

    number: int
    method: str
    path: str
    query: str
    scheme: str
    content_type: str
    complete: bool = False
    status: int | None = None
    body: bytearray = field(default_factory=bytearray)

    def as_json(self) -> dict[str, Any]:
        """As the admin routes show it."""
        return {**self.__dict__, "body": bytes(self.body).decode("utf-8", "replace")}


class Journal:
    """The requests, and the routes that tests put in front of the portals."""

    def __init__(self) -> None:
        self._noted: deque[Noted] = deque(maxlen=_KEPT_REQUESTS)
        self._numbers = itertools.count(1)
        self._changed = asyncio.Condition()
        self._routes: dict[tuple[str, str], tuple[int, bytes, str]] = {}

    def all(self, path: str | None = None) -> list[Noted]:
        """The requests, or those to one path, oldest first."""
        return [n for n in self._noted if path is None or n.path == path]

    def note(self, scope: Scope) -> Noted:
        """A request arrived."""
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        noted = Noted(
            next(self._numbers), scope["method"], scope["path"], scope["query_string"].decode("latin-1"),
            scope["scheme"], headers.get("content-type", ""),
        )  # fmt: skip
        self._noted.append(noted)
        return noted

    async def completed(self, noted: Noted) -> None:
        """The request has arrived as a whole: those who wait for it may go on."""
        if not noted.complete:
            noted.complete = True
            async with self._changed:
                self._changed.notify_all()

    async def wait(self, path: str, after: int, seconds: float) -> Noted | None:
        """The first whole request to `path` with a number above `after`; nothing when `seconds` went by."""

        def found() -> Noted | None:
            return next((n for n in self._noted if n.path == path and n.number > after and n.complete), None)

        try:
            async with asyncio.timeout(seconds), self._changed:
                return await self._changed.wait_for(found)
        except TimeoutError:
            return None

    def set_route(self, method: str, path: str, status: int, body: bytes, content_type: str) -> None:
        """From now on `method path` answers just this."""
        self._routes[method.upper(), path] = (status, body, content_type)

    def route(self, method: str, path: str) -> Response | None:
        """The scripted answer, if there is one."""
        scripted = self._routes.get((method, path))
        return Response(scripted[1], scripted[0], media_type=scripted[2]) if scripted else None

    def clear_routes(self) -> None:
        """The portals answer again."""
        self._routes.clear()

    def forget(self) -> None:
        """Empties the journal and the scripted routes; numbers go on."""
        self._noted.clear()
        self._routes.clear()


class Journalled:
    """ASGI middleware: counts submit posts the moment they arrive, notes requests, answers scripted routes."""

    def __init__(self, app: ASGIApp, journal: Journal, truth: Truth) -> None:
        self._app = app
        self._journal = journal
        self._truth = truth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/admin"):
            await self._app(scope, receive, send)
            return
        noted = self._journal.note(scope)
        oem = self._truth.submit_paths.get(scope["path"]) if scope["method"] == "POST" else None
        if oem is not None:
            scope["state"]["post_id"] = self._truth.count_post(oem, scope["path"])

        async def receive_noted() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                noted.body += message.get("body", b"")[: _KEPT_BODY - len(noted.body)]
            if message["type"] != "http.request" or not message.get("more_body"):
                await self._journal.completed(noted)
            return message

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                noted.status = message["status"]
                await self._journal.completed(noted)
            await send(message)

        scripted = self._journal.route(scope["method"], scope["path"])
        if scripted is None:
            await self._app(scope, receive_noted, send_noted)
            return
        while (await receive_noted()).get("more_body"):
            pass
        await scripted(scope, receive_noted, send_noted)
