"""What the OEM decides: polled, kept as seen, told to the CRM. On a real ledger, with a portal that decides."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import text, update

from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.domain.dispositions import Disposition, Seen, Standing
from oem_submissions.domain.failures import LeaseLost, StateConflict, StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.chain import broken_links
from oem_submissions.ledger.store import Ledger
from oem_submissions.ledger.tables import history_reads
from oem_submissions.ports import CrmOutcome, CrmUnavailable
from oem_submissions.services.dispositions import Polled, poll_dispositions, tell_dispositions
from oem_submissions.services.seal import seal_claims
from oem_submissions.services.sweep import sweep_account
from oem_submissions.services.sync import same_standing, sync_claims
from oem_submissions_tests.evidence.sealing import SEALING
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import PARTITION, Clock, Killed, KilledAt, let_pass, run
from oem_submissions_tests.services.test_sweep import DOWN, reader

D = Disposition
DESK = "http://desk"
APPROVED, PAID = Seen(D.APPROVED, "Approved"), Seen(D.PAID, "Paid")
DENIED, SUSPENDED = Seen(D.DENIED, "Denied"), Seen(D.SUSPENDED, "Suspended")
AUDIT = Seen(D.UNRECOGNISED, "Under audit")
HOURS = 6 * 3600.0


class World:
    """A claim that is filed, sealed and known to the CRM, and the portal that has it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.portal, self.crm = ledger, FakePortal(), MemoryCrm()
        self.claim = self.file(1)

    def file(self, number: int, period: str = PARTITION.period, tell: bool = True) -> Claim:
        new = new_claim(number, period=period)
        self.ledger.add_claim(new)
        self.crm.add(new.crm_record_id, oem="aurora", dealer="10234", claim_type="warranty", due_on=date(2026, 11, 10),
                     payload=new.payload)  # fmt: skip
        store = MemoryStore()
        partition = type(PARTITION)("aurora", "10234", period)
        filed = run(self.ledger, self.portal, store, partition)
        seal_claims(filed, "run-1", "w", ledger=self.ledger, evidence=store, **SEALING)
        if tell:
            self.sync(period)
        return self.of(number)

    def sync(self, period: str = PARTITION.period) -> None:
        filed = self.ledger.claims("aurora", "10234", period)
        assert sync_claims(filed, "run-1", "w", ledger=self.ledger, crm=self.crm, desk_url=DESK) == []

    def of(self, number: int) -> Claim:
        claim = self.ledger.claim_of_record("aurora", f"REC{number:04d}")
        assert claim is not None
        return claim

    def says(self, seen: Seen, number: int = 1) -> None:
        self.portal.decisions[self.of(number).reference or ""] = seen

    def poll(self, ledger: Any = None) -> Polled:
        """As if the last read were long ago."""
        self.age(1)
        return poll_dispositions(reader(ledger or self.ledger, self.portal))

    def age(self, hours: float) -> None:
        """As if so much time had passed since every read."""
        with self.ledger._engine.begin() as connection:
            connection.execute(text("ALTER TABLE history_reads DISABLE TRIGGER append_only"))
            back = text(f"interval '{hours} hours'")
            connection.execute(
                update(history_reads).values(at=history_reads.c.at - back, again_at=history_reads.c.again_at - back)
            )
            connection.execute(text("ALTER TABLE history_reads ENABLE TRIGGER append_only"))

    def tell(self, ledger: Any = None, crm: Any = None) -> list[Any]:
        claims = self.ledger.claims("aurora", "10234", PARTITION.period)
        return tell_dispositions(claims, "run-2", "w", ledger=ledger or self.ledger, crm=crm or self.crm, desk_url=DESK)

    def standing(self, number: int = 1) -> Standing:
        standing = self.ledger.standing(self.of(number).claim_id)
        assert standing is not None
        return standing

    def told(self) -> CrmOutcome:
        outcome = self.crm.read_outcome("REC0001")
        assert outcome is not None
        return outcome

    def due(self) -> list[tuple[str, str]]:
        return [(poll.work.period, poll.what.split(":")[0]) for poll in self.ledger.due_polls("aurora", HOURS)]


@pytest.fixture
def world(ledger: Ledger) -> World:
    return World(ledger)


def changes(world: World) -> list[tuple[Any, Any, Any]]:
    events = world.ledger.events(world.claim.claim_id)
    return [(e.details["from"], e.details["to"], e.details["expected"]) for e in events if e.kind == "disposition"]


