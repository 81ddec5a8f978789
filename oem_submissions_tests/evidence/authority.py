"""A real time-stamp authority: `openssl ts` behind a small HTTP server, with a CA and a certificate of its own."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_CONFIG = """\
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[tsa]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_chain = no
"""

Answer = Callable[[bytes], bytes | int]
"""A query's bytes to the reply's, or to an HTTP status."""


class Authority:
    """The authority's files, and what it answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "openssl.cnf").write_text(_CONFIG)
        (folder / "serial").write_text("01\n")
        new = (
            "req",
            "-config",
            "openssl.cnf",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-sha256",
        )
        self.openssl(*new, "-x509", "-extensions", "ca", "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem")
        self.openssl(*new, "-subj", "/CN=Test TSA", "-keyout", "tsa.key", "-out", "tsa.csr")
        signing = (
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "openssl.cnf",
            "-extensions",
            "leaf",
        )
        self.openssl("x509", "-req", "-sha256", "-in", "tsa.csr", *signing, "-out", "tsa.pem")
        self.answer: Answer = self.reply
        self.asked = 0
        self.url = ""

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def reply(self, query: bytes) -> bytes:
        """The right answer."""
        (self.folder / "query.tsq").write_bytes(query)
        self.openssl(
            "ts", "-reply", "-config", "openssl.cnf", "-section", "tsa", "-queryfile", "query.tsq", "-out", "reply.tsr"
        )
        return (self.folder / "reply.tsr").read_bytes()

    def query(self, data: bytes) -> bytes:
        """A query for other data, as anybody makes it."""
        (self.folder / "data").write_bytes(data)
        self.openssl("ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "own.tsq")
        return (self.folder / "own.tsq").read_bytes()

    def openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True, timeout=60)


@contextmanager
def authority(folder: Path) -> Iterator[Authority]:
    """An authority that answers on a free port of the loopback interface."""
    made = Authority(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.asked += 1
            answer = made.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            with suppress(ConnectionError):  # who asked has given up
                self.wfile.write(b"" if isinstance(answer, int) else answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
