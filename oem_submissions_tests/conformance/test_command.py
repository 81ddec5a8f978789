"""`oem-submissions conformance` as a user runs it: exit code, JSON, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from oem_submissions.conformance.stage import registered
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.simulator.skins import SkinUnknown, load_skin
from oem_submissions_tests.portal.parts import SELECTORS

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


def test_a_scenario_that_there_is_not_is_said_in_a_sentence(scratch: Path) -> None:
    done = start(scratch, "aurora", "--only", "earthquake")
    _, said = done.communicate(timeout=120)
    assert done.returncode == 3, said
    assert "There is no scenario 'earthquake'; there are plain, files," in " ".join(said.split())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere:Portal", "The skin nowhere:Portal can't be loaded: No module named 'nowhere'"),
        ("oem_submissions.simulator.aurora", "names no skin: write it as package.module:Class"),
        ("oem_submissions.simulator.aurora:Portal", "has no attribute 'Portal'"),
        ("oem_submissions.simulator.truth:Truth", "is no skin: it must be a class that stands on"),
    ],
)
def test_what_is_no_skin_is_said_in_a_sentence(name: str, says: str) -> None:
    with pytest.raises(SkinUnknown, match=re.escape(says)):
        load_skin(name)


def test_adapter_and_skin_must_be_of_one_oem() -> None:
    with pytest.raises(ConfigurationError, match="The skin DakotaPortal is for 'dakota', not for 'aurora'"):
        registered("aurora", SELECTORS, load_skin(SKIN))


def test_the_simulator_takes_a_skin_by_its_name() -> None:
    command = [sys.executable, "-m", "oem_submissions.simulator", "--skin", SKIN]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        address = json.loads(running.stdout.readline())["http"]
        assert "Dakota Parts" in requests.get(f"{address}/dakota/", timeout=20).text
        running.terminate()


def test_ctrl_c_leaves_nothing_behind(scratch: Path) -> None:
    running = start(scratch, "aurora", "--only", "log-in refused", "--only", "maintenance for good")
    assert running.stderr is not None
    for line in running.stderr:
        if "log-in refused" in line:  # done: PostgreSQL, portal and browser are at work on the next one
            break
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert left(scratch) == []
