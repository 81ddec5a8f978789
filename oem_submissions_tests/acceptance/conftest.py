"""One machine's data for this tier: what the demo files first is what the other tests work with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oem_submissions.settings import PREFIX, PROJECT

collect_ignore = ["eridani"]
"""Files of a project that `test_new_oem.py` makes: its tests run there."""


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """An empty data folder. Not below pytest's own: the database's user could not enter it."""
    with tempfile.TemporaryDirectory(prefix="oem-submissions-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def run_demo(home: Path) -> dict[str, Any]:
    """The document of `oem-submissions demo --no-serve --json`."""
    done = subprocess.run(
        [sys.executable, "-m", "oem_submissions.cli", "demo", "--no-serve", "--json"],
        cwd=PROJECT,
        env={**os.environ, f"{PREFIX}HOME": str(home)},
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr.decode()
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="session")
def first(home: Path) -> dict[str, Any]:
    """The outcome of the first demo on this machine."""
    return run_demo(home)
