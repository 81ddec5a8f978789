"""The tunnel's own server, spoken to by plain sockets: SOCKS 5, who may send when, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.portal import tunnel as module
from oem_submissions.portal.site_proxy import SiteProxy, site_proxy
from oem_submissions.portal.socks import Origin, SocksError, origin, origin_of, read_request
from oem_submissions.portal.standstill import Pulse
from oem_submissions.portal.tunnel import LOOPBACK, Position, SingleShotTunnel

GREETING = b"\x05\x01\x00"
SECONDS = 10.0
GRACE_SECONDS = 0.3
BLOCK = bytes(range(256)) * 256


def address(host: str, port: int) -> bytes:
    """As Chromium sends it: a name, even when it is an address."""
    return bytes([3, len(host)]) + host.encode() + port.to_bytes(2, "big")


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += (more := sock.recv(count - len(data)))
        assert more, f"the connection ended after {data!r}"
    return data


def until_end(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


class Peer:
    """Listens on loopback and hands out its connections, in order: a portal, or a site's proxy."""

    def __init__(self) -> None:
        self.listener = socket.create_server((LOOPBACK, 0))
        self.listener.settimeout(SECONDS)
        self.port: int = self.listener.getsockname()[1]
        self.origin = Origin(LOOPBACK, self.port)
        self.accepted: list[socket.socket] = []

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(SECONDS)
        self.accepted.append(connection)
        return connection

    def close(self) -> None:
        for sock in (self.listener, *self.accepted):
            sock.close()


@pytest.fixture
def portal() -> Iterator[Peer]:
    with closing(Peer()) as peer:
        yield peer


@pytest.fixture
def other() -> Iterator[Peer]:
    with closing(Peer()) as peer:
        yield peer


@pytest.fixture
def tunnel() -> Iterator[SingleShotTunnel]:
    with SingleShotTunnel(grace_seconds=GRACE_SECONDS) as running:
        yield running


Dial = Callable[[], socket.socket]


@pytest.fixture
def dial(tunnel: SingleShotTunnel) -> Iterator[Dial]:
    """Opens connections to the tunnel's server."""
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection((LOOPBACK, int(tunnel.url.rpartition(":")[2])), SECONDS))
        return opened[-1]

    yield connect
    for sock in opened:
        sock.close()


def ask(client: socket.socket, host: str, port: int) -> int:
    """Greets, asks to be connected, and returns the reply's code."""
    client.sendall(GREETING)
    assert exactly(client, 2) == b"\x05\x00"
    client.sendall(b"\x05\x01\x00" + address(host, port))
    return exactly(client, 10)[1]


def line(dial: Dial, portal: Peer) -> tuple[socket.socket, socket.socket]:
    """A line through the tunnel: the browser's end and the portal's."""
    client = dial()
    assert ask(client, LOOPBACK, portal.port) == 0
    return client, portal.accept()


def send_until_full(sock: socket.socket) -> int:
    """Sends blocks until the other side takes no more, 32 MiB at most; returns how many bytes it took."""
    sent = 0
    try:
        while sent < 32 * 1024 * 1024:
            sent += sock.send(BLOCK[sent % len(BLOCK) :])
    except TimeoutError:
        pass
    return sent


def is_ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def is_silent(sock: socket.socket) -> bool:
    """Whether nothing arrives for a moment, and the connection stays."""
    sock.settimeout(0.15)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(SECONDS)
    return False


# --- SOCKS 5 ---


