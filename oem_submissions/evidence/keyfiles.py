"""Keys of this machine: made on first use, readable by their owner only, written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from oem_submissions.ports import SigningUnavailable


def key_file(path: Path, make: Callable[[], bytes]) -> bytes:
    """The key in the file; made first when there is none. Two processes that make it at once get the same one.

    Raises `SigningUnavailable` when others may read the file, or it can't be read or written.
    """
    try:
        if not path.exists():
            _write(path, make())
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise SigningUnavailable(
                f"The key {path} can be read by others (mode {mode:o}): see who did, replace the key if need be, and"
                f" run chmod 600 {path}."
            )
        return path.read_bytes()
    except OSError as error:
        raise SigningUnavailable(f"The key {path} can't be used: {error.strerror or error}.") from error


def _write(path: Path, key: bytes) -> None:
    """A file of its own name first, then linked: who comes second finds the first one's key, whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(own, path)
        except FileExistsError:
            pass
    finally:
        own.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