# --- kept as seen ---


def test_a_decision_is_kept_and_told_and_the_submissions_outcome_is_untouched(world: World) -> None:
    before = world.told()
    world.says(APPROVED)
    (changed,) = world.poll().changed
    assert (changed.disposition, changed.text, changed.expected, changed.needs_telling) == (
        D.APPROVED, "Approved", True, True,
    )  # fmt: skip
    assert world.tell() == []
    after = world.told()
    assert (after.disposition, after.disposition_text) == ("APPROVED", "Approved")
    assert after.disposition_at is not None
    plain = {"disposition": None, "disposition_text": None, "disposition_at": None}
    told = {"updated_at": before.updated_at}  # to be told moves the claim, perhaps into the next second
    assert CrmOutcome(**{**vars(after), **plain, **told}) == before
    assert world.of(1) == world.claim
    assert not world.standing().needs_telling
    assert changes(world) == [(D.UNDECIDED, D.APPROVED, True)]
    assert broken_links(world.ledger.events(world.claim.claim_id)) == []
    assert same_standing(after, world.claim, DESK, world.standing())
    assert not same_standing(before, world.claim, DESK, world.standing())


def test_that_nothing_is_decided_yet_is_kept_once_and_the_crm_is_not_troubled(world: World) -> None:
    world.poll()
    world.poll()
    assert (world.standing().disposition, world.standing().needs_telling) == (D.UNDECIDED, False)
    assert len(changes(world)) == 1
    assert world.tell() == []
    assert world.crm.writes("REC0001") == 1


def test_every_change_is_in_the_chain_and_the_crm_has_the_last_one(world: World) -> None:
    for seen in (SUSPENDED, APPROVED, PAID, Seen(D.CHARGED_BACK, "Charged back")):
        world.says(seen)
        world.poll()
        world.tell()
    assert [to for _, to, _ in changes(world)] == [D.SUSPENDED, D.APPROVED, D.PAID, D.CHARGED_BACK]
    assert all(expected for _, _, expected in changes(world))
    assert world.told().disposition == "CHARGED_BACK"


def test_a_decision_that_is_taken_back_is_taken_from_the_crm(world: World) -> None:
    world.says(SUSPENDED)
    world.poll()
    world.tell()
    world.says(Seen(D.UNDECIDED, "Submitted"))
    world.poll()
    assert world.standing().needs_telling
    world.tell()
    assert (world.told().disposition, world.told().disposition_text) == (None, None)


def test_a_word_that_the_pack_does_not_know_is_unknown_and_told_as_it_is(world: World) -> None:
    world.says(AUDIT)
    world.poll()
    world.tell()
    assert (world.standing().disposition, world.told().disposition_text) == (D.UNRECOGNISED, "Under audit")
    world.says(DENIED)
    world.poll()
    assert world.standing().expected
    assert changes(world)[-1] == (D.UNRECOGNISED, D.DENIED, True)


def test_a_move_that_no_oem_should_make_is_kept_and_flagged(world: World) -> None:
    world.says(PAID)
    world.poll()
    world.says(DENIED)
    (changed,) = world.poll().changed
    assert (changed.disposition, changed.expected) == (D.DENIED, False)
    assert changes(world)[-1] == (D.PAID, D.DENIED, False)


def test_the_row_of_another_claim_decides_nothing(world: World) -> None:
    stranger = world.portal.row(str(world.claim.reference), "another claim's key")
    world.says(DENIED)
    world.portal.rows = lambda portal: [stranger]
    polled = world.poll()
    assert polled.changed == ()
    assert "with the fields of another claim" in polled.problems[0]
    assert world.ledger.standing(world.claim.claim_id) is None


def test_an_amount_that_the_oem_has_cut_makes_no_other_claim(world: World) -> None:
    world.says(APPROVED)
    cut = world.portal.row(str(world.claim.reference), str(world.claim.natural_key), amount="0.50")
    world.portal.rows = lambda portal: [cut]
    world.poll()
    assert world.standing().disposition is D.APPROVED


def test_two_rows_with_different_decisions_decide_nothing(world: World) -> None:
    rows = world.portal.everything()
    world.says(PAID)
    world.portal.rows = lambda portal: [*rows, *portal.everything()]
    polled = world.poll()
    assert polled.changed == ()
    assert "2 times, with different decisions" in polled.problems[0]


