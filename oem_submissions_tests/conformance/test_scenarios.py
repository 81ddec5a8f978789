"""Scenarios on an OEM that the suite has never seen, and one on each of ours; all of them by `make test-thorough`."""

from __future__ import annotations

from pathlib import Path

import pytest

from oem_submissions.conformance.scenarios import SCENARIOS, Scenario
from oem_submissions.conformance.stage import Subject, registered
from oem_submissions.conformance.suite import Outcome, Result, run_suite
from oem_submissions_tests.breadth import THOROUGH
from oem_submissions_tests.conformance.conftest import Stages
from oem_submissions_tests.conformance.defects import DAKOTA
from oem_submissions_tests.portal.parts import SELECTORS

NOT_FOR_DAKOTA = {"signed in elsewhere", "stuck in process"}
ELSEWHERE = {
    "files": "adapters/test_filing.py",
    "slow": "real/test_real_portals.py",
    "session expired": "real/test_real_portals.py",
    "lying success": "adapters/test_filing.py",
    "draft number": "adapters/test_filing.py",
    "reset before filing": "real/test_real_portals.py",
    "reset after filing": "real/test_real_portals.py",
    "lost response": "portal/test_lookup.py",
    "killed after the click": "real/test_real_portals.py",
    "renamed label": "portal/test_session.py",
    "new required field": "acceptance/test_new_oem.py",
    "error after filing": "adapters/test_filing.py",
    "no duplicate check": "acceptance/test_chaos.py",
    "duplicate of another's": "on Aurora, below",
    "reference missing": "adapters/test_filing.py",
    "two references": "adapters/test_filing.py",
    "double processing": "adapters/test_filing.py",
    "history down": "portal/test_lookup.py",
    "reference never": "services/test_reconcile.py",
}
"""Where else the default run shows what the portal does there, and what we make of it."""
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
OURS = {
    "aurora": ("duplicate of another's", "draft number"),
    "borealis": ("signed in elsewhere", "another's under the key"),
    "cascade": ("stuck in process", "killed after the click"),
}
"""Where our portals' pages are most unlike a plain form: by default the first of each. All scenarios:
`oem-submissions conformance OEM`.
"""
TRIED = [scenario for scenario in SCENARIOS if THOROUGH or scenario.name not in ELSEWHERE]
OURS_TRIED = [(oem, name) for oem, names in OURS.items() for name in (names if THOROUGH else names[:1])]


def tried(stages: Stages, subject: Subject, scenario: Scenario, folder: Path) -> Result:
    """What one scenario came to."""
    (result,) = run_suite(stages.of(subject), [scenario], folder)
    return result


def outcome(result: Result) -> tuple[Outcome, tuple[str, ...]]:
    return result.outcome, result.problems if result.outcome is Outcome.FAILED else ()


@pytest.mark.parametrize("scenario", TRIED, ids=lambda scenario: scenario.name)
def test_an_adapter_that_the_suite_has_never_seen_is_ready(stages: Stages, scenario: Scenario, tmp_path: Path) -> None:
    result = tried(stages, DAKOTA, scenario, tmp_path)
    expected = Outcome.NOT_APPLICABLE if scenario.name in NOT_FOR_DAKOTA else Outcome.PASSED
    assert outcome(result) == (expected, ())


@pytest.mark.parametrize(("oem", "name"), OURS_TRIED)
def test_ours_are_ready(stages: Stages, oem: str, name: str, tmp_path: Path) -> None:
    result = tried(stages, registered(oem, SELECTORS, None), BY_NAME[name], tmp_path)
    assert outcome(result) == (Outcome.PASSED, ())
