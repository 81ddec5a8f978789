"""A portal that breaks its connections: it counts every POST that it has read to the end, then resets, or answers.

What it does is here; how it speaks, HTTP/1.1 or HTTP/2, is in `fragile_lines`.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
import threading
from dataclasses import dataclass
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, Literal, Self

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from oem_submissions_tests.portal.fragile_lines import Http1Line, Http2Line

HOST = "127.0.0.1"
FILE = b"%PDF-1.4\n" + bytes(range(256)) * 600
"""153,609 bytes: more than one buffer of anybody's, and more than HTTP/2 sends unasked."""
PARTS = 8

Protocol = Literal["http", "https", "h2"]
PROTOCOLS: tuple[Protocol, ...] = ("http", "https", "h2")
"""`h2` is HTTP/2 over TLS and nothing else."""
Submission = Literal["answer", "reset", "close", "goaway", "refuse"]
"""What becomes of a POST that was read to its end. With HTTP/2 only: `goaway` ends the connection in its own words and
says that the POST was not processed, `refuse` says so of the stream alone."""

_VIN = "1HGCM82633A000001"
_NOTE = "'x'.repeat(120000)"
_FIELDS = f"<label>VIN <input name=vin value={_VIN}></label>"
_BUTTON = "<button>Submit</button>"
FORMS = {
    "urlencoded": f"<form method=post action=/submit>{_FIELDS}<textarea name=note></textarea>{_BUTTON}</form>"
    f"<script>document.forms[0].note.value = {_NOTE}</script>",
    "multipart": f"<form method=post action=/submit enctype=multipart/form-data>{_FIELDS}<input type=file name=invoice>"
    f"{_BUTTON}</form>",
    "json": f"""{_FIELDS}{_BUTTON}<p id=said></p><script>
        document.querySelector('button').onclick = async () => {{
            const said = await fetch('/submit', {{method: 'POST', headers: {{'Content-Type': 'application/json'}},
                body: JSON.stringify({{vin: document.querySelector('input').value, note: {_NOTE}}})}});
            document.querySelector('#said').innerHTML = await said.text();
        }}</script>""",
}
WHOLE = {
    "urlencoded": f"vin={_VIN}&note={'x' * 120000}".encode(),
    "json": f'{{"vin":"{_VIN}","note":"{"x" * 120000}"}}'.encode(),
    "multipart": FILE,
}
"""What is submitted, all of it; of a multipart body, its file."""


class Certificate:
    """A certificate for the portal, and the launch argument by which Chromium trusts it and nothing else of its kind.

    Not `ignore_https_errors` of the context: with that, Chromium opens a second connection, which spends the shot.
    """

    def __init__(self) -> None:
        self._issued = trustme.CA().issue_cert(HOST, "localhost")
        public = x509.load_pem_x509_certificate(self._issued.cert_chain_pems[0].bytes()).public_key()
        digest = hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        self.argument = f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}"

    def context(self, protocol: Protocol) -> ssl.SSLContext:
        """For a server that speaks this and nothing else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._issued.configure_cert(context)
        context.set_alpn_protocols(["h2"] if protocol == "h2" else ["http/1.1"])
        return context


@dataclass(frozen=True)
class Post:
    """A POST that the portal has read to its end."""

    content_type: str
    body: bytes


class FragilePortal:
    """`with FragilePortal(...) as portal:` serves on a free port of loopback; how is said by its attributes."""

    def __init__(self, protocol: Protocol, certificate: Certificate) -> None:
        self.tls = None if protocol == "http" else certificate.context(protocol)
        self.submission: Submission = "answer"
        self.keep_alive = True
        self.posts: list[Post] = []
        self._changed = threading.Condition()
        self._fresh = 0
        """Connections that were opened, with TLS where there is TLS, and carried nothing yet."""
        line: Any = type("Line", (Http2Line if protocol == "h2" else Http1Line,), {"at": self})
        self._server = _Server((HOST, 0), line)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if self.tls else 'http'}://{HOST}:{self.port}"

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

    def page(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body of what a GET asks for."""
        if path.startswith("/part.css"):
            return 200, "text/css", b"p {}"
        form = FORMS.get(path.strip("/"))
        return (200, "text/html", form.encode()) if form else (404, "text/html", b"")

    def confirmation(self) -> bytes:
        """The page that answers a POST; its parts are asked for apart."""
        parts = "".join(f"<link rel=stylesheet href=/part.css?{number}>" for number in range(PARTS))
        return f"{parts}<p>Claim number WC-1</p>".encode()

    def take(self, content_type: str, body: bytes) -> Submission:
        """Count a POST that was read to its end; what is to become of it."""
        self.posts.append(Post(content_type, body))
        return self.submission

    def note_fresh(self, change: int) -> None:
        """One connection more, or one less, that carried nothing yet."""
        with self._changed:
            self._fresh += change
            self._changed.notify_all()

    def is_preconnected(self, seconds: float) -> bool:
        """Whether a connection that carries nothing is opened within that time, and stays so for a moment."""
        with self._changed:
            opened = self._changed.wait_for(lambda: self._fresh > 0, seconds)
            return opened and not self._changed.wait_for(lambda: self._fresh == 0, 0.1)


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is what this is for."""
