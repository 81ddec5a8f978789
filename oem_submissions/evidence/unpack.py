"""Reads a zip or a folder into memory, within bounds, and reports what should not be in one. Judges no content.

Hostile input is expected: traversal, links, devices, duplicate and encrypted entries, zip bombs, truncated archives.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from oem_submissions.domain.evidence import Finding

MAX_FILES = 40
MAX_FILE_BYTES = 64_000_000
MAX_TOTAL_BYTES = 200_000_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,3}", re.ASCII)
_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


@dataclass
class Unpacked:
    """What was read, and what was refused on the way."""

    folder: str | None = None
    """The zip's one top folder; None for an unpacked folder, whose name people may change."""
    files: dict[str, bytes] = field(default_factory=dict)
    """By path below the bag's root, with forward slashes."""
    findings: list[Finding] = field(default_factory=list)
    total: int = 0

    def refuse(self, file: str, problem: str) -> None:
        """Report; the name is shortened, and what can't be printed is escaped."""
        self.findings.append(Finding(ascii(file)[1:-1][:200], problem))

    def add(self, name: str, file: IO[bytes]) -> bool:
        """Read one file within the bounds; False when the bounds are reached and reading should end."""
        data = file.read(MAX_FILE_BYTES + 1)
        self.total += len(data)
        if len(data) > MAX_FILE_BYTES or self.total > MAX_TOTAL_BYTES:
            self.refuse(name, "is larger than anything in a bundle can be.")
            return False
        self.files[name] = data
        return True


def unpack(source: Path | str | bytes) -> Unpacked:
    """Everything below the bag's root. Raises nothing for the source's sake."""
    unpacked = Unpacked()
    if isinstance(source, bytes):
        _read_zip(io.BytesIO(source), "bundle", unpacked)
        return unpacked
    path = Path(source)
    try:
        if path.is_dir():
            _read_folder(_bag_root(path), unpacked)
        elif path.exists() and not path.is_file():
            unpacked.refuse(path.name, "is neither a file nor a folder.")
        else:
            with path.open("rb") as file:
                _read_zip(file, path.name, unpacked)
    except (OSError, ValueError) as error:
        unpacked.refuse(str(path), f"can't be read: {getattr(error, 'strerror', None) or error}.")
    return unpacked


# --- zip ---------------------------------------------------------------------------------------------------------


def _read_zip(file: IO[bytes], name: str, unpacked: Unpacked) -> None:
    try:
        # A directory of millions of entries would be read whole before it could be counted.
        if file.seek(0, os.SEEK_END) > MAX_TOTAL_BYTES:
            unpacked.refuse(name, "is larger than any bundle can be.")
            return
        with zipfile.ZipFile(file) as archive:
            if len(archive.infolist()) > MAX_FILES:
                unpacked.refuse(name, f"holds more than {MAX_FILES} files.")
                return
            _read_entries(archive, unpacked)
    except _BROKEN as error:
        unpacked.refuse(name, f"is not a whole zip file: {ascii(str(error))[1:-1][:200]}.")


def _read_entries(archive: zipfile.ZipFile, unpacked: Unpacked) -> None:
    seen: set[str] = set()
    for entry in archive.infolist():
        problem = _entry_problem(entry)
        # Names that differ only in case would be one file on some disks.
        if problem is None and entry.filename.casefold() in seen:
            problem = "is in the zip twice."
        if problem is not None:
            unpacked.refuse(entry.filename, problem)
            continue
        seen.add(entry.filename.casefold())
        folder, _, name = entry.filename.partition("/")
        if entry.is_dir() and name in ("", "data/"):
            continue
        unpacked.folder = unpacked.folder or folder
        if folder != unpacked.folder or not name or entry.is_dir():
            unpacked.refuse(entry.filename, "is not in the zip's one folder.")
            continue
        with archive.open(entry) as file:
            if not unpacked.add(name, file):
                return


def _entry_problem(entry: zipfile.ZipInfo) -> str | None:
    if not _NAME.fullmatch(entry.filename.removesuffix("/")) or entry.orig_filename != entry.filename:
        return "has a name that a bundle can't hold."
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file."
    if entry.flag_bits & 0x1:
        return "is encrypted."
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed in an unusual way."
    if entry.file_size > MAX_FILE_BYTES:
        return "is larger than anything in a bundle can be."
    return None


# --- folder ------------------------------------------------------------------------------------------------------


def _bag_root(path: Path) -> Path:
    """The folder itself, or the one folder in it, as unzipping leaves it."""
    if (path / "bagit.txt").exists():
        return path
    inside = list(path.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink() else path


def _read_folder(root: Path, unpacked: Unpacked) -> None:
    for number, (name, entry) in enumerate(_walk(root, "", unpacked)):
        if number >= MAX_FILES:
            unpacked.refuse(root.name, f"holds more than {MAX_FILES} files.")
            return
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not unpacked.add(name, file):
                return


def _walk(folder: Path, prefix: str, unpacked: Unpacked) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.is_file(follow_symlinks=False):
                yield name, entry
            elif entry.is_dir(follow_symlinks=False) and name == "data":
                yield from _walk(Path(entry.path), "data/", unpacked)
            elif entry.is_dir(follow_symlinks=False):
                unpacked.refuse(name, "is a folder that does not belong in a bundle.")
            else:
                unpacked.refuse(name, "is a link or a device, not a file.")
