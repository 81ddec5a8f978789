"""Real applications under the fault suite: whatever happens on the wire or to a worker, each claim is filed once.

Judged by the application's own database, the ledger, the evidence and the CRM, as the suite judges everything. What can
be done to an application from outside is in `wire`; each kind of it comes once, at the application that shows more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from oem_submissions.conformance.stage import Stage
from oem_submissions.conformance.suite import Outcome, chosen, run_suite
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions_tests.real.stage import real_stage

SCENARIOS = (
    ("trac", "reset after filing"),
    ("trac", "killed after the click"),
    ("trac", "log-in refused"),
    ("roundup", "killed before the click"),
    ("roundup", "reset before filing"),
    ("roundup", "lost response"),
    ("roundup", "session expired"),
    ("roundup", "slow"),
)


class Stages:
    """One stage, kept for the tests of the same application that follow each other."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres, self._open = postgres, ExitStack()
        self._stages: dict[str, Stage] = {}

    def of(self, oem: str) -> Stage:
        if oem not in self._stages:
            self.close()
            scratch = self._open.enter_context(tempfile.TemporaryDirectory(prefix="oem-submissions-real-"))
            self._stages[oem] = self._open.enter_context(real_stage(oem, self._postgres, Path(scratch)))
        return self._stages[oem]

    def close(self) -> None:
        self._stages.clear()
        self._open.close()


@pytest.fixture(scope="module")
def stages(postgres: EmbeddedPostgres) -> Iterator[Stages]:
    kept = Stages(postgres)
    yield kept
    kept.close()


@pytest.mark.parametrize(("oem", "name"), SCENARIOS, ids=[f"{oem}, {name}" for oem, name in SCENARIOS])
def test_a_real_application_has_the_claim_once_whatever_happens(
    oem: str, name: str, stages: Stages, tmp_path: Path
) -> None:
    (result,) = run_suite(stages.of(oem), chosen([name]), tmp_path)
    assert (result.outcome, result.problems) == (Outcome.PASSED, ())
