"""A process of the stack, its end and its coming back: with real processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from oem_submissions.cli.stack import Process
from oem_submissions.domain.failures import ConfigurationError

_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """A program that starts another and says its id."""
    with Process("parent", [sys.executable, "-c", _PARENT], os.environ, tmp_path / "parent.log", pipe=True) as started:
        yield started


def child_of(process: Process) -> psutil.Process:
    return psutil.Process(int(process.first_line()))


def test_it_is_killed_with_its_children_and_can_be_started_again(process: Process) -> None:
    child = child_of(process)
    process.kill(with_children=True)
    assert not process.running
    child.wait(10)
    process.start()
    assert process.running
    again = child_of(process)
    process.end()
    again.wait(10)
    assert not process.running


def test_killed_alone_it_leaves_its_child_which_goes_with_it_when_it_is_stopped(process: Process) -> None:
    child = child_of(process)
    process.kill(with_children=False)
    assert (process.running, child.is_running()) == (False, True)
    with pytest.raises(ConfigurationError, match="parent ended with code -9"):
        process.check()
    process.end()
    child.wait(10)