def test_a_claim_that_is_not_listed_keeps_what_was_last_seen(world: World) -> None:
    world.says(APPROVED)
    world.poll()
    world.portal.rows = lambda portal: []
    assert world.poll().changed == ()
    assert world.standing().disposition is D.APPROVED


# --- one read for all ---


def test_one_read_serves_every_period_of_the_account_and_is_not_made_again_at_once(world: World) -> None:
    world.file(2, "2026-11-11")
    world.says(APPROVED)
    world.says(DENIED, 2)
    assert len(world.poll().changed) == 2
    again = poll_dispositions(reader(world.ledger, world.portal))
    assert "not read again" in again.text
    assert len(world.portal.listed_since) == 1


def test_a_sweep_keeps_the_decisions_on_the_way_even_of_claims_that_are_not_polled_any_more(world: World) -> None:
    world.says(PAID)
    world.poll()
    assert world.due() == [(PARTITION.period, "tell")]
    world.tell()
    assert world.due() == []
    world.says(Seen(D.CHARGED_BACK, "Charged back"))
    sweep_account(reader(world.ledger, world.portal))
    assert world.standing().disposition is D.CHARGED_BACK
    assert world.due() == [(PARTITION.period, "tell")]


def test_a_poll_reads_back_to_the_oldest_claim_that_is_open(world: World) -> None:
    world.poll()
    assert world.claim.created_at - world.portal.listed_since[0] == timedelta(days=1)


# --- when it is due ---


def test_an_account_is_first_read_hours_after_its_first_filing_and_then_as_often(world: World) -> None:
    assert world.due() == []
    let_pass(world.ledger, 7)
    assert world.due() == [(PARTITION.period, "read")]
    poll_dispositions(reader(world.ledger, world.portal))
    assert world.due() == []
    world.age(5)
    assert world.due() == []
    world.age(2)
    assert world.due() == [(PARTITION.period, "read")]


def test_one_partition_of_an_account_is_due_and_all_that_have_news(world: World) -> None:
    world.file(2, "2026-11-11")
    world.file(3, "2026-11-12")
    let_pass(world.ledger, 7)
    assert world.due() == [(PARTITION.period, "read")]
    world.says(APPROVED, 2)
    world.says(DENIED, 3)
    world.poll()
    assert sorted(world.due()) == [("2026-11-11", "tell"), ("2026-11-12", "tell")]


def test_trouble_puts_the_next_read_off_and_concludes_nothing(world: World) -> None:
    world.says(APPROVED)
    world.portal.history_failures = [DOWN]
    polled = world.poll()
    assert (polled.trouble, polled.changed) == (DOWN, ())
    assert world.ledger.standing(world.claim.claim_id) is None
    let_pass(world.ledger, 7)
    assert world.due() == []
    world.age(0.5)
    assert world.due() == [(PARTITION.period, "read")]
    assert len(poll_dispositions(reader(world.ledger, world.portal)).changed) == 1


def test_a_refused_log_in_is_not_tried_again_soon(world: World) -> None:
    world.portal.history_failures = [StepFailed(ReasonCode.LOGIN_FAILED, "Wrong password.", "log in")]
    world.poll()
    polled = poll_dispositions(reader(world.ledger, world.portal))
    assert "refused our log-in" in polled.text
    assert len(world.portal.listed_since) == 1


def test_a_poll_never_shares_the_account(world: World) -> None:
    assert world.ledger.acquire_lease("aurora", "10234", "other", "other", 60) is not None
    with pytest.raises(LeaseLost):
        poll_dispositions(reader(world.ledger, world.portal, lease_seconds=0.2))


@pytest.mark.parametrize("down", [False, True], ids=["the portal answers", "the portal is down"])
def test_a_late_decision_is_flagged_once_and_has_news_until_it_is_decided(down: bool, world: World) -> None:
    let_pass(world.ledger, 31 * 24)
    world.portal.history_failures = [DOWN] if down else []
    assert world.poll().changed[-1].overdue
    assert world.poll().changed == (() if not down else (world.standing(),))
    assert world.due() == [(PARTITION.period, "tell")]
    world.tell()
    assert world.standing().overdue
    assert world.due() == []
    assert world.told().disposition is None  # late is for us to see: the OEM has said nothing
    world.says(APPROVED)
    world.poll()
    assert not world.standing().overdue


def test_an_approved_claim_is_not_overdue(world: World) -> None:
    world.says(APPROVED)
    let_pass(world.ledger, 31 * 24)
    world.poll()
    assert not world.standing().overdue


