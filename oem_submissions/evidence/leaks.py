"""Looks for what must not leave in a piece of evidence: through zip, gzip, MIME, PDF and the texts inside of pictures.

A place that can't be looked through (too deep, too large, broken, encrypted) is a finding, too: fail closed. What to
look for, and how it may be written, is `domain.needles`; what follows from a finding is the services' to say.
"""

from __future__ import annotations

import email
import email.policy
import functools
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import re2

from oem_submissions import pdf
from oem_submissions.domain.needles import Kind, Leak, Needle, Needles, encodings_in_bytes, stands_alone

MAX_DEPTH = 6
"""Containers within containers."""
MAX_PIECES = 400
MAX_BYTES = 96 * 1024 * 1024
"""Of everything that is unpacked of one artefact."""
_AROUND = 8
"""Bytes on either side of what was found that say whether it is a word of its own."""
_MIME = re.compile(rb"(?im)^(mime-version:|content-type:\s*(multipart|message)/)")
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OSError, OverflowError, RuntimeError,
    ValueError, LookupError, TypeError, AttributeError,
)  # fmt: skip
"""What the libraries raise at hostile bytes."""


class _Opaque(Exception):
    """A place that can't be looked through: why."""


def leaks(name: str, data: bytes, needles: Needles) -> list[Leak]:
    """Every distinctive needle that stands somewhere in the artefact, each once per place."""
    looked_for = needles.distinctive()
    found: list[Leak] = []
    if not looked_for.all:
        return found
    # Apart: an account's secrets are the same for many claims, and their search is made once.
    searches = [_search(looked_for.only(kind)) for kind in Kind if looked_for.only(kind).all]
    try:
        for where, piece in _pieces(name, data, _Bounds(), 0):
            for search in searches:
                found += search.leaks(where, piece)
    except _Opaque as why:
        found.append(Leak(name, "", str(why)))
    return list(dict.fromkeys(found))


# --- one piece of bytes -------------------------------------------------------------------------------------------


class _Search:
    """One pass over the bytes for all needles in all encodings; only what is found is looked at again."""

    def __init__(self, needles: Needles) -> None:
        ways = [(n, name, way) for n in needles.all for name, way in encodings_in_bytes(n.value)]
        self._ways: list[tuple[Needle, str]] = [(needle, name) for needle, name, _ in ways]
        self._any = _compiled("|".join(f"({way})" for _, _, way in ways))

    def leaks(self, where: str, data: bytes) -> Iterator[Leak]:
        for match in self._any.finditer(data):
            needle, encoding = self._ways[match.lastindex - 1]
            start, end = match.span()
            before = data[max(0, start - _AROUND) : start].decode("latin-1")
            after = data[end : end + _AROUND].decode("latin-1")
            if not needle.bounded or stands_alone(before, match.group().decode("latin-1"), after):
                yield Leak(where, needle.name, encoding)


@functools.lru_cache(maxsize=8)
def _search(needles: Needles) -> _Search:
    return _Search(needles)


def _compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 64 * 1024 * 1024  # hundreds of patterns in one: less, and it falls back to a slower engine
    return re2.compile(pattern.encode("ascii"), options)


# --- through containers -------------------------------------------------------------------------------------------


@dataclass
class _Bounds:
    """What is left to be unpacked."""

    pieces: int = MAX_PIECES
    left: int = MAX_BYTES

    def spend(self, size: int) -> None:
        self.pieces -= 1
        self.left -= size
        if self.pieces < 0 or self.left < 0:
            raise _Opaque("it holds more than can be looked through")


def _pieces(where: str, data: bytes, bounds: _Bounds, depth: int) -> Iterator[tuple[str, bytes]]:
    """The bytes as they are, and everything in them."""
    bounds.spend(len(data))
    yield where, data
    inner = _inside(data, bounds)
    if inner is None:
        return
    if depth == MAX_DEPTH:
        raise _Opaque(f"it holds files in files, more than {MAX_DEPTH} deep")
    try:
        for what, content in inner:
            yield from _pieces(f"{where} › {what}" if what else where, content, bounds, depth + 1)
    except _BROKEN as error:
        raise _Opaque(f"{where} can't be unpacked ({type(error).__name__})") from error


def _inside(data: bytes, bounds: _Bounds) -> Iterator[tuple[str, bytes]] | None:
    """What the bytes contain, by name; None when they are no container."""
    if data.startswith(b"\x1f\x8b"):
        return _gzip(data, bounds)
    if data.startswith(b"PK\x03\x04"):
        return _zip(data, bounds)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data, bounds)
    if b"%PDF-" in data[:1024]:
        return _pdf(data)
    if _MIME.search(data[:4096]):
        return _mime(data)
    return None


def _gzip(data: bytes, bounds: _Bounds) -> Iterator[tuple[str, bytes]]:
    while data:  # there may be several members
        member = zlib.decompressobj(31)
        yield "", _inflated(member, data, bounds)
        data = member.unused_data.lstrip(b"\0")


def _inflated(stream: zlib._Decompress, data: bytes, bounds: _Bounds) -> bytes:
    whole = stream.decompress(data, bounds.left + 1)
    if not stream.eof:
        raise _Opaque("it holds more than can be looked through, or is cut short")
    return whole


def _zip(data: bytes, bounds: _Bounds) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        yield "comment", archive.comment
        for entry in archive.infolist():
            if entry.file_size > bounds.left or len(archive.infolist()) > bounds.pieces:
                raise _Opaque("it holds more than can be looked through")
            with archive.open(entry) as file:  # the size that is promised may be a lie
                yield entry.filename, file.read(bounds.left + 1)


def _png(data: bytes, bounds: _Bounds) -> Iterator[tuple[str, bytes]]:
    """The texts that are compressed (PNG, third edition, 11.3.3); those that are not stand there as they are."""
    at = 8
    while at + 12 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        at += 12 + size
        packed = None
        if kind in (b"zTXt", b"iCCP"):
            packed = body.partition(b"\0")[2][1:]
        elif kind == b"iTXt" and (rest := body.partition(b"\0")[2])[:1] == b"\1":
            packed = rest[2:].split(b"\0", 2)[2]
        if packed is not None:
            yield kind.decode(), _inflated(zlib.decompressobj(), packed, bounds)


def _mime(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The parts of an e-mail or of an MHTML file (RFC 2557), decoded; their headers, unfolded."""
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    for part in message.walk():
        headers = "\n".join(re.sub(r"\r?\n[ \t]", "", str(value)) for value in part.values())
        yield "headers", headers.encode("utf-8", "surrogateescape")
        if not part.is_multipart() and "content-transfer-encoding" in part:
            body = part.get_payload(decode=True)
            assert isinstance(body, bytes)
            yield part.get_content_type(), body


def _pdf(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The text of its pages, and every string and stream of its objects: links, form values, metadata, scripts."""
    try:
        found = pdf.read(data, whole=True)
    except pdf.PdfUnreadable as why:
        raise _Opaque(f"its PDF {why}") from why
    yield "text", found.text.encode()
    yield from (("stream", stream) for stream in found.streams)
    yield "strings", found.strings.encode()
