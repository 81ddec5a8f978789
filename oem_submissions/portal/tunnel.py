"""The single-shot tunnel: below the browser, the submission leaves by one connection, or not at all.

Chromium sends a POST again, silently, when its connection is reset before the answer, if that connection was reused or
opened ahead. No event tells of it, so the submit gate can't stop it. Therefore one browser context reaches the network
only through a SOCKS 5 server of ours on loopback, which carries raw bytes (TLS stays the browser's) and which, while
armed, lets one line alone carry bytes to the portal. It knows connections, not requests: those are the gate's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from concurrent.futures import Future
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from oem_submissions.portal.site_proxy import SiteProxy, Streams
from oem_submissions.portal.socks import Origin, Reply, SocksError, answer, read_request
from oem_submissions.portal.standstill import Pulse

log = logging.getLogger(__name__)
T = TypeVar("T")
LOOPBACK = "127.0.0.1"
CHUNK = 65536
"""Bytes read at once. What waits for a slow reader is bounded by asyncio's own limits, a few times this."""
GREETING_SECONDS = 10.0
CONNECT_SECONDS = 30.0
GRACE_SECONDS = 2.0
"""How long what was held stays held after the one line ended. A portal that closes the connection after its answer ends
the line before Playwright tells us of the answer; cut off at once, the confirmation page would lack its parts."""
_CALL_SECONDS = 10.0
_BEAT_SECONDS = 1.0


class Position(StrEnum):
    """Where the tunnel stands, as seen by the origin that it is armed for. All other origins are always open."""

    OPEN = "open"
    # One line carries bytes to the portal: the first whose client sends some. The others are held.
    ARMED = "armed"
    # That line ended, or we stood still, and nobody said that the answer is here: nothing reaches the portal any more.
    SPENT = "spent"


