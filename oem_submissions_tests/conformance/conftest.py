"""Stages for the tests, one at a time: two sync Playwrights can't live in one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from oem_submissions.conformance.stage import Stage, Subject, set_up
from oem_submissions.conformance.suite import Result, chosen, run_suite
from oem_submissions.ledger.embedded import EmbeddedPostgres

Run = Callable[..., list[Result]]


@pytest.fixture
def run_on(postgres: EmbeddedPostgres, tmp_path: Path) -> Run:
    """Runs the named scenarios, or all, on a stage of their own."""

    def run(subject: Subject, *names: str) -> list[Result]:
        with set_up(subject, postgres) as stage:
            return list(run_suite(stage, chosen(names), tmp_path))

    return run


class Stages:
    """One stage, kept for the tests of the same subject that follow each other."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self._open = ExitStack()
        self._stage: Stage | None = None

    def of(self, subject: Subject) -> Stage:
        if self._stage is None or self._stage.subject != subject:
            self.close()
            self._stage = self._open.enter_context(set_up(subject, self._postgres))
        return self._stage

    def close(self) -> None:
        self._stage = None
        self._open.close()


@pytest.fixture(scope="module")
def stages(postgres: EmbeddedPostgres) -> Iterator[Stages]:
    """Stages for the tests of a module."""
    kept = Stages(postgres)
    yield kept
    kept.close()
