"""Every scenario on an OEM that the suite has never seen, and some of them on each of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from oem_submissions.conformance.scenarios import SCENARIOS, Scenario
from oem_submissions.conformance.stage import Subject, registered
from oem_submissions.conformance.suite import Outcome, Result, run_suite
from oem_submissions_tests.conformance.conftest import Stages
from oem_submissions_tests.conformance.defects import DAKOTA
from oem_submissions_tests.portal.parts import SELECTORS

NOT_FOR_DAKOTA = {"signed in elsewhere", "stuck in process"}
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
OURS = {
    "aurora": ("draft number", "duplicate of another's"),
    "borealis": ("signed in elsewhere", "another's under the key"),
    "cascade": ("stuck in process", "killed after the click"),
}
"""Where our portals' pages are most unlike a plain form. All scenarios: `oem-submissions conformance OEM`."""


def tried(stages: Stages, subject: Subject, scenario: Scenario, folder: Path) -> Result:
    """What one scenario came to."""
    (result,) = run_suite(stages.of(subject), [scenario], folder)
    return result


def outcome(result: Result) -> tuple[Outcome, tuple[str, ...]]:
    return result.outcome, result.problems if result.outcome is Outcome.FAILED else ()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_an_adapter_that_the_suite_has_never_seen_is_ready(stages: Stages, scenario: Scenario, tmp_path: Path) -> None:
    result = tried(stages, DAKOTA, scenario, tmp_path)
    expected = Outcome.NOT_APPLICABLE if scenario.name in NOT_FOR_DAKOTA else Outcome.PASSED
    assert outcome(result) == (expected, ())


@pytest.mark.parametrize(("oem", "name"), [(oem, name) for oem, names in OURS.items() for name in names])
def test_ours_are_ready(stages: Stages, oem: str, name: str, tmp_path: Path) -> None:
    result = tried(stages, registered(oem, SELECTORS, None), BY_NAME[name], tmp_path)
    assert outcome(result) == (Outcome.PASSED, ())
