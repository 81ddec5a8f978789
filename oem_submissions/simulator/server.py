"""Runs the simulator in a thread of this process: one app, one http port, one https port, loopback only."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme
import uvicorn
from starlette.types import ASGIApp

from oem_submissions.simulator.app import build, open_world
from oem_submissions.simulator.client import SimulatorClient
from oem_submissions.simulator.connections import ResettableH11
from oem_submissions.simulator.skin import Skin
from oem_submissions.simulator.skins import SKINS

HOST = "127.0.0.1"
_START_SECONDS = 20.0


class Simulator:
    """`with Simulator() as sim:` gives running portals; with a `state_dir` they remember what was filed.

    Port 0 takes a free port.
    """

    http_url: str
    https_url: str
    ca_path: Path
    client: SimulatorClient

    def __init__(
        self, state_dir: Path | None = None, port: int = 0, https_port: int = 0, skins: Sequence[type[Skin]] = ()
    ) -> None:
        """`skins` come beside our own, or in the place of the one for the same OEM."""
        self._state_dir = state_dir
        self._skins = SKINS | {skin.oem: skin for skin in skins}
        self._ports = (port, https_port)
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._servers: list[uvicorn.Server] = []
        self._sockets: list[socket.socket] = []
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when both ports answer."""
        if self._state_dir is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="simulator-")
        certificates = self._state_dir or Path(self._scratch.name if self._scratch else ".")
        certificates.mkdir(parents=True, exist_ok=True)
        authority = _authority(certificates)
        self.ca_path = certificates / "ca.pem"
        self._sockets = [_listen(port) for port in self._ports]
        http_port, https_port = (s.getsockname()[1] for s in self._sockets)
        self.http_url, self.https_url = f"http://{HOST}:{http_port}", f"https://{HOST}:{https_port}"
        self._world = open_world(self._state_dir, self._skins)
        app = build(self._world, self._state_dir, self._skins)
        self._servers = [_server(app, None), _server(app, authority)]
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), name="simulator", daemon=True)
        self._thread.start()
        self.client = SimulatorClient(self.http_url)
        self.client.wait_until_up(_START_SECONDS)

    async def _serve(self) -> None:
        serving = [s.serve(sockets=[sock]) for s, sock in zip(self._servers, self._sockets, strict=True)]
        await asyncio.gather(*serving)

    def stop(self) -> None:
        """Ends both servers; open requests get a second to finish."""
        for server in self._servers:
            server.should_exit = True
        if self._thread:
            self._thread.join(timeout=10)
        self.client.close()
        self._world.database.close()
        for sock in self._sockets:
            sock.close()
        if self._scratch:
            self._scratch.cleanup()


def _listen(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((HOST, port))
    sock.listen(128)  # from now on connections wait in the backlog: the first request needs no retry
    return sock


def _authority(folder: Path) -> trustme.CA:
    """The local CA, made on first use. Its key stays in the state folder, readable by its owner only."""
    certificate, key = folder / "ca.pem", folder / "ca.key"
    if certificate.exists() and key.exists():
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    authority = trustme.CA(organization_name="OEM simulator")
    descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(authority.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(certificate))
    return authority


def _server(app: ASGIApp, authority: trustme.CA | None) -> uvicorn.Server:
    def context(config: uvicorn.Config, default: object) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        assert authority is not None
        authority.issue_cert("localhost", HOST).configure_cert(made)
        return made

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=ResettableH11,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_level="error",
            access_log=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
            ssl_context_factory=context if authority else None,
        )
    )
