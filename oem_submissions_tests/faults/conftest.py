"""A world of real parts for worker processes: a ledger, a folder of evidence, the simulated portals and CRM."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oem_submissions.ledger.store import Ledger
from oem_submissions.simulator.client import SimulatorClient
from oem_submissions_tests.faults.world import SimulatorProcess, World


@pytest.fixture(scope="package")
def simulator() -> Iterator[SimulatorProcess]:
    """The simulator as a process of its own: killed workers leave connections behind that only its end closes."""
    command = [sys.executable, "-m", "oem_submissions.simulator"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        client = SimulatorClient(ready["http"])
        yield SimulatorProcess(ready["http"], ready["https"], Path(ready["ca"]), client)
        client.close()
        process.terminate()


@pytest.fixture
def world(simulator: SimulatorProcess, ledger: Ledger, database_url: str, tmp_path: Path) -> Iterator[World]:
    simulator.client.reset()
    made = World(simulator, ledger, database_url, tmp_path)
    yield made
    made.close()
