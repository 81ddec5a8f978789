"""The evidence store on a disk: write-once files under one directory, durable when `put` returns.

A file is written under a temporary name, synced, hard-linked to its own name (which never replaces another file), and
the directory is synced. Renaming was rejected: it replaces silently. The directory needs a file system with hard links.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
import time
from pathlib import Path

from oem_submissions.domain.evidence import check_key
from oem_submissions.ports import EvidenceConflict, EvidenceLocked, EvidenceMissing, EvidenceUnavailable

_TEMPORARY = ".tmp-"  # `check_key` refuses keys with a part that begins with a dot, so none is ever taken for one
_HOLDS = ".holds"
_STALE_SECONDS = 3600.0
"""No writer needs so long: a temporary file that is older was left by one that was killed."""


class DirectoryStore:
    """`ports.EvidenceStore` on disk. Every method raises `ValueError` for a key that `check_key` refuses."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()

    def put(self, key: str, data: bytes) -> None:
        """Durable when it returns. The same bytes again change nothing.

        Raises `EvidenceConflict` when the key holds other bytes, `EvidenceUnavailable` when the disk refuses.
        """
        check_key(key)
        path = self.root / key
        try:
            _make_folders(path.parent)
            _write_once(path, data)
            # Also where another writer made the folders and has not come to syncing them yet.
            for folder in path.relative_to(self.root).parents:
                _sync(self.root / folder)
        except FileExistsError as error:
            raise EvidenceConflict(
                f"The evidence store holds other bytes under {key} already; nothing was changed."
            ) from error
        except (NotADirectoryError, IsADirectoryError) as error:
            raise EvidenceConflict(
                f"The evidence key {key} is a folder of another key, or the other way round."
            ) from error
        except OSError as error:
            raise EvidenceUnavailable(self._sentence("keep", key, error)) from error

    def get(self, key: str) -> bytes:
        """The bytes. Raises `EvidenceMissing`, or `EvidenceUnavailable` when the disk refuses."""
        check_key(key)
        try:
            return _read(self.root / key)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise EvidenceMissing(f"The evidence store has nothing under {key}.") from error
        except OSError as error:
            raise EvidenceUnavailable(self._sentence("read", key, error)) from error

    def keys(self, prefix: str) -> list[str]:
        """Every key that begins with `prefix`, sorted. Raises `EvidenceUnavailable` when the disk refuses."""
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        found = []
        try:
            for where, folders, files in os.walk(self.root / folder, onerror=_raise_unless_missing):
                folders[:] = [name for name in folders if not name.startswith(".")]
                inside = Path(where).relative_to(self.root)
                found += [(inside / name).as_posix() for name in files if not name.startswith(".")]
        except OSError as error:
            raise EvidenceUnavailable(self._sentence("list", prefix, error)) from error
        return sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Gone for good, and so is what killed writers left beside it. Raises `EvidenceLocked`, `EvidenceUnavailable`.

        The hold is this store's word only: whoever may write to the disk can break it.
        """
        check_key(key)
        path = self.root / key
        try:
            if (self.root / _HOLDS / key).exists():
                raise EvidenceLocked(f"{key} is under a legal hold: nothing was deleted.")
            _remove(path)
            _sweep(path.parent)
        except OSError as error:
            raise EvidenceUnavailable(self._sentence("delete", key, error)) from error

    def hold(self, key: str, on: bool) -> None:
        """A legal hold on the key, or none. Raises `EvidenceUnavailable`."""
        check_key(key)
        mark = self.root / _HOLDS / key
        try:
            if not on:
                _remove(mark)
            elif (self.root / key).is_file():
                _make_folders(mark.parent)
                _write_once(mark, b"")
                _sync(mark.parent)
        except OSError as error:
            raise EvidenceUnavailable(self._sentence("hold", key, error)) from error

    def inspect(self) -> str:
        """What it is, in a sentence; the folder is made. Raises `EvidenceUnavailable` when it can't be written to."""
        try:
            _make_folders(self.root)
            with tempfile.TemporaryFile(dir=self.root):
                return f"{self.root}: write-once; whoever may write to this disk can delete evidence"
        except OSError as error:
            raise EvidenceUnavailable(self._sentence("use", "", error)) from error

    def _sentence(self, verb: str, key: str, error: OSError) -> str:
        remedy = {
            errno.ENOSPC: "Free some space on its disk.",
            errno.EDQUOT: "Free some space on its disk.",
            errno.EACCES: "Give this user the right to write there.",
            errno.EPERM: "Give this user the right to write there, on a file system with hard links.",
        }.get(error.errno or 0, "Check its disk.")
        what = repr(key) if key else "it"
        return f"The evidence store in {self.root} could not {verb} {what}: {error.strerror or error}. {remedy}"


def _write_once(path: Path, data: bytes) -> None:
    """Raises `FileExistsError` when the name is taken by other bytes."""
    temporary = path.parent / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        _write_synced(temporary, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            # Another writer was first; what it wrote counts if it is the same, and must be durable for us too.
            if _read(path) != data:
                raise
            _sync(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _remove(path: Path) -> None:
    """Durably; nothing happens when there is none."""
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return
    _sync(path.parent)


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{_TEMPORARY}*"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            left.unlink(missing_ok=True)


def _make_folders(folder: Path) -> None:
    """Like `mkdir -p`, and every folder that it makes is durable."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
