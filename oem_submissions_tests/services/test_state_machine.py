"""One claim is filed once, in whatever order things happen; and the machine that says so finds planted faults.

`make test-thorough` draws anew, and many more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import update

from oem_submissions.domain.outcomes import Wire
from oem_submissions.domain.records import Attempt, Claim, Lease
from oem_submissions.domain.states import State
from oem_submissions.ledger.chain import append_event
from oem_submissions.ledger.moves import database_now
from oem_submissions.ledger.store import Ledger
from oem_submissions.ledger.tables import attempts, claims
from oem_submissions_tests.breadth import THOROUGH
from oem_submissions_tests.services.machine import Machine, MachineLedger
from oem_submissions_tests.services.simulated_oem import WorkersPortal

QUICK = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=20,
    stateful_step_count=50,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""The same on every machine, and a failure is not made smaller: that takes minutes."""
CHOSEN = settings(phases=[Phase.generate], suppress_health_check=list(HealthCheck)) if THOROUGH else QUICK
FINDS_EARLY = 15
"""The seed of the planted faults: it finds each within ten examples. Another may need two hundred, or more."""

pytestmark = pytest.mark.timeout(0)  # the examples are counted, not the seconds


@pytest.fixture
def world(database_url: str) -> Iterator[MachineLedger]:
    made = MachineLedger(database_url)
    yield made
    made.close()


def explore(machine: type[Machine], world: MachineLedger, chosen: settings) -> None:
    run_state_machine_as_test(type(machine.__name__, (machine,), {"world": world}), settings=chosen)


def test_one_claim_is_filed_once_in_whatever_order_things_happen(world: MachineLedger) -> None:
    explore(Machine, world, CHOSEN)


# --- planted faults: a test of the test ---


class JournalsAfterTheClick(Ledger):
    """ARMED and SENT become durable when the answer is there, and the request leaves before."""

    def arm(self, claim: Claim, attempt: Attempt, lease: Lease, click_seconds: float) -> Claim:
        self.put_off = (claim, click_seconds)
        return replace(claim, state=State.ARMED, version=claim.version + 1)

    def record_sent(self, attempt: Attempt, lease: Lease, wire: Wire) -> None:
        pass

    def record_wire(self, attempt: Attempt, lease: Lease, wire: Wire, url: str) -> None:
        claim, click_seconds = self.put_off
        super().arm(claim, attempt, lease, click_seconds)
        super().record_sent(attempt, lease, wire)
        super().record_wire(attempt, lease, wire, url)


class RetriesArmed(Ledger):
    """What a lost worker left armed becomes ready again."""

    def recover(self, lease: Lease) -> list[Claim]:
        for claim, attempt in self.unfinished(lease):
            if claim.state is State.ARMED:
                self._back_to_ready(claim, attempt, lease)
        return super().recover(lease)

    def _back_to_ready(self, claim: Claim, attempt: Attempt, lease: Lease) -> None:
        with self._engine.begin() as connection:
            now = database_now(connection)
            again = {"state": State.READY, "version": claim.version + 1}
            connection.execute(update(claims).where(claims.c.claim_id == claim.claim_id).values(again))
            connection.execute(update(attempts).where(attempts.c.attempt_id == attempt.attempt_id).values(ended_at=now))
            append_event(connection, claim.claim_id, now, lease.worker, "moved", State.ARMED, State.READY, {}, lease)


class ClickBeforeJournal(Machine):
    def make_ledger(self) -> Ledger:
        return JournalsAfterTheClick(self.world.engine)


class ArmedIsRetried(Machine):
    def make_ledger(self) -> Ledger:
        return RetriesArmed(self.world.engine)


class NoSettleWindow(Machine):
    def portal(self, pause: Callable[[str], None]) -> WorkersPortal:
        return WorkersPortal(self.oem, pause, settle_minutes=0)


@pytest.mark.parametrize(
    ("mutant", "asks_the_ledger", "found"),
    [
        (ClickBeforeJournal, True, "I2"),
        (ArmedIsRetried, True, "I3"),
        (NoSettleWindow, True, "I7"),
        (ArmedIsRetried, False, "I1: claim .* was filed 2 times"),
        (NoSettleWindow, False, "I1: claim .* was filed 2 times"),
    ],
    ids=[
        "click before journal",
        "ARMED is retried",
        "no settle window",
        "ARMED is retried, by the portal alone",
        "no settle window, by the portal alone",
    ],
)
def test_the_machine_finds_a_planted_fault(
    mutant: type[Machine], asks_the_ledger: bool, found: str, world: MachineLedger
) -> None:
    """By the invariant that it breaks; and, when only the portal is asked, by the second filing that it leads to."""
    without_breakers = 1_000_000  # a portal that is left alone shows fewer faults
    chosen = type(
        mutant.__name__, (mutant,), {"asks_the_ledger": asks_the_ledger, "breaker_failures": without_breakers}
    )
    with pytest.raises(AssertionError, match=found):
        explore(seed(FINDS_EARLY)(chosen), world, settings(QUICK, max_examples=200))
