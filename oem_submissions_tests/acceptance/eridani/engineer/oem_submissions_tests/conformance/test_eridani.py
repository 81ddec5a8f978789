"""Eridani Motors: what its form gets, and three scenarios of the fault suite, which has all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.eridani import mapping
from oem_submissions.conformance.stage import registered
from oem_submissions.conformance.suite import Outcome, chosen, run_suite
from oem_submissions_tests.conformance.conftest import Stages
from oem_submissions_tests.portal.parts import SELECTORS, warranty


def test_the_form_gets_its_own_formats() -> None:
    values = mapping.form_values(warranty("RO-1"))
    assert values["opened_on"] == "2026-11-01"
    assert values["labour_amount"] == "100.10"
    assert values["claim_total"] == "112.60"
    assert values["part_1_quantity"] == "1"
    assert values["coverage"] == "New vehicle"
    assert values["complaint"] == "NOISE"


@pytest.mark.parametrize("name", ["plain", "reset after filing", "draft number"])
def test_the_portal_misbehaves(name: str, stages: Stages, tmp_path: Path) -> None:
    (result,) = run_suite(stages.of(registered("eridani", SELECTORS, None)), chosen([name]), tmp_path)
    assert (result.outcome, result.problems) == (Outcome.PASSED, ())