class _Line:
    """One connection of the browser, and its counterpart at the portal."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.target: Origin | None = None
        self.established = False
        """Whether the browser was told that it may send."""
        self.closed = False
        self.portal: Streams | None = None
        self.task: asyncio.Task[None] | None = None

    def close(self, *, reset: bool = False) -> None:
        """End both sides, without what is still under way; `reset` by a TCP RST, as the other side did it."""
        self.closed = True
        for writer in (self.writer, self.portal[1] if self.portal else None):
            if writer is None:
                continue
            if reset and not writer.transport.is_closing():
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


class SingleShotTunnel:
    """A SOCKS 5 server for one browser context: `with SingleShotTunnel() as tunnel:`, then `tunnel.url`.

    Its methods may be called from any thread, and have taken effect when they return.
    """

    def __init__(self, site_proxy: SiteProxy | None = None, *, grace_seconds: float = GRACE_SECONDS) -> None:
        self._site_proxy, self._grace_seconds = site_proxy, grace_seconds
        self._position = Position.OPEN
        self._origin: Origin | None = None
        self._one: _Line | None = None
        self._cut = False
        self._grace: asyncio.TimerHandle | None = None
        self._pulse: Pulse | None = None
        self._lines: set[_Line] = set()
        self._reached: set[str] = set()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    # --- for the session, from its own thread ---

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Listen on a free port of loopback. Raises `OSError` when there is none."""
        assert self._thread is None, "a tunnel is started once"
        self._listener = socket.create_server((LOOPBACK, 0))
        self._port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._moved = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"single-shot tunnel {self._port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every connection; no thread and no socket is left."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        thread.join(_CALL_SECONDS)
        if thread.is_alive():  # a name is still being looked up, which nothing can stop
            log.warning("The single-shot tunnel on port %d is still closing.", self._port)

    @property
    def url(self) -> str:
        """For `new_context(proxy={"server": …})`."""
        return f"socks5://{LOOPBACK}:{self._port}"

    @property
    def position(self) -> Position:
        """Where it stands now."""
        return self._position

    def has_reached(self, host: str) -> bool:
        """Whether the browser ever came this way to get there. If not, it goes around us."""
        return host in self._reached

    def arm(self, origin: Origin, pulse: Pulse | None = None) -> None:
        """Close what leads to `origin`. From now on the first line that sends bytes there is the only one that may.

        And it may only as long as `pulse` beats, which began before the submission was recorded as sent.
        """
        self._call(lambda: self._arm(origin, pulse))

    def release(self) -> None:
        """The submission is answered: what was held goes its way."""
        if self._thread is not None:
            self._call(lambda: self._move(Position.OPEN))

    def disarm(self) -> None:
        """Before the next claim. What was held is not let go but closed: it may be the submission, sent again."""
        if self._thread is not None:
            self._call(self._disarm)

    # --- the positions, in the loop's thread ---

    def _call(self, action: Callable[[], T]) -> T:
        done: Future[T] = Future()

        def act() -> None:
            try:
                done.set_result(action())
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
                done.set_exception(error)

        if self._thread is None:
            raise RuntimeError("the single-shot tunnel is not running")
        self._loop.call_soon_threadsafe(act)
        return done.result(_CALL_SECONDS)

    def _arm(self, origin: Origin, pulse: Pulse | None) -> None:
        assert self._position is Position.OPEN, f"the tunnel is {self._position}"
        self._origin = origin
        # A line that is still being connected carried nothing yet. It stays: the browser may have meant it for the
        # submission, and does not try again when a connection could not be made.
        self._close_lines(lambda line: line.established)
        self._move(Position.ARMED)
        self._pulse = pulse
        self._keep_beating(pulse)

    def _keep_beating(self, pulse: Pulse | None) -> None:
        if pulse is not None and self._pulse is pulse and self._beats():
            self._loop.call_later(_BEAT_SECONDS, self._keep_beating, pulse)

    def _beats(self) -> bool:
        """Asked before every byte of an armed tunnel. If we stood still, the tunnel is spent."""
        if self._pulse is None or self._pulse.beat():
            return True
        log.warning("This process stood still while the submission was under way; nothing more of it leaves.")
        self._move(Position.SPENT)
        self._cut_off()
        return False

    def _disarm(self) -> None:
        if self._position is not Position.OPEN:
            self._close_lines(lambda line: True)
            self._move(Position.OPEN)

    def _move(self, position: Position) -> None:
        self._position = position
        if position is Position.OPEN:
            self._one, self._origin = None, None
        self._cut, self._pulse = False, None
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _spend(self, line: _Line) -> None:
        """The line ended. If it was the one, nothing more passes until somebody says that the answer is here."""
        if self._position is Position.ARMED and self._one is line:
            self._move(Position.SPENT)
            self._grace = self._loop.call_later(self._grace_seconds, self._cut_off)

    def _cut_off(self) -> None:
        """No answer was reported: end what is held, so that the browser reports the failure."""
        log.warning("The connection ended before the submission was answered; the tunnel lets nothing more through.")
        self._cut = True
        self._close_lines(lambda line: True)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _close_lines(self, which: Callable[[_Line], bool]) -> None:
        for line in [line for line in self._lines if line.target == self._origin and which(line)]:
            line.close()
            if line.task is not None:
                line.task.cancel()

    async def _until_allowed(self, line: _Line, *, to_send: bool) -> None:
        """Returns when the line may connect, or may send. Raises `SocksError` when it never may."""
        while True:
            if line.closed or (self._cut and line.target == self._origin):
                raise SocksError("the tunnel is spent")
            if self._position is Position.OPEN or line.target != self._origin:
                return
            if self._position is Position.ARMED:
                if not to_send:
                    return
                if not self._beats():
                    raise SocksError("the process stood still")
                if self._one is None:
                    self._one = line
                if self._one is line:
                    return
            elif self._one is line and to_send:
                return  # the portal has said its last word on it, but listens still
            await self._moved.wait()

    # --- the lines, in the loop's thread ---

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._on_connection, sock=self._listener)
        await self._stop.wait()
        server.close()
        await asyncio.sleep(0)  # a connection that was just accepted becomes a line
        tasks = [line.task for line in self._lines if line.task is not None]
        for line in list(self._lines):
            line.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        # Not a coroutine: Python 3.11 logs an error for a coroutine that is cancelled here.
        line = _Line(reader, writer)
        self._lines.add(line)
        line.task = self._loop.create_task(self._attend(line))

    async def _attend(self, line: _Line) -> None:
        reset = False
        try:
            if _is_ours(line.writer):
                await self._carry(line)
        except* (OSError, EOFError) as errors:
            reset = errors.subgroup(ConnectionResetError) is not None
            log.debug("A connection to %s ended: %s", line.target, "; ".join(map(str, errors.exceptions)))
        finally:
            line.close(reset=reset)
            self._lines.discard(line)
            self._spend(line)

    async def _carry(self, line: _Line) -> None:
        async with asyncio.timeout(GREETING_SECONDS):
            line.target = await read_request(line.reader, line.writer)
        self._reached.add(line.target.host)
        try:
            await self._until_allowed(line, to_send=False)
            line.portal = await self._connect(line.target)
        except (OSError, EOFError) as error:
            answer(line.writer, _reply(error))
            await line.writer.drain()
            line.writer.close()
            raise
        line.established = True
        answer(line.writer, Reply.SUCCEEDED)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._outward(line))
            both.create_task(self._inward(line))

    async def _connect(self, target: Origin) -> Streams:
        async with asyncio.timeout(CONNECT_SECONDS):
            if self._site_proxy is not None and self._site_proxy.is_for(target):
                return await self._site_proxy.connect(target)
            try:
                return await asyncio.open_connection(target.host, target.port, happy_eyeballs_delay=0.25)
            except UnicodeError as error:
                raise SocksError(f"there can be no host named {target.host!r}") from error

    async def _outward(self, line: _Line) -> None:
        """From the browser to the portal, when allowed. What is held is not read further: the browser has to wait."""
        assert line.portal is not None
        while data := await line.reader.read(CHUNK):
            await self._until_allowed(line, to_send=True)
            line.portal[1].write(data)
            await line.portal[1].drain()
        line.portal[1].write_eof()

    async def _inward(self, line: _Line) -> None:
        assert line.portal is not None
        while data := await line.portal[0].read(CHUNK):
            line.writer.write(data)
            await line.writer.drain()
        self._spend(line)  # before the browser can know of it
        line.writer.write_eof()


def _reply(error: OSError | EOFError) -> Reply:
    match error:
        case ConnectionRefusedError():
            return Reply.REFUSED
        case socket.gaierror() | TimeoutError():
            return Reply.HOST_UNREACHABLE
        case SocksError():
            return Reply.NOT_ALLOWED
        case _:
            return Reply.FAILURE


def _is_ours(writer: StreamWriter) -> bool:
    """Whether the peer runs as our own user, where the system tells (Linux); on a shared machine others may not relay.

    proc(5), /proc/net/tcp: the peer's socket is the line with its address first and ours second.
    """
    peer, own = (writer.get_extra_info(name) for name in ("peername", "sockname"))
    wanted = [f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}" for host, port in (peer, own)]
    with contextlib.suppress(OSError):
        for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            cells = row.split()
            if cells[1:3] == wanted:
                return int(cells[7]) == os.getuid()
    return True
