"""A world of real parts for worker processes: a ledger, a folder of evidence, the simulated portals and CRM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oem_submissions.ledger.store import Ledger
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.faults.world import World


@pytest.fixture(scope="package")
def running_simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def world(running_simulator: Simulator, ledger: Ledger, database_url: str, tmp_path: Path) -> Iterator[World]:
    running_simulator.client.reset()
    made = World(running_simulator, ledger, database_url, tmp_path)
    yield made
    made.close()
