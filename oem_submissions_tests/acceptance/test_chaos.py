"""The whole system under random faults, as a user runs it. The portals' own files are the witness."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from oem_submissions.cli.chaos_faults import FAULTS, processes_of
from oem_submissions.settings import PREFIX, PROJECT

pytestmark = pytest.mark.timeout(1800)

MINUTES, SEED = "1", "8328"
"""Its first minute has many kinds of faults, but not `machine_lost`: Dagster gives a run that was lost at its launch up
only after five minutes. When the table of faults changes, look for another."""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that chaos leaves behind. Not below pytest's own: the database's user could not enter it."""
    with tempfile.TemporaryDirectory(prefix="oem-submissions-chaos-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "home"


@pytest.fixture(scope="module")
def ended(home: Path) -> subprocess.CompletedProcess[str]:
    """How a short run ended."""
    words = ["chaos", "--minutes", MINUTES, "--seed", SEED, "--home", str(home), "--json"]
    return subprocess.run(
        [sys.executable, "-m", "oem_submissions.cli", *words],
        cwd=PROJECT,
        # A foreign database and home must not be touched, wherever they are set.
        env={**os.environ, f"{PREFIX}DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", f"{PREFIX}HOME": "/none"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1700,
    )


@pytest.fixture(scope="module")
def document(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Its document."""
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_nothing_is_filed_twice_nothing_is_silent_and_no_two_workers_shared_an_account(
    document: dict[str, Any],
) -> None:
    assert document["claims"] >= 20
    assert document["filed_once"] >= 10
    for none in (
        "filed_twice",
        "never_filed_and_silent",
        "filed_and_unknown",
        "wrong_reference",
        "unfinished",
        "overlapping_leases",
        "orphaned_leases",
    ):
        assert document[none] == 0, document["findings"]
    assert document["crm_agrees"] == document["claims"]


def test_faults_really_struck(document: dict[str, Any]) -> None:
    struck = document["faults"]
    assert struck.keys() <= {fault.name for fault in FAULTS}
    assert len(struck) >= 4
    assert struck.keys() >= {"worker_killed", "database_crash", "code_server_killed", "duplicate_ticks"}


def test_the_portals_own_database_holds_every_filing_once(home: Path, document: dict[str, Any]) -> None:
    with sqlite3.connect(home / "simulator" / "portals.sqlite") as portals:
        filed = Counter(key for (key,) in portals.execute("SELECT oem || business_key FROM filings"))
        posts = portals.execute("SELECT count(*) FROM posts").fetchone()[0]
    assert set(filed.values()) == {1}
    assert len(filed) == document["filed_once"]
    assert posts >= len(filed)


def test_no_process_is_left_behind(home: Path, document: dict[str, Any]) -> None:
    assert processes_of(f"{PREFIX}HOME", str(home)) == []
    left = [
        p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if str(home) in " ".join(p.info["cmdline"] or ())
    ]
    assert left == []