@pytest.mark.parametrize("host", [LOOPBACK, "localhost"])
def test_it_connects_to_names_and_addresses(host: str, dial: Dial, portal: Peer) -> None:
    client = dial()
    assert ask(client, host, portal.port) == 0
    server = portal.accept()
    client.sendall(b"ping")
    assert exactly(server, 4) == b"ping"
    server.sendall(b"pong")
    assert exactly(client, 4) == b"pong"


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (b"\x01\x7f\x00\x00\x01\x01\xbb", Origin("127.0.0.1", 443)),
        (b"\x04" + bytes(15) + b"\x01\x00\x50", Origin("::1", 80)),
        (b"\x03\x05[::1]\x00\x50", Origin("::1", 80)),
        (b"\x03\x0fPortal.Example.\x01\xbb", Origin("portal.example", 443)),
    ],
)
def test_equal_hosts_are_one_origin_however_they_are_written(sent: bytes, wanted: Origin) -> None:
    class Nowhere:
        def write(self, data: bytes) -> None:
            pass

    async def read() -> Origin:
        reader = asyncio.StreamReader()
        reader.feed_data(GREETING + b"\x05\x01\x00" + sent)
        return await read_request(reader, Nowhere())  # type: ignore[arg-type]

    with ThreadPoolExecutor(1) as another:  # in this thread a browser may be running, with a loop of its own
        assert another.submit(lambda: asyncio.run(read())).result() == wanted
    shown = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
    assert origin_of(f"{'https' if wanted.port == 443 else 'http'}://{shown}/submit") == wanted


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\x05\x01\x02", b"\x05\xff"),  # a password only
        (GREETING + b"\x05\x02\x00\x01" + bytes(6), b"\x05\x00\x05\x07"),  # BIND
        (GREETING + b"\x05\x03\x00\x01" + bytes(6), b"\x05\x00\x05\x07"),  # UDP ASSOCIATE
        (GREETING + b"\x05\x01\x00\x09", b"\x05\x00\x05\x08"),  # no address type
        (GREETING + b"\x05\x01\x00\x03\x00\x00\x50", b"\x05\x00\x05\x01"),  # no host at all
        (GREETING + b"\x05\x01\x00" + address("x" * 70, 80), b"\x05\x00\x05\x02"),  # no name that can be looked up
        (b"GET / HTTP/1.1\r\n\r\n", b""),
    ],
)
def test_what_is_no_connect_is_refused(sent: bytes, answer: bytes, dial: Dial) -> None:
    client = dial()
    client.sendall(sent)
    assert exactly(client, len(answer)) == answer
    assert is_ended(client) or answer.startswith(b"\x05\x00")


def test_a_portal_that_refuses_is_reported_as_refused(dial: Dial, portal: Peer) -> None:
    portal.listener.close()
    assert ask(dial(), LOOPBACK, portal.port) == 5


