"""`oem-submissions conformance` as a user runs it: exit code, JSON, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SKIN = "oem_submissions_tests.conformance.dakota.skin:DakotaPortal"


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Home and temporary folder of the command. Not pytest's: PostgreSQL's socket needs a short path."""
    with tempfile.TemporaryDirectory(prefix="conf-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "tmp").mkdir(mode=0o777)
        Path(folder).chmod(0o755)
        yield Path(folder)


def start(scratch: Path, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OEM_SUBMISSIONS_HOME": str(scratch / "home"), "TMPDIR": str(scratch / "tmp")}
    command = [sys.executable, "-m", "oem_submissions.cli", "conformance", *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def left(scratch: Path) -> list[str]:
    """Folders that are still there, and processes that still live, of a command that ended."""
    folders = [path.name for path in (scratch / "tmp").iterdir() if path.name.startswith("oem-submissions")]
    return folders + [str(pid) for pid in _processes(scratch)]


def _processes(scratch: Path) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if str(scratch).encode() in (folder / "environ").read_bytes():
                    yield int(folder.name)
            except OSError:  # it has just ended
                continue


def test_the_outcome_is_one_json_document_and_nothing_is_left(scratch: Path) -> None:
    done = start(scratch, "aurora", "--only", "log-in refused", "--json")
    said, progress = done.communicate(timeout=240)
    assert done.returncode == 0, progress
    document: dict[str, Any] = json.loads(said)
    assert (document["oem"], document["passed"], document["failed"]) == ("aurora", 1, 0)
    assert document["ready"] is False  # one scenario is not all of them
    (scenario,) = document["scenarios"]
    assert scenario["happened"] == "each not filed, dead letter: LOGIN_FAILED"
    assert "log-in refused" in progress or "1 passed" in progress
    assert left(scratch) == []


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nissan"], 2, "no adapter"),
        (["aurora", "--only", "earthquake"], 3, "There is no scenario 'earthquake'"),
        (["aurora", "--skin", SKIN], 3, "is for 'dakota', not for 'aurora'"),
        (["aurora", "--skin", "nowhere:Portal"], 3, "can't be loaded"),
    ],
)
def test_wrong_use_is_one_sentence(scratch: Path, words: list[str], code: int, says: str) -> None:
    done = start(scratch, *words)
    _, said = done.communicate(timeout=120)
    assert done.returncode == code, said
    assert says in " ".join(said.split())


def test_ctrl_c_leaves_nothing_behind(scratch: Path) -> None:
    running = start(scratch, "aurora", "--only", "maintenance for good")
    assert running.stderr is not None
    for line in running.stderr:
        if "what happened" in line:  # the heading; the parts are being started
            break
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert left(scratch) == []
