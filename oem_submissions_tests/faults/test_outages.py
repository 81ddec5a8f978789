"""The ledger's server, the evidence store or the CRM goes away in the middle of a run, and comes back. Filed once."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.domain.outcomes import Answer, Wire
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.chain import broken_links
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.migrate import migrate
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.ports import CrmOutcome, LedgerUnavailable, Prepared, Submission
from oem_submissions.services.seal import seal_claims
from oem_submissions.services.submit import TryAgain
from oem_submissions.services.sync import same_standing, sync_claims
from oem_submissions_tests.evidence.sealing import SEALING
from oem_submissions_tests.making import new_claim, warranty_payload
from oem_submissions_tests.services.fakes import FakePortal, FakeSession
from oem_submissions_tests.services.runs import PARTITION, expire_leases, let_pass, run


@dataclass
class Interrupted(FakeSession):
    """Something happens at one moment of the first session."""

    portal: InterruptedPortal  # type: ignore[assignment]

    def prepare(self, submission: Submission) -> Prepared:
        ready = super().prepare(submission)
        self.portal.reach("the form is filled")
        return ready

    def submit(self, on_sent: Callable[[Wire], None]) -> Answer:
        def noted(wire: Wire) -> None:
            self.portal.reach("before SENT is noted")
            on_sent(wire)
            self.portal.reach("SENT is noted")

        answer = super().submit(noted)
        self.portal.reach("the answer is there")
        return answer


MOMENTS = ("the form is filled", "before SENT is noted", "SENT is noted", "the answer is there")


@dataclass
class InterruptedPortal(FakePortal):
    """A portal during whose first session something happens."""

    moment: str = ""
    happens: Callable[[], None] = lambda: None
    session_type: type[FakeSession] | None = Interrupted

    def reach(self, moment: str) -> None:
        if moment == self.moment:
            self.moment = ""
            self.happens()


# --- PostgreSQL ---


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server of its own, to be taken down."""
    with tempfile.TemporaryDirectory(prefix="oem-submissions-restarted-", ignore_cleanup_errors=True) as folder:
        made = EmbeddedPostgres(Path(folder))
        yield made
        made.stop()


@pytest.fixture
def its_ledger(server: EmbeddedPostgres) -> Iterator[Ledger]:
    engine = ledger_engine(server.url(f"ledger_{uuid.uuid4().hex[:12]}"))
    migrate(engine)
    yield Ledger(engine)
    engine.dispose()


