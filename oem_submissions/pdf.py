"""Reads PDFs that strangers made: in a process of its own, bounded in size, pages, time and memory.

Run as a program this is that process: a PDF in, JSON out; so a person sees what a PDF says, too. What it means is the
asker's. Nothing here looks at pictures: a number that is drawn is none.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 10 * 1024 * 1024
MAX_PAGES = 60
MAX_UNPACKED = 64 * 1024 * 1024
"""Bytes of all that is in it."""
SECONDS = 20
MEMORY = 1024 * 1024 * 1024
"""Bytes that the process may take."""
_DEPTH = 24
"""Arrays in dictionaries in arrays."""


class PdfUnreadable(Exception):
    """It can't be read: the end of a sentence that begins with "The PDF"."""


@dataclass(frozen=True)
class Contents:
    """What is in a PDF."""

    text: str
    """Of its pages, in the order of the file."""
    streams: tuple[bytes, ...]
    """Of all objects, unpacked; none unless they were asked for."""
    strings: str
    """Of all objects, a line each: links, form values, metadata; empty unless they were asked for."""


def read(data: bytes, *, whole: bool = False) -> Contents:
    """The text of its pages; of a `whole` one everything else, too. Raises `PdfUnreadable`."""
    if len(data) > MAX_BYTES:
        raise PdfUnreadable(f"is larger than {MAX_BYTES // 1024 // 1024} MB")
    # Isolated and with an empty environment: the process knows no secret, and this folder shadows no library.
    command = [sys.executable, "-I", __file__, *(["--whole"] if whole else [])]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, input=data, capture_output=True, timeout=SECONDS, env={}, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PdfUnreadable(f"can't be read within {SECONDS} seconds") from error
    if done.returncode != 0:
        raise PdfUnreadable("can't be unpacked: it is broken, or takes too much")
    said = json.loads(done.stdout)
    if said.get("refused"):
        raise PdfUnreadable(said["refused"])
    return Contents(said["text"], tuple(map(base64.b64decode, said["streams"])), said["strings"])


# --- in the process of its own ------------------------------------------------------------------------------------


def _main() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # a system without such limits has the time's alone
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    try:
        said = _contents(sys.stdin.buffer.read(MAX_BYTES + 1), whole="--whole" in sys.argv)
    except PdfUnreadable as why:
        said = {"refused": str(why)}
    json.dump(said, sys.stdout)


def _contents(data: bytes, *, whole: bool) -> dict[str, Any]:
    import pypdf

    reader = pypdf.PdfReader(io.BytesIO(data), strict=False)
    if reader.is_encrypted:
        raise PdfUnreadable("is encrypted")
    if len(reader.pages) > MAX_PAGES:
        raise PdfUnreadable(f"has more than {MAX_PAGES} pages")
    text = "\n".join(page.extract_text() for page in reader.pages)
    streams: list[str] = []
    strings: list[str] = []
    left = MAX_UNPACKED
    for stream, texts in _objects(reader) if whole else ():
        left -= len(stream) + sum(map(len, texts))
        if left < 0:
            raise PdfUnreadable("holds more than can be looked through")
        strings += texts
        streams += [base64.b64encode(stream).decode()] if stream else []
    return {"text": _plain(text), "streams": streams, "strings": _plain("\n".join(strings))}


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _objects(reader: Any) -> Iterator[tuple[bytes, list[str]]]:
    """Of every object its stream, and its strings."""
    from pypdf.generic import StreamObject

    for number in range(int(reader.trailer.get("/Size", 0))):
        known = number in reader.xref.get(0, {}) or number in reader.xref_objStm
        found = reader.get_object(number) if known else None
        yield found.get_data() if isinstance(found, StreamObject) else b"", _strings(found)
    yield b"", _strings(reader.trailer.get("/Info"))


def _strings(found: Any, depth: int = 0) -> list[str]:
    """The strings of an object, not of those that it points to: they come by themselves."""
    if depth > _DEPTH:
        raise PdfUnreadable("nests too deeply")
    if isinstance(found, dict):
        return [text for value in found.values() for text in _strings(value, depth + 1)]
    if isinstance(found, list):
        return [text for value in found for text in _strings(value, depth + 1)]
    if isinstance(found, bytes):
        return [found.decode("latin-1")]
    return [str(found)] if isinstance(found, str) else []


if __name__ == "__main__":
    _main()
