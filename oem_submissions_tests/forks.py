"""Processes that begin with everything imported: each is forked from one that has done nothing else.

No threads, no browser, no connections; only the second that Python needs to import the project is saved.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["oem_submissions_tests.faults.worker_process", "oem_submissions.cli"])
"""One server forks for every test of the session: what any of them needs is named here."""


def run_command(words: Sequence[str], environment: Mapping[str, str], out: Path, err: Path, seconds: float) -> int:
    """`oem-submissions WORDS` as a process of its own, with its output in two files; its exit code.

    Raises AssertionError when it takes longer.
    """
    process = start_command(words, environment, out, err)
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"oem-submissions {' '.join(words)} did not end within {seconds:.0f} s")
    return process.exitcode


def start_command(words: Sequence[str], environment: Mapping[str, str], out: Path, err: Path) -> BaseProcess:
    """The same, left to run."""
    process = FORKS.Process(target=_command, args=(list(words), dict(environment), out, err), daemon=True)
    process.start()
    return process


def _command(words: list[str], environment: dict[str, str], out: Path, err: Path) -> None:
    from oem_submissions.cli import main  # the server has it; who only asks for a process need not

    os.environ.clear()
    os.environ.update(environment)
    for path, descriptor in ((out, 1), (err, 2)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    sys.argv = ["oem-submissions", *words]
    main()