@pytest.mark.parametrize("stays", [False, True], ids=["and comes back", "and stays away"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_database_that_goes_away_in_a_run_leaves_a_claim_that_is_filed_once(
    server: EmbeddedPostgres, its_ledger: Ledger, moment: str, stays: bool
) -> None:
    ledger, evidence = its_ledger, MemoryStore()

    def goes_away() -> None:
        server.shut_down("fast" if stays else "immediate")  # an order, or a crash as at a failover
        if not stays:
            server.start_again()

    claim = ledger.add_claim(new_claim())
    portal = InterruptedPortal(moment=moment, happens=goes_away)
    try:
        run(ledger, portal, evidence)
    except LedgerUnavailable:
        assert stays
    server.start_again()
    assert len(portal.filed) <= 1
    expire_leases(ledger)
    for _ in range(2):
        run(ledger, portal, evidence)
        let_pass(ledger, 2)
    ended = now(ledger, claim)
    filed = len(portal.filed)
    assert (ended.state, filed) in {(State.CONFIRMED, 1), (State.NEEDS_REVIEW, 0)}, ended.reason_text
    assert broken_links(ledger.events(claim.claim_id)) == []
    assert ledger.held_leases() == []


def now(ledger: Ledger, claim: Claim) -> Claim:
    found = ledger.claim(claim.claim_id)
    assert found is not None
    return found


# --- evidence ---


class FullDisk(DirectoryStore):
    """A store in a folder that can be made to refuse."""

    def refuse(self) -> None:
        """The folder's name leads to a file: whoever runs this, even root, can't write there."""
        self.root.rename(self.root.with_name("aside"))
        self.root.write_text("not a folder")

    def mend(self) -> None:
        """As it was."""
        self.root.unlink()
        self.root.with_name("aside").rename(self.root)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("refuses", [False, True], ids=["filed", "refused"])
def test_a_store_that_goes_away_in_a_run_and_comes_back_costs_no_proof(
    ledger: Ledger, tmp_path: Path, moment: str, refuses: bool
) -> None:
    store = FullDisk(tmp_path / "evidence")
    store.root.mkdir()
    known = ledger.add_claim(new_claim(2))
    portal = InterruptedPortal(moment="", happens=store.refuse)
    run(ledger, portal, store)
    portal.moment = moment
    portal.refuse = lambda _: "odometer too high" if refuses else None
    claim = ledger.add_claim(new_claim())
    run_or_wait(ledger, portal, store)
    assert now(ledger, claim).state in (State.READY, State.OUTCOME_UNKNOWN)
    seal_claims([now(ledger, known)], "r", "w", ledger=ledger, evidence=store, **SEALING)
    assert now(ledger, known).bundle_digest is None
    store.mend()
    for _ in range(2):
        let_pass(ledger, 2)
        run_or_wait(ledger, portal, store)
    ended = now(ledger, claim)
    assert (ended.state, len(portal.filed)) == ((State.REJECTED, 1) if refuses else (State.CONFIRMED, 2))
    left = seal_claims(ledger.all_claims(), "r", "w", ledger=ledger, evidence=store, **SEALING)
    assert left == []
    assert now(ledger, claim).bundle_digest is not None


def run_or_wait(ledger: Ledger, portal: FakePortal, store: DirectoryStore, **changes: Any) -> None:
    try:
        run(ledger, portal, store, **changes)
    except TryAgain:
        pass


# --- CRM ---


def test_an_hour_without_the_crm_is_caught_up_with_in_one_write_and_nothing_is_filed_twice(ledger: Ledger) -> None:
    crm, evidence, portal = MemoryCrm(), MemoryStore(), FakePortal(lose_reply=True)
    claim = ledger.add_claim(new_claim())
    crm.add(claim.crm_record_id, oem="aurora", dealer="10234", claim_type="warranty", due_on=claim.due_on,
            payload=warranty_payload())  # fmt: skip
    crm.unavailable = "The CRM is down."

    def a_run() -> list[str]:
        run(ledger, portal, evidence)
        claims = ledger.claims(*vars(PARTITION).values())
        seal_claims(claims, "r", "w", ledger=ledger, evidence=evidence, **SEALING)
        claims = ledger.claims(*vars(PARTITION).values())
        return [u.problem for u in sync_claims(claims, "r", "w", ledger=ledger, crm=crm, desk_url="http://desk")]

    assert a_run() == ["The CRM is down."]
    assert now(ledger, claim).state is State.OUTCOME_UNKNOWN
    portal.lose_reply = False
    let_pass(ledger, 1)
    assert a_run() == ["The CRM is down."]
    assert now(ledger, claim).state is State.SEALED
    crm.unavailable = None
    assert a_run() == []
    told = crm.read_outcome(claim.crm_record_id)
    assert told is not None
    assert (told.status, told.reference, crm.writes(claim.crm_record_id)) == ("FILED", "WC-000001", 1)
    assert len(portal.filed) == 1


class MovesOn(MemoryCrm):
    """A CRM during whose first write something happens."""

    happens: Callable[[], object] | None = None

    def write_outcome(self, record_id: str, outcome: object) -> None:
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()
        super().write_outcome(record_id, outcome)  # type: ignore[arg-type]


def test_a_worker_that_tells_the_crm_late_does_not_leave_it_with_old_news(ledger: Ledger) -> None:
    """It stood still before its write, while another looked the claim up, gave it to a person and told the CRM."""
    crm, evidence, portal = MovesOn(), MemoryStore(), FakePortal(lose_request=True)
    claim = ledger.add_claim(new_claim())
    crm.add(claim.crm_record_id, oem="aurora", dealer="10234", claim_type="warranty", due_on=claim.due_on,
            payload=warranty_payload())  # fmt: skip
    run(ledger, portal, evidence)

    def sync() -> list[object]:
        claims = ledger.claims(*vars(PARTITION).values())
        return list(sync_claims(claims, "r", "w", ledger=ledger, crm=crm, desk_url="http://desk"))

    def another() -> None:
        let_pass(ledger, 2)
        run(ledger, portal, evidence)
        sync()

    crm.happens = another
    assert sync() == []
    current, told = now(ledger, claim), crm.read_outcome(claim.crm_record_id)
    assert current.state is State.NEEDS_REVIEW
    assert same_standing(told, current, "http://desk", None)
    assert ledger.untold() == []


def test_a_claim_is_withdrawn_with_its_record_and_nobody_is_left_to_tell(ledger: Ledger) -> None:
    crm, withdrawn = MemoryCrm(), ledger.withdraw(ledger.add_claim(new_claim()), "Ana", "the record was deleted")

    def told() -> list[object]:
        return list(sync_claims([withdrawn], "r", "w", ledger=ledger, crm=crm, desk_url="http://desk"))

    crm.unavailable = "503"
    assert len(told()) == 1, "that the CRM is down does not mean that the record is gone"
    crm.unavailable = None
    assert told() == []
    assert ledger.untold() == []


class Counting(MemoryCrm):
    """Counts how often it is reached."""

    reached = 0

    def read_outcome(self, record_id: str) -> CrmOutcome | None:
        self.reached += 1
        return super().read_outcome(record_id)


def test_an_outage_of_the_crm_costs_one_question_and_one_broken_record_costs_only_its_own(ledger: Ledger) -> None:
    crm, evidence, portal = Counting(), MemoryStore(), FakePortal()
    for number in (1, 2, 3):
        claim = ledger.add_claim(new_claim(number))
        if number != 2:  # the second's record is gone
            crm.add(claim.crm_record_id, oem="aurora", dealer="10234", claim_type="warranty", due_on=claim.due_on,
                    payload=warranty_payload(number))  # fmt: skip
    run(ledger, portal, evidence)
    seal_claims(ledger.claims(*vars(PARTITION).values()), "r", "w", ledger=ledger, evidence=evidence, **SEALING)

    def untold() -> list[str]:
        claims = ledger.claims(*vars(PARTITION).values())
        return [u.problem for u in sync_claims(claims, "r", "w", ledger=ledger, crm=crm, desk_url="http://desk")]

    crm.unavailable = "The CRM is down."
    assert untold() == ["The CRM is down."] * 3
    assert crm.reached == 1
    crm.unavailable = None
    [problem] = untold()
    assert "no record" in problem
    states = {claim.crm_record_id: claim.state for claim in ledger.claims(*vars(PARTITION).values())}
    assert sorted(states.values()) == [State.SEALED, State.SYNCED, State.SYNCED]
