"""What is made once and kept for the next tests: applications from PyPI, pinned, and their homes as first set up.

In a cache outside the tree: the first tests on a machine pay for it, two processes at once don't disturb each other,
and one that dies leaves nothing that looks finished. Deleting the folder is always safe.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path


def cache() -> Path:
    """Where it is kept. Not in root's own folder, which an application that gives up root's rights can't read."""
    given = os.environ.get("XDG_CACHE_HOME")
    base = Path(given) if given else Path("/var/cache") if os.geteuid() == 0 else Path.home() / ".cache"
    return base / "oem-submissions-tests"


def made_once(name: str, recipe: Sequence[str], make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills, made now unless it was made before by the same recipe."""
    digest = hashlib.sha256("\0".join((sys.version, *recipe)).encode()).hexdigest()[:12]
    folder = cache() / f"{name}-{digest}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with (folder.parent / f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                _make(folder, make)
    return folder


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        unfinished = Path(scratch) / folder.name
        make(unfinished)
        unfinished.rename(folder)


def python_with(name: str, *pins: str) -> Path:
    """The interpreter of a virtual environment that has exactly these packages, each with its version."""

    def install(folder: Path) -> None:
        run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        run([*pip, "install", "--no-deps", *pins])

    # No script of it is ever run: those name the folder in which they were installed.
    return made_once(name, pins, install) / "bin" / "python"


def run(command: Sequence[str]) -> None:
    """Raises `AssertionError` with what the command said when it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command[:4])} … failed: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def copied(home: Path, to: Path, owner: str | None = None) -> Path:
    """A home of a test's own; `owner` gets it where we are root."""
    shutil.copytree(home, to)
    if owner is not None and os.geteuid() == 0:
        for path in (to, *to.rglob("*")):
            shutil.chown(path, owner)
    return to
