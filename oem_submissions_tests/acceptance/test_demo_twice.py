"""The demo, as a user runs it, twice in a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oem_submissions_tests.acceptance.conftest import run_demo

pytestmark = pytest.mark.timeout(900)


def test_a_second_demo_has_the_same_outcome_and_files_nothing_twice(home: Path, first: dict[str, Any]) -> None:
    second = run_demo(home)
    assert {k: v for k, v in second.items() if k != "seconds"} == {k: v for k, v in first.items() if k != "seconds"}
    assert second["duplicates"] == 0
    assert sum(second["filed_at_portals"].values()) == sum(claim["reference"] is not None for claim in second["claims"])
