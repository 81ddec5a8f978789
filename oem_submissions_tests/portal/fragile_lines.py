"""The connections of the fragile portal, by what they speak. What the portal says is in `fragile`."""

from __future__ import annotations

import contextlib
import socket
import struct
from http.server import BaseHTTPRequestHandler
from socketserver import StreamRequestHandler
from typing import TYPE_CHECKING, Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, StreamEnded, StreamReset

if TYPE_CHECKING:
    from oem_submissions_tests.portal.fragile import FragilePortal, Submission

SECONDS = 30
CHUNK = 65536


class Line(StreamRequestHandler):
    """One connection; the portal knows of it as fresh until the first request on it."""

    at: FragilePortal

    def setup(self) -> None:
        self.request.settimeout(SECONDS)
        if self.at.tls is not None:
            self.request = self.at.tls.wrap_socket(self.request, server_side=True)
        self.fresh = True
        self.at.note_fresh(1)
        super().setup()

    def used(self) -> None:
        if self.fresh:
            self.fresh = False
            self.at.note_fresh(-1)

    def reset(self) -> None:
        """End the connection by a TCP RST."""
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # What wraps the socket holds on to it; the descriptor's end is what resets the connection.
        self.rfile.close()
        self.request.close()

    def finish(self) -> None:
        self.used()
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()


class Http1Line(Line, BaseHTTPRequestHandler):
    """HTTP/1.1."""

    protocol_version = "HTTP/1.1"

    def parse_request(self) -> bool:
        self.used()
        return super().parse_request()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the standard library
        pass

    def do_GET(self) -> None:
        self._answer(*self.at.page(self.path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match self.at.take(self.headers["Content-Type"], body):
            case "answer":
                self._answer(200, "text/html", self.at.confirmation())
            case "reset":
                self.close_connection = True
                self.reset()
            case _:
                self.close_connection = True

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if not self.at.keep_alive:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


class Http2Line(Line):
    """HTTP/2 (RFC 9113)."""

    def handle(self) -> None:
        self._http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._http.initiate_connection()
        self._headers: dict[int, dict[str, str]] = {}
        self._bodies: dict[int, bytes] = {}
        """Of the requests that are under way, by stream."""
        self._flush()
        while data := self.request.recv(CHUNK):
            if not self._hear(self._http.receive_data(data)):
                return
            self._flush()
            if self._headers and not self._bodies and not self.at.keep_alive:
                self._leave()

    def _flush(self) -> None:
        self.request.sendall(self._http.data_to_send())

    def _leave(self) -> None:
        """All that was asked is answered; what is asked from now on was not heard."""
        self._http.close_connection()
        self._flush()
        while self.request.recv(CHUNK):
            pass

    def _hear(self, events: list[Event]) -> bool:
        """Take what arrived; whether the connection goes on."""
        given_up = {event.stream_id for event in events if isinstance(event, StreamReset)}
        for event in events:
            match event:
                case RequestReceived():
                    self.used()
                    self._headers[event.stream_id] = dict(event.headers)
                    self._bodies[event.stream_id] = b""
                case DataReceived():
                    self._bodies[event.stream_id] += event.data
                    self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamReset():
                    self._bodies.pop(event.stream_id, None)
                case StreamEnded() if event.stream_id not in given_up:
                    if not self._serve(event.stream_id):
                        return False
                case ConnectionTerminated():
                    return False
        return True

    def _serve(self, stream: int) -> bool:
        headers, body = self._headers[stream], self._bodies.pop(stream)
        if headers[":method"] != "POST":
            self._answer(stream, *self.at.page(headers[":path"]))
            return True
        return self._submitted(stream, self.at.take(headers["content-type"], body))

    def _submitted(self, stream: int, submission: Submission) -> bool:
        match submission:
            case "answer":
                self._answer(stream, 200, "text/html", self.at.confirmation())
                return True
            case "reset":
                self.reset()
            case "goaway":
                self._http.close_connection(ErrorCodes.NO_ERROR, last_stream_id=max(0, stream - 2))
                self._flush()
            case "refuse":
                self._http.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
                return True
        return False

    def _answer(self, stream: int, status: int, content_type: str, body: bytes) -> None:
        length = str(len(body))
        headers = [(":status", str(status)), ("content-type", content_type), ("content-length", length)]
        self._http.send_headers(stream, headers)
        self._http.send_data(stream, body, end_stream=True)
