"""Set-up speaks in sentences on stderr, and leaves stdout to what was asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("sh", "make", "touch", "mkdir", "sed", "rm", "cp", "cat", "chmod")

PYTHON = """#!/bin/sh
# A Python that says it is old or not, and makes a virtual environment only where ensurepip "is".
case "$*" in
*version_info*) exit {old} ;;
-V) echo "Python 3.8.1" ;;
*venv*) [ -e "{folder}/ensurepip" ] || exit 1; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
*install_browser*) echo "a browser was found" ;;
*) echo "python $*" ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tree with the real Makefile, and a PATH with few programs on it."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml", "oem_submissions/portal/install_browser.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def program(folder: Path, name: str, text: str) -> None:
    path = folder / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(folder / "bin"), "HOME": os.environ["HOME"]}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def python(folder: Path, old: int = 0) -> None:
    program(folder, "python3", PYTHON.format(old=old, folder=folder))


def test_without_python_it_says_what_to_install(folder: Path) -> None:
    done = make(folder, "-s", "setup")
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith("Python was not found: install Python 3.11 or later")


def test_an_old_python_is_refused_in_one_sentence(folder: Path) -> None:
    python(folder, old=1)
    done = make(folder, "-s", "setup")
    assert done.returncode != 0
    assert done.stderr.startswith("Python 3.11 or later is needed, and python3 is Python 3.8.1: run make PYTHON=")


def test_a_python_without_venv_is_completed_by_the_package_manager_for_root(folder: Path) -> None:
    python(folder)
    program(folder, "id", "#!/bin/sh\necho 0\n")
    program(
        folder,
        "apt-get",
        f'#!/bin/sh\necho "apt-get $*"; case "$*" in *python3-venv) touch {folder}/ensurepip;; esac\n',
    )
    done = make(folder, "-s", "setup")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "apt-get install -y python3-venv" in done.stderr


def test_a_python_without_venv_is_explained_to_others(folder: Path) -> None:
    python(folder)
    program(folder, "id", "#!/bin/sh\necho 1000\n")
    done = make(folder, "-s", "setup")
    assert done.returncode != 0
    assert "install its venv module (on Debian and Ubuntu: apt-get install python3-venv)." in done.stderr


def test_set_up_writes_to_stderr_and_does_its_work_once(folder: Path) -> None:
    python(folder)
    (folder / "ensurepip").touch()
    first = make(folder, "-s", "setup")
    assert first.returncode == 0, first.stderr
    assert first.stdout == ""
    assert "--require-hashes -r requirements.lock" in first.stderr
    assert "--editable ." in first.stderr
    assert "a browser was found" in first.stderr
    program(folder, "python3", "#!/bin/sh\nexit 1\n")
    again = make(folder, "-s", "setup")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    demo = folder / ".venv/bin/oem-submissions"
    demo.write_text('#!/bin/sh\necho "{\\"asked\\": \\"$*\\"}"\n')
    demo.chmod(0o755)
    assert make(folder, "-s", "demo", "DEMO_ARGS=--no-serve --json").stdout == '{"asked": "demo --no-serve --json"}\n'


def test_help_lists_every_target(folder: Path) -> None:
    done = make(folder)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        "help", "setup", "demo", "up", "test", "test-thorough", "bench", "lint", "lock", "clean",
    ]  # fmt: skip