def test_a_client_that_says_nothing_is_let_go(dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GREETING_SECONDS", 0.1)
    assert is_ended(dial())


def test_another_users_process_is_refused(dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: -1)
    client = dial()
    client.sendall(GREETING)
    assert is_ended(client)


# --- bytes ---


def test_half_closed_is_not_closed(dial: Dial, portal: Peer) -> None:
    client, server = line(dial, portal)
    client.sendall(b"all of it")
    client.shutdown(socket.SHUT_WR)
    assert until_end(server) == b"all of it"
    server.sendall(b"an answer")
    server.close()
    assert until_end(client) == b"an answer"


def test_a_portal_that_reads_slowly_makes_the_browser_wait_and_gets_every_byte(dial: Dial, portal: Peer) -> None:
    client, server = line(dial, portal)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    client.settimeout(0.3)
    sent = send_until_full(client)
    assert sent < 32 * 1024 * 1024
    client.shutdown(socket.SHUT_WR)
    received = until_end(server)
    assert received == (BLOCK * (sent // len(BLOCK) + 1))[:sent]


def test_a_reset_arrives_as_a_reset(dial: Dial, portal: Peer) -> None:
    client, server = line(dial, portal)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    server.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


# --- armed, spent, open ---


def test_arming_closes_what_leads_to_the_portal_and_nothing_else(
    tunnel: SingleShotTunnel, dial: Dial, portal: Peer, other: Peer
) -> None:
    client, server = line(dial, portal)
    foreign, foreign_server = line(dial, other)
    tunnel.arm(portal.origin)
    assert is_ended(client)
    assert is_ended(server)
    foreign.sendall(b"x")
    assert exactly(foreign_server, 1) == b"x"


def test_armed_only_the_first_line_that_sends_may_send(
    tunnel: SingleShotTunnel, dial: Dial, portal: Peer, other: Peer
) -> None:
    tunnel.arm(portal.origin)
    idle, idle_server = line(dial, portal)
    first, first_server = line(dial, portal)
    first.sendall(b"POST")
    assert exactly(first_server, 4) == b"POST"
    idle.sendall(b"GET")
    foreign, foreign_server = line(dial, other)
    foreign.sendall(b"script")
    assert exactly(foreign_server, 6) == b"script"
    assert is_silent(idle_server)
    first.sendall(b" more")
    assert exactly(first_server, 5) == b" more"
    tunnel.release()
    assert exactly(idle_server, 3) == b"GET"
    assert tunnel.position is Position.OPEN


def test_when_the_one_line_dies_nothing_more_arrives(tunnel: SingleShotTunnel, dial: Dial, portal: Peer) -> None:
    tunnel.arm(portal.origin)
    first, first_server = line(dial, portal)
    held, held_server = line(dial, portal)
    first.sendall(b"POST")
    assert exactly(first_server, 4) == b"POST"
    held.sendall(b"POST again")
    first_server.close()
    assert is_ended(first)
    assert tunnel.position is Position.SPENT
    assert until_end(held_server) == b""  # ended after the grace, without a byte
    assert is_ended(held)
    assert ask(dial(), LOOPBACK, portal.port) == 2
    tunnel.disarm()
    client, server = line(dial, portal)
    client.sendall(b"GET")
    assert exactly(server, 3) == b"GET"


@pytest.mark.parametrize("clock", [0, 1], ids=["since the machine's start", "time of day"])
def test_a_process_that_stood_still_sends_nothing_more(
    clock: int, tunnel: SingleShotTunnel, dial: Dial, portal: Peer
) -> None:
    now = [100.0, 5000.0]
    tunnel.arm(portal.origin, Pulse(30.0, lambda: tuple(now)))
    first, first_server = line(dial, portal)
    other, other_server = line(dial, portal)
    first.sendall(b"POST")
    assert exactly(first_server, 4) == b"POST"  # as long as it runs
    now[clock] += 31
    first.sendall(b" more")
    other.sendall(b"POST again")
    assert until_end(first_server) == b""
    assert until_end(other_server) == b""
    assert tunnel.position is Position.SPENT
    assert ask(dial(), LOOPBACK, portal.port) == 2


def test_a_process_that_stood_still_after_the_record_never_sends(
    tunnel: SingleShotTunnel, dial: Dial, portal: Peer
) -> None:
    now = [100.0]
    pulse = Pulse(30.0, lambda: tuple(now))  # the record is made here, and then nothing moves for a while
    now[0] += 31
    tunnel.arm(portal.origin, pulse)
    assert ask(dial(), LOOPBACK, portal.port) == 2
    assert tunnel.position is Position.SPENT


def test_disarming_lets_nothing_go_that_was_held(tunnel: SingleShotTunnel, dial: Dial, portal: Peer) -> None:
    tunnel.arm(portal.origin)
    first, first_server = line(dial, portal)
    held, held_server = line(dial, portal)
    first.sendall(b"POST")
    assert exactly(first_server, 4) == b"POST"
    held.sendall(b"POST again")
    tunnel.disarm()
    assert until_end(held_server) == b""
    assert is_ended(first)


def test_an_answer_that_ends_the_connection_still_opens_the_tunnel(
    tunnel: SingleShotTunnel, dial: Dial, portal: Peer
) -> None:
    tunnel.arm(portal.origin)
    first, first_server = line(dial, portal)
    held, held_server = line(dial, portal)
    first.sendall(b"POST")
    assert exactly(first_server, 4) == b"POST"
    first_server.sendall(b"200")
    first_server.close()
    assert until_end(first) == b"200"
    assert tunnel.position is Position.SPENT
    held.sendall(b"GET")
    late = dial()
    late.sendall(GREETING + b"\x05\x01\x00" + address(LOOPBACK, portal.port))
    tunnel.release()
    assert exactly(held_server, 3) == b"GET"
    assert exactly(late, 12)[3] == 0


def test_a_client_that_leaves_without_a_word_spends_nothing(tunnel: SingleShotTunnel, dial: Dial, portal: Peer) -> None:
    tunnel.arm(portal.origin)
    client, server = line(dial, portal)
    client.close()
    assert until_end(server) == b""
    client, server = line(dial, portal)
    client.sendall(b"POST")
    assert exactly(server, 4) == b"POST"
    assert tunnel.position is Position.ARMED


# --- leaving ---


def test_closing_leaves_no_thread_and_no_socket(portal: Peer) -> None:
    def descriptors() -> set[str]:
        return {os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}

    threads, before = set(threading.enumerate()), descriptors()
    with (
        SingleShotTunnel() as tunnel,
        socket.create_connection((LOOPBACK, int(tunnel.url.rpartition(":")[2])), SECONDS) as silent,
        socket.create_connection(silent.getpeername(), SECONDS) as first,
        socket.create_connection(silent.getpeername(), SECONDS) as held,
    ):
        tunnel.arm(portal.origin)
        for client in (first, held):
            assert ask(client, LOOPBACK, portal.port) == 0
            client.sendall(b"POST")
        tunnel.close()
        assert all(is_ended(client) for client in (silent, first, held))
    assert set(threading.enumerate()) == threads
    assert {name for name in descriptors() - before if name.startswith("socket:")} == set()
    tunnel.release()
    with pytest.raises(RuntimeError, match="not running"):
        tunnel.arm(portal.origin)


# --- a site's own proxy ---


def chained(proxy: SiteProxy, target: str, serve: Callable[[socket.socket], None], peer: Peer) -> bytes:
    """What a client reads that is connected to `target` through the tunnel and through the site's proxy."""

    def run() -> None:
        connection = peer.accept()
        serve(connection)
        connection.close()

    server = threading.Thread(target=run)
    server.start()
    with (
        SingleShotTunnel(proxy) as tunnel,
        socket.create_connection((LOOPBACK, int(tunnel.url.rpartition(":")[2])), SECONDS) as client,
    ):
        reply = ask(client, target, 443)
        said = until_end(client) if reply == 0 else bytes([reply])
    server.join()
    return said


def test_it_goes_out_by_http_connect(other: Peer) -> None:
    heard = b""

    def serve(connection: socket.socket) -> None:
        nonlocal heard
        while b"\r\n\r\n" not in heard:
            heard += connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\nhello")

    assert chained(SiteProxy("http", LOOPBACK, other.port, ("me", "pw")), "portal.example", serve, other) == b"hello"
    assert heard.startswith(b"CONNECT portal.example:443 HTTP/1.1\r\nHost: portal.example:443\r\n")
    assert b"Proxy-Authorization: Basic bWU6cHc=\r\n" in heard


def test_it_goes_out_by_socks(other: Peer) -> None:
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        heard.append(exactly(connection, 3))
        connection.sendall(b"\x05\x02")
        heard.append(exactly(connection, 7))
        connection.sendall(b"\x01\x00")
        heard.append(exactly(connection, 21))
        connection.sendall(b"\x05\x00\x00\x01" + bytes(6) + b"hello")

    assert chained(SiteProxy("socks5", LOOPBACK, other.port, ("me", "pw")), "portal.example", serve, other) == b"hello"
    assert heard == [b"\x05\x01\x02", b"\x01\x02me\x02pw", b"\x05\x01\x00" + address("portal.example", 443)]


def test_a_site_proxy_that_refuses_is_a_connection_that_is_refused(other: Peer) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    assert chained(SiteProxy("http", LOOPBACK, other.port), "portal.example", serve, other) == b"\x02"


def test_the_site_proxy_is_read_from_the_environment() -> None:
    assert site_proxy({}) is None
    assert site_proxy({"https_proxy": "proxy.example:3128"}) == SiteProxy("http", "proxy.example", 3128)
    found = site_proxy({"ALL_PROXY": "socks5://a%40b:c@[::1]", "NO_PROXY": "inner.example, .corp"})
    assert found == SiteProxy("socks5", "::1", 1080, ("a@b", "c"), "inner.example, .corp")
    assert "c'" not in repr(found)
    for host, wanted in [
        ("portal.example", True), ("inner.example", False), ("not-inner.example", True), ("www.corp", False),
        ("127.0.0.1", False), ("::1", False), ("localhost", False),
    ]:  # fmt: skip
        assert found.is_for(origin(host, 443)) is wanted, host
    assert not SiteProxy("http", "proxy.example", 80, bypass="*").is_for(origin("portal.example", 443))


@pytest.mark.parametrize("url", ["ftp://proxy.example", "http://", "http://proxy.example:port"])
def test_a_site_proxy_that_is_none_is_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY"):
        site_proxy({"HTTPS_PROXY": url})


def test_an_address_that_is_not_http_has_no_origin() -> None:
    with pytest.raises(ValueError, match="file://"):
        origin_of("file:///etc/passwd")
    assert issubclass(SocksError, OSError)
