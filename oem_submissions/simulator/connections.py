"""Connections that can be broken: the HTTP/1.1 protocol that knows its transport, and the responses that are none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(Protocol):
    """What a handler may do to the connection it answers on; an HTTP/2 protocol offers the same for its own."""

    def reset(self) -> None:
        """Ends the connection by a TCP RST, without another byte."""


class ResettableH11(H11Protocol):
    """HTTP/1.1 whose handlers find their connection in `request.state.connection`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "connection": self}

    def reset(self) -> None:
        """With SO_LINGER 0 the kernel closes by RST. The socket lies below TLS, so https is reset just so."""
        if self.transport.is_closing():
            return
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class ResetConnection(Response):
    """Not an answer: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection: Any = scope["state"]["connection"]
        connection.reset()
        await _gone(receive)


class NoAnswer(Response):
    """Not an answer: nothing comes until the client goes, or the connection is reset after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_gone(receive), self._seconds)
        scope["state"]["connection"].reset()
        await _gone(receive)


async def delay(request: Request, seconds: float) -> None:
    """Waits so long, or until the client goes. Only for a request that has been read."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_gone(request.receive), seconds)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