# --- told ---


def test_a_decision_that_came_before_the_crm_knew_of_the_filing_comes_with_it(world: World) -> None:
    world.file(2, tell=False)
    world.says(APPROVED, 2)
    world.poll()
    world.tell()
    assert world.crm.read_outcome("REC0002") is None
    world.sync()
    outcome = world.crm.read_outcome("REC0002")
    assert outcome is not None
    assert (outcome.status, outcome.disposition) == ("FILED", "APPROVED")
    world.tell()
    assert world.crm.writes("REC0002") == 1
    assert not world.standing(2).needs_telling


def test_a_crm_that_is_down_or_forgets_is_told_later(world: World) -> None:
    world.says(APPROVED)
    world.poll()
    world.crm.unavailable = "The CRM is down."
    (untold,) = world.tell()
    assert untold.problem == "The CRM is down."
    assert world.due() == [(PARTITION.period, "tell")]
    world.crm.unavailable = None

    class Forgets(MemoryCrm):
        def write_outcome(self, record_id: str, outcome: CrmOutcome) -> None:
            pass

        def read_outcome(self, record_id: str) -> CrmOutcome | None:
            return None

    assert len(world.tell(crm=Forgets())) == 1
    assert world.tell() == []
    assert world.told().disposition == "APPROVED"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_worker_killed_at_any_write_of_a_poll_loses_no_decision_and_tells_none_twice(
    after: bool, world: World
) -> None:
    """Between the CRM's write and the ledger's note too: the next run finds the record right, and only notes it."""
    strikes = 0
    for strike in range(1, 20):
        strikes = strike
        clock = Clock(strike, after)
        seen = (SUSPENDED, APPROVED)[strike % 2]
        world.says(seen)
        world.age(7)
        try:
            poll_dispositions(reader(KilledAt(world.ledger, clock), world.portal))
            world.tell(KilledAt(world.ledger, clock), KilledAt(world.crm, clock))
        except Killed:
            died = True
        else:
            died = False
        _expire(world.ledger)
        world.poll()
        assert world.tell() == []
        assert (world.standing().disposition, world.told().disposition) == (seen.disposition, str(seen.disposition))
        assert not world.standing().needs_telling
        assert world.crm.writes("REC0001") == 1 + strike
        if not died:
            break
    assert 5 < strikes < 19
    assert [to for _, to, _ in changes(world)] == [(D.SUSPENDED, D.APPROVED)[s % 2] for s in range(1, strikes + 1)]
    assert world.of(1) == world.claim
    assert len(world.portal.filed) == 1


def _expire(ledger: Ledger) -> None:
    with ledger._engine.begin() as connection:
        connection.execute(text("UPDATE leases SET expires_at = clock_timestamp() WHERE released_at IS NULL"))


def test_a_stale_copy_of_a_standing_changes_nothing(world: World) -> None:
    world.poll()
    stale = world.standing()
    world.says(APPROVED)
    world.poll()
    with pytest.raises(StateConflict, match="in the meantime"):
        world.ledger.disposition_told(world.claim, stale, "run", "w")
    lease = world.ledger.acquire_lease("aurora", "10234", "r", "w", 60)
    assert lease is not None
    for known in (stale, None):
        with pytest.raises(StateConflict, match="in the meantime"):
            world.ledger.see(world.claim, known, DENIED, lease)
    world.ledger.release_lease(lease)
    assert world.ledger.acquire_lease("aurora", "10234", "r2", "w2", 60) is not None
    with pytest.raises(LeaseLost, match="taken the account over"):
        world.ledger.see(world.claim, world.standing(), DENIED, lease)
    assert world.standing().disposition is D.APPROVED


def test_a_held_claim_is_not_polled(ledger: Ledger) -> None:
    portal = FakePortal(lose_reply=True)
    ledger.add_claim(new_claim())
    (claim,) = run(ledger, portal)
    assert claim.state is State.OUTCOME_UNKNOWN
    let_pass(ledger, 9)
    assert ledger.due_polls("aurora", HOURS) == []


def test_a_crm_outage_raises_nothing(world: World) -> None:
    world.says(APPROVED)
    world.poll()

    class Down(MemoryCrm):
        def read_outcome(self, record_id: str) -> CrmOutcome | None:
            raise CrmUnavailable("503")

    assert [untold.problem for untold in world.tell(crm=Down())] == ["503"]
