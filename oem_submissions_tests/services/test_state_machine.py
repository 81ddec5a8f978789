"""One claim is filed once, in whatever order things happen; and the machine that says so finds planted faults.

`pytest --hypothesis-profile thorough` draws anew, and many more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from oem_submissions.domain.records import Attempt, Claim, Lease
from oem_submissions.domain.outcomes import Wire
from oem_submissions.domain.states import State
from oem_submissions.ledger.chain import append_event
from oem_submissions.ledger.moves import compare_and_set, database_now, on_attempt
from oem_submissions.ledger.store import Ledger
from oem_submissions_tests.services.machine import Machine, MachineLedger
from oem_submissions_tests.services.simulated_oem import WorkersPortal

QUICK = settings(
    derandomize=True,
    phases=[Phase.generate],
    database=None,
    deadline=None,
    max_examples=int(__import__("os").environ.get("N","40")),
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def world(database_url: str) -> Iterator[MachineLedger]:
    made = MachineLedger(database_url)
    yield made
    made.close()


def run(machine: type[Machine], world: MachineLedger, chosen: settings) -> None:
    run_state_machine_as_test(type(machine.__name__, (machine,), {"world": world}), settings=chosen)


def test_one_claim_is_filed_once_in_whatever_order_things_happen(world: MachineLedger) -> None:
    run(Machine, world, QUICK)
