"""A portal that breaks its connections: it counts every POST that it has read to the end, then resets, or answers."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HOST = "127.0.0.1"
FILE = b"%PDF-1.4\n" + bytes(range(256)) * 600
"""153,609 bytes: more than one buffer of anybody's."""
PARTS = 8

_FIELDS = "<label>VIN <input name=vin value=1HGCM82633A000001></label>"
_BUTTON = "<button>Submit</button>"
FORMS = {
    "urlencoded": f"<form method=post action=/submit>{_FIELDS}{_BUTTON}</form>",
    "multipart": f"<form method=post action=/submit enctype=multipart/form-data>{_FIELDS}<input type=file name=invoice>"
    f"{_BUTTON}</form>",
    "json": f"""{_FIELDS}{_BUTTON}<p id=said></p><script>
        document.querySelector('button').onclick = async () => {{
            const said = await fetch('/submit', {{method: 'POST', headers: {{'Content-Type': 'application/json'}},
                body: JSON.stringify({{vin: document.querySelector('input').value, note: 'x'.repeat(120000)}})}});
            document.querySelector('#said').innerHTML = await said.text();
        }}</script>""",
}


class Certificate:
    """A certificate for the portal, and the launch argument by which Chromium trusts it and nothing else of its kind.

    Not `ignore_https_errors` of the context: with that, Chromium opens a second connection, which spends the shot.
    """

    def __init__(self) -> None:
        issued = trustme.CA().issue_cert(HOST, "localhost")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(self.context)
        public = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).public_key()
        digest = hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        self.argument = f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}"


@dataclass(frozen=True)
class Post:
    """A POST that the portal has read to its end."""

    content_type: str
    body: bytes


class FragilePortal:
    """`with FragilePortal(...) as portal:` serves on a free port of loopback; how is said by its attributes."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        self.certificate = certificate
        self.submission: Literal["answer", "reset", "close"] = "answer"
        self.keep_alive = True
        self.posts: list[Post] = []
        self._changed = threading.Condition()
        self._fresh = 0
        """Connections that were opened, with TLS where there is TLS, and carried nothing yet."""
        portal = self

        class Handler(_Handler):
            at = portal

        self._server = _Server((HOST, 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if certificate else 'http'}://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def note_fresh(self, change: int) -> None:
        with self._changed:
            self._fresh += change
            self._changed.notify_all()

    def is_preconnected(self, seconds: float) -> bool:
        """Whether a connection that carries nothing is opened within that time, and stays so for a moment."""
        with self._changed:
            opened = self._changed.wait_for(lambda: self._fresh > 0, seconds)
            return opened and not self._changed.wait_for(lambda: self._fresh == 0, 0.1)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    at: FragilePortal

    def setup(self) -> None:
        self.request.settimeout(30)
        if self.at.certificate is not None:
            self.request = self.at.certificate.context.wrap_socket(self.request, server_side=True)
        self.fresh = True
        self.at.note_fresh(1)
        super().setup()

    def parse_request(self) -> bool:
        self._used()
        return super().parse_request()

    def finish(self) -> None:
        self._used()
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()

    def _used(self) -> None:
        if self.fresh:
            self.fresh = False
            self.at.note_fresh(-1)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the standard library
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/part.css"):
            self._answer(b"p {}", "text/css")
            return
        page = FORMS.get(self.path.strip("/"))
        self._answer((page or "").encode(), "text/html", 200 if page else 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.at.posts.append(Post(self.headers["Content-Type"], body))
        if self.at.submission == "answer":
            parts = "".join(f"<link rel=stylesheet href=/part.css?{number}>" for number in range(PARTS))
            self._answer(f"{parts}<p>Claim number WC-1</p>".encode(), "text/html")
            return
        self.close_connection = True
        if self.at.submission == "reset":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # What wraps the socket holds on to it; the descriptor's end is what resets the connection.
            self.rfile.close()
            self.request.close()

    def _answer(self, body: bytes, content_type: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if not self.at.keep_alive:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
