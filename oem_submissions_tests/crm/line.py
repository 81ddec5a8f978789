"""A line to a server of this machine that a test can cut: whoever speaks on it is reset, whoever comes too."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

_RESET = struct.pack("ii", 1, 0)


class Line:
    """Forwards connections to a port until it is cut; mended, it takes new ones."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.to = 0
        """The server's port."""
        self.cut_after: bytes | None = None
        """When a request begins with this, it is passed on, and the line is cut before its answer comes back."""
        self._is_cut = False
        self._open: set[socket.socket] = set()

    def cut(self) -> None:
        """Resets what is open, and what comes."""
        self._is_cut = True
        for one in list(self._open):
            self._reset(one)

    def mend(self) -> None:
        """As if nothing had been."""
        self._is_cut, self.cut_after = False, None

    def serve(self) -> None:
        """Until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                self._reset(client)
                continue
            server = socket.create_connection(("127.0.0.1", self.to))
            self._open |= {client, server}
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
                if is_request and self.cut_after is not None and data.startswith(self.cut_after):
                    self.cut_after = None
                    self._reset(source)
                    break
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        if not is_request:  # the answer's end is the end
            for one in (source, target):
                one.close()
                self._open.discard(one)

    @staticmethod
    def _reset(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.close()


@contextlib.contextmanager
def line() -> Iterator[Line]:
    """A line on a free port; its `to` is to be set."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Line(listener)
        thread = threading.Thread(target=made.serve, daemon=True)
        thread.start()
        yield made
        made.cut()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
