"""Files that arrive at a portal, and the portals' rules for them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from starlette.datastructures import UploadFile

from oem_submissions.simulator.truth import Received

LARGEST = 5 * 1024 * 1024
"""Bytes."""
_MAGIC = {b"%PDF": "application/pdf", b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
_ENDINGS = {"pdf": "application/pdf", "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png"}


@dataclass(frozen=True)
class File:
    """A file of a form. Its bytes are hashed as they arrived, and not kept."""

    field: str
    name: str
    size: int
    sha256: str
    head: bytes

    @property
    def received(self) -> Received:
        """What the truth keeps of it."""
        return Received(self.name, self.size, self.sha256, self.media_type or "application/octet-stream")

    @property
    def media_type(self) -> str | None:
        """By its first bytes and its ending, which must agree; nothing when it is no type that portals take."""
        by_head = next((kind for magic, kind in _MAGIC.items() if self.head.startswith(magic)), None)
        return by_head if by_head == _ENDINGS.get(self.name.rpartition(".")[2].lower()) else None


async def read_file(field: str, upload: UploadFile) -> File:
    """The file that a form brought."""
    content = await upload.read()
    return File(field, upload.filename or "", len(content), hashlib.sha256(content).hexdigest(), content[:8])


def faults_of(files: list[File], taken: set[str] | None = None) -> list[tuple[str, str]]:
    """What a portal has against these files: pairs of `size`, `type` or `name`, and the file's name."""
    names = {name.lower() for name in taken or ()}
    faults = []
    for file in files:
        if file.size > LARGEST:
            faults.append(("size", file.name))
        if file.media_type is None:
            faults.append(("type", file.name))
        if file.name.lower() in names:
            faults.append(("name", file.name))
        names.add(file.name.lower())
    return faults
