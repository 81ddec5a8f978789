"""The proxy that a site makes everybody use: how a tunnel gets out through it, by HTTP CONNECT or SOCKS 5."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import os
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.portal import socks
from oem_submissions.portal.socks import Origin, SocksError

_PORTS = {"http": 80, "socks5": 1080, "socks5h": 1080}
Streams = tuple[StreamReader, StreamWriter]


@dataclass(frozen=True)
class SiteProxy:
    """Where it is, how to sign in, and which hosts are reached without it."""

    scheme: str
    host: str
    port: int
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    bypass: str = ""
    """As in NO_PROXY: hosts and domains, separated by commas; `*` is all. Loopback is always reached without."""

    def is_for(self, target: Origin) -> bool:
        """Whether `target` is reached through it."""
        if target.host == "localhost" or _is_loopback(target.host):
            return False
        names = [name.strip().lower().removeprefix("*").lstrip(".") for name in self.bypass.split(",") if name.strip()]
        return not any(f".{target.host}".endswith(f".{name}" if name else "") for name in names)

    async def connect(self, target: Origin) -> Streams:
        """A connection to `target`. Raises `OSError` or `EOFError` when the proxy can't or won't."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            if self.scheme == "http":
                await self._connect_by_http(reader, writer, target)
            else:
                await socks.ask(reader, writer, target, self.credentials)
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    async def _connect_by_http(self, reader: StreamReader, writer: StreamWriter, target: Origin) -> None:
        """RFC 9110, section 9.3.6."""
        where = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
        lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
        if self.credentials:
            token = base64.b64encode(":".join(self.credentials).encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {token}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise SocksError("the site's proxy does not speak HTTP") from error
        status = head.split(b"\r\n", 1)[0].split()[1:2]
        if not (status and status[0].startswith(b"2")):
            raise SocksError(f"the site's proxy answered {b' '.join(status).decode(errors='replace') or 'no HTTP'}")


def site_proxy(environment: Mapping[str, str] | None = None) -> SiteProxy | None:
    """What HTTPS_PROXY or else ALL_PROXY names, in either case; None when neither is set.

    Raises `ConfigurationError` that names the variable.
    """
    environment = os.environ if environment is None else environment
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        if url := environment.get(name):
            return _parsed(name, url, environment.get("NO_PROXY") or environment.get("no_proxy") or "")
    return None


def _parsed(name: str, url: str, bypass: str) -> SiteProxy:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in _PORTS or not parts.hostname or port == -1:
        raise ConfigurationError(
            f"{name} names no proxy that we can use: set it to http://host:port or socks5://host:port."
        )
    credentials = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return SiteProxy(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], credentials, bypass)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
