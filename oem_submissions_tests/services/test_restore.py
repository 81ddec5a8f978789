"""The ledger is put back to an older time: what was filed since is filed once all the same. On a real ledger.

A backup is a copy of the database, as PostgreSQL makes it; the portal and the evidence store go on, as they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.outcomes import Hit, Reference
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, NewClaim
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.chain import broken_links
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.ports import Submission
from oem_submissions.services.review import Said, Verdict, VerdictRefused, decide
from oem_submissions_tests.conftest import own_database
from oem_submissions_tests.making import PINS, new_claim
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import expire_leases, let_pass, run

REFERENCE = Reference("WC-000777", "claim number", "WC-000777", (0, 9))
Backup = Callable[[Ledger], Ledger]


@contextmanager
def _opened(url: str) -> Iterator[Ledger]:
    engine = ledger_engine(url)
    try:
        yield Ledger(engine)
    finally:
        engine.dispose()


@pytest.fixture
def copied(postgres: EmbeddedPostgres) -> Iterator[Backup]:
    """Makes a ledger that is a copy of this one."""
    with ExitStack() as open_ones:

        def copy(ledger: Ledger) -> Ledger:
            name = str(ledger._engine.url.database)
            ledger.close()  # PostgreSQL copies only what nobody has open
            return open_ones.enter_context(_opened(open_ones.enter_context(own_database(postgres, name))))

        yield copy


def hold(ledger: Ledger) -> int:
    since = ledger.now() - timedelta(hours=3)
    return ledger.hold_after_restore(["aurora"], since, "Ana", "the disk was lost")


def of(ledger: Ledger, number: int) -> Claim:
    found = ledger.claim_of_record("aurora", f"REC{number:04d}")
    assert found is not None
    return found


def dead(number: int) -> NewClaim:
    """A record that can't be filed as it is, with its natural key."""
    return replace(new_claim(number), reason=ReasonCode.VALIDATION_REJECTED, reason_text="Odometer too high.")


class Day:
    """Claims in every state before the click; then a backup, a day's filings, and the ledger as it was."""

    READY, UNFILED, HELD, DEAD, NEW, NEW_UNFILED = 1, 2, 3, 4, 5, 6

    def __init__(self, ledger: Ledger, copied: Backup) -> None:
        self.portal, self.evidence = FakePortal(), MemoryStore()
        ledger.add_claim(new_claim(90))
        self.run(ledger)  # a control
        ledger.add_claim(new_claim(self.HELD))
        self.portal.lose_request = True
        self.run(ledger)
        self.portal.lose_request = False
        ledger.add_claim(dead(self.DEAD))
        let_pass(ledger, 100)
        for number in (self.READY, self.UNFILED):
            ledger.add_claim(new_claim(number))
        self.restored = copied(ledger)
        self.go_on(ledger)
        self.tokens = ledger.acquire_lease("aurora", "99999", "run", "w", 60)
        self.attempt_ids = [
            a.attempt_id for n in (self.READY, self.NEW) for a in ledger.attempts(of(ledger, n).claim_id)
        ]
        ledger.close()

    def run(self, ledger: Ledger) -> None:
        run(ledger, self.portal, self.evidence)

    def go_on(self, ledger: Ledger) -> None:
        """After the backup everything but two claims is filed, one of them once it was proven absent."""
        ledger.redrive(of(ledger, self.DEAD), "ana")
        ledger.add_claim(new_claim(self.NEW))
        unfiled = of(ledger, self.UNFILED)
        ledger.amend_claim(unfiled, dead(self.UNFILED))
        self.run(ledger)
        assert len(self.portal.filed) == len(set(self.portal.filed)) == 5

    def take_in(self) -> None:
        """What the CRM has, and the restored ledger does not."""
        for number in (self.NEW, self.NEW_UNFILED):
            self.restored.add_claim(new_claim(number))
        self.restored.redrive(of(self.restored, self.DEAD), "ana")

    def filings(self) -> Counter[int]:
        return Counter(int(key.split(":")[3][2:]) for key in self.portal.filed)


@pytest.fixture
def day(ledger: Ledger, copied: Backup) -> Day:
    return Day(ledger, copied)


