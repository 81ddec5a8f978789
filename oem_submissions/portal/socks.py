"""The words of SOCKS version 5 (RFC 1928), as far as a browser needs them: CONNECT, without authentication.

Both sides are here: the server that the browser speaks to, and the client for a site's own proxy. When a connection may
carry bytes is not decided here: that is `tunnel`.
"""

from __future__ import annotations

import ipaddress
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import urlsplit

VERSION = 5
_NO_AUTHENTICATION, _PASSWORD, _NO_METHOD = 0x00, 0x02, 0xFF
_CONNECT = 0x01
_IPV4, _DOMAIN, _IPV6 = 0x01, 0x03, 0x04
_LENGTHS = {_IPV4: 4, _IPV6: 16}
_PORTS = {"http": 80, "https": 443}


class SocksError(OSError):
    """The other side speaks no SOCKS, or something of it that we don't."""


class Reply(IntEnum):
    """RFC 1928, section 6."""

    SUCCEEDED = 0
    FAILURE = 1
    NOT_ALLOWED = 2
    HOST_UNREACHABLE = 4
    REFUSED = 5
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


@dataclass(frozen=True)
class Origin:
    """A host, in one spelling only, and a port."""

    host: str
    port: int


def origin(host: str, port: int) -> Origin:
    """The origin, spelled so that equal hosts are equal: lower case, no brackets, no dot at the end."""
    plain = host.strip("[]").rstrip(".").lower()
    try:
        plain = str(ipaddress.ip_address(plain))
    except ValueError:
        pass  # a name
    return Origin(plain, port)


def origin_of(url: str) -> Origin:
    """Where a request for this http(s) address goes. Raises `ValueError` for any other address."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{parts.scheme}://{parts.netloc} is no http address.")
    return origin(parts.hostname, parts.port or _PORTS[parts.scheme])


async def read_request(reader: StreamReader, writer: StreamWriter) -> Origin:
    """The server's half of the greeting, then where the client wants to go. Raises `SocksError`, `EOFError`."""
    version, count = await reader.readexactly(2)
    if version != VERSION:
        raise SocksError("the client speaks no SOCKS 5")
    if _NO_AUTHENTICATION not in await reader.readexactly(count):
        writer.write(bytes([VERSION, _NO_METHOD]))
        raise SocksError("the client insists on authentication")
    writer.write(bytes([VERSION, _NO_AUTHENTICATION]))
    version, command, _, kind = await reader.readexactly(4)
    if version != VERSION or kind not in (_IPV4, _DOMAIN, _IPV6):
        answer(writer, Reply.ADDRESS_TYPE_NOT_SUPPORTED)
        raise SocksError(f"the client sent the address type {kind}")
    host = await _read_host(reader, kind)
    port = int.from_bytes(await reader.readexactly(2), "big")
    if command != _CONNECT:
        answer(writer, Reply.COMMAND_NOT_SUPPORTED)
        raise SocksError(f"the client asked for command {command}, and there is only CONNECT")
    if not host:
        answer(writer, Reply.FAILURE)
        raise SocksError("the client named no host")
    return origin(host, port)


def answer(writer: StreamWriter, reply: Reply) -> None:
    """The server's answer. The address that it is bound to is nobody's business: 0.0.0.0:0."""
    writer.write(bytes([VERSION, reply, 0, _IPV4]) + bytes(6))


async def ask(
    reader: StreamReader, writer: StreamWriter, target: Origin, credentials: tuple[str, str] | None = None
) -> None:
    """The client's half: have a SOCKS 5 server connect us to `target`. Raises `SocksError`, `EOFError`.

    Credentials are user and password, as RFC 1929 sends them.
    """
    method = _PASSWORD if credentials else _NO_AUTHENTICATION
    writer.write(bytes([VERSION, 1, method]))
    if await reader.readexactly(2) != bytes([VERSION, method]):
        raise SocksError("the site's proxy does not take our way of signing in")
    if credentials:
        user, password = (text.encode() for text in credentials)
        writer.write(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        if (await reader.readexactly(2))[1] != 0:
            raise SocksError("the site's proxy refused user or password")
    writer.write(bytes([VERSION, _CONNECT, 0]) + _address(target.host) + target.port.to_bytes(2, "big"))
    _, said, _, kind = await reader.readexactly(4)
    if said != Reply.SUCCEEDED:
        raise SocksError(f"the site's proxy answered {said}")
    await _read_host(reader, kind)
    await reader.readexactly(2)


async def _read_host(reader: StreamReader, kind: int) -> str:
    length = _LENGTHS.get(kind) or (await reader.readexactly(1))[0]
    raw = await reader.readexactly(length)
    try:
        return raw.decode("ascii") if kind == _DOMAIN else str(ipaddress.ip_address(raw))
    except UnicodeDecodeError as error:
        raise SocksError("the client sent a name that is not ASCII") from error


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        return bytes([_DOMAIN, len(name)]) + name
    return bytes([_IPV4 if address.version == 4 else _IPV6]) + address.packed
