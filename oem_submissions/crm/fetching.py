"""Attachments at addresses that a CRM's record names: fetched without credentials, and never from where they shouldn't.

Such an address is typed by people, or by whoever may write to the CRM. Asked for blindly it would make this machine
read what only this machine can: a cloud's metadata service, a neighbour's database, a page behind the firewall. So the
name is resolved here, once; every address it has must be public; and that very address is connected to, so that a
second answer of the name's server changes nothing. Redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from oem_submissions.crm.transport import TIMEOUT
from oem_submissions.ports import CrmFileRefused, CrmUnavailable

_CHUNK = 64 * 1024
SECONDS = 300.0
"""That a whole attachment may take: a host that sends a byte now and then would keep a worker for days."""


def fetch(
    url: str,
    max_bytes: int,
    private_hosts: Collection[str] = (),
    ca_file: Path | None = None,
    seconds: float = SECONDS,
) -> bytes:
    """The bytes at a CRM-supplied address. Raises `CrmFileRefused` or `CrmUnavailable`, neither with the whole address.

    `private_hosts` may be in a private network, and speak http.
    """
    parts, port = _parts(url, private_hosts)
    host = parts.hostname or ""
    address = _address(host, port, host in private_hosts)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Host": parts.netloc, "Accept-Encoding": "identity"}
    timeout = urllib3.Timeout(*TIMEOUT)
    pool: urllib3.HTTPConnectionPool
    if parts.scheme == "https":
        pool = urllib3.HTTPSConnectionPool(
            address, port, timeout=timeout, retries=False, server_hostname=host, assert_hostname=host,
            cert_reqs="CERT_REQUIRED", ca_certs=str(ca_file) if ca_file else None,
        )  # fmt: skip
    else:
        pool = urllib3.HTTPConnectionPool(address, port, timeout=timeout, retries=False)
    try:
        with pool:
            answer = pool.urlopen("GET", target, headers=headers, redirect=False, preload_content=False)
            with _in_time(answer, host, seconds):
                return _body(answer, host, max_bytes)
    except HTTPError as error:
        raise CrmUnavailable(
            f"The attachment at {host} did not come ({type(error).__name__}); it is tried again by itself."
        ) from error


def _parts(url: str, private_hosts: Collection[str]) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    schemes = ("https", "http") if host in private_hosts else ("https",)
    if parts.scheme not in schemes or not host or "@" in parts.netloc or any(not "!" <= c <= "~" for c in url):
        raise CrmFileRefused(
            f"The attachment's address {url[:60]!r} is not taken: it should be https:// and a host, without a password."
        )
    return parts, port or (443 if parts.scheme == "https" else 80)


def _address(host: str, port: int, may_be_private: bool) -> str:
    """The address to connect to: the first of the name's, when all of them may be."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise CrmUnavailable(f"The attachment's host {host:.100} is not known; it is tried again by itself.") from error
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if not may_be_private and not all(_is_public(one) for one in addresses):
        raise CrmFileRefused(
            f"The attachment's host {host:.100} is in a private network, from where nothing is fetched: add it to"
            " private_hosts in the CRM's mapping if that is meant."
        )
    return addresses[0]


def _is_public(address: str) -> bool:
    one = ipaddress.ip_address(address.partition("%")[0])
    inner = (one.ipv4_mapped or one.sixtofour or (one.teredo and one.teredo[1])) if one.version == 6 else None
    return one.is_global and not one.is_multicast and (inner is None or inner.is_global)


@contextmanager
def _in_time(answer: urllib3.BaseHTTPResponse, host: str, seconds: float) -> Iterator[None]:
    """What is cut off is never taken for a whole file, however its end was announced."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        try:
            answer.shutdown()
        except (OSError, RuntimeError, ValueError):
            pass  # it has just ended by itself

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():
            raise CrmUnavailable(
                f"The attachment at {host} did not come whole within {seconds:g} s; it is tried again by itself."
            )


def _body(answer: urllib3.BaseHTTPResponse, host: str, max_bytes: int) -> bytes:
    if answer.status in (404, 410):
        raise CrmFileRefused(f"The attachment is not at {host} any more; attach it to the record again.")
    if answer.status != 200:
        raise CrmUnavailable(f"The host {host} answered HTTP {answer.status} for an attachment; it is tried again.")
    return limited(answer.stream(min(_CHUNK, max_bytes + 1), decode_content=False), max_bytes, "The attachment")


def limited(chunks: Iterable[bytes], max_bytes: int, what: str) -> bytes:
    """The chunks together; never reads on when they are too many. Raises `CrmFileRefused`."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > max_bytes:
            raise CrmFileRefused(f"{what} is larger than {max_bytes:,} bytes; attach a smaller one.")
    return bytes(data)