def test_what_was_filed_after_the_backup_is_looked_up_and_never_filed_again(day: Day) -> None:
    ledger, late = day.restored, list(day.portal.filed)

    def lists_late(portal: FakePortal, submission: Submission) -> list[Hit]:
        return portal.listed(submission) if submission.natural_key not in late[1:] else []

    day.portal.history = lists_late  # the portal shows what was filed last only after a while
    assert hold(ledger) == 4
    day.take_in()
    day.run(ledger)
    assert len(day.portal.filed) == 5, "so soon after the restore an absence proves nothing"
    assert {of(ledger, n).is_to_be_filed for n in range(1, 7)} == {False}
    day.portal.history = lambda portal, submission: portal.listed(submission)
    for _ in range(3):
        let_pass(ledger, 2)
        day.run(ledger)
    assert day.filings() == Counter({90: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1})
    states = {number: of(ledger, number).state for number in range(1, 7)}
    assert [states[n] for n in (day.UNFILED, day.NEW_UNFILED)] == [State.CONFIRMED] * 2
    assert states[day.HELD] is State.CONFIRMED, "of it the ledger has the form as it was sent"
    assert [states[n] for n in (day.READY, day.DEAD, day.NEW)] == [State.NEEDS_REVIEW] * 3
    assert "The portal lists it as WC-00000" in str(of(ledger, day.READY).reason_text)
    assert {broken_links(ledger.events(of(ledger, n).claim_id)) == [] for n in range(1, 7)} == {True}
    assert [(state, count) for _, state, count in ledger.in_doubt()] == [(State.NEEDS_REVIEW, 3)]


def test_without_a_hold_the_restored_ledger_files_twice(day: Day) -> None:
    day.take_in()
    day.run(day.restored)
    assert max(day.filings().values()) == 2


def test_a_release_that_is_suspended_does_not_keep_claims_in_doubt_from_being_looked_up(day: Day) -> None:
    ledger = day.restored
    hold(ledger)
    assert [(work.goes_on, work.ready) for work in ledger.due_work("aurora")] == [(True, 0)]
    (look,) = ledger.partitions_to_look_up("aurora")
    assert look.work.claims == 3
    day.run(ledger)
    let_pass(ledger, 2)
    day.run(ledger)
    assert ledger.partitions_to_look_up("aurora") == []


def test_what_the_portal_can_not_tell_is_for_a_person_whose_verdict_ends_the_doubt(day: Day) -> None:
    ledger = day.restored
    hold(ledger)
    day.portal.rules = None
    day.run(ledger)
    claim = of(ledger, day.UNFILED)
    assert claim.state is State.NEEDS_REVIEW
    said = Said(Verdict.FILED, "Ana", "it is listed", reference=None)
    with pytest.raises(VerdictRefused, match="needs the portal's reference"):
        decide(claim, said, ledger=ledger, evidence=day.evidence)
    decide(claim, Said(Verdict.NOT_FILED, "Ana", "not listed"), ledger=ledger, evidence=day.evidence)
    day.run(ledger)
    assert (of(ledger, day.UNFILED).state, day.filings()[day.UNFILED]) == (State.CONFIRMED, 1)
    found = Said(Verdict.FILED, "Ana", "it is listed", reference=REFERENCE)
    with pytest.raises(VerdictRefused, match="has no proof of it any more"):
        decide(of(ledger, day.READY), found, ledger=ledger, evidence=day.evidence)


def test_numbers_that_were_given_after_the_backup_are_not_given_again(day: Day) -> None:
    ledger = day.restored
    hold(ledger)
    assert day.tokens is not None
    lease = ledger.acquire_lease("aurora", "99999", "run", "w", 60)
    assert lease is not None
    assert lease.fencing_token > day.tokens.fencing_token
    ledger.restore_is_over(ledger.restores()[0], "Ana", "all is taken in")
    claim, attempt = ledger.start_attempt(ledger.add_claim(new_claim(7, dealer="99999")), lease, PINS)
    assert claim.in_doubt_since is None
    assert attempt.attempt_id > max(day.attempt_ids)


def test_a_worker_that_has_a_claim_in_hand_can_not_arm_it_and_a_correction_does_not_end_the_doubt(
    ledger: Ledger,
) -> None:
    lease = ledger.acquire_lease("aurora", "10234", "run-0", "worker", 60)
    assert lease is not None
    claim, attempt = ledger.start_attempt(ledger.add_claim(new_claim()), lease, PINS)
    claim = ledger.prepared(claim, attempt, lease, {})
    assert hold(ledger) == 1
    with pytest.raises(StateConflict):
        ledger.arm(claim, attempt, lease, 5)
    expire_leases(ledger)
    portal = FakePortal()
    run(ledger, portal)
    assert (of(ledger, 1).state, portal.filed) == (State.READY, [])
    amended = ledger.amend_claim(of(ledger, 1), new_claim(payload={"corrected": True}))
    with pytest.raises(StateConflict, match="may be filed already"):
        ledger.start_attempt(amended, lease, PINS)
