"""The ledger's promises: compare-and-set moves, arming, uniqueness, recovery. On a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, text
from sqlalchemy.exc import DBAPIError

from oem_submissions.domain.evidence import POST_CONFIRM, PRE_SUBMIT
from oem_submissions.domain.failures import LeaseLost, StateConflict
from oem_submissions.domain.lease_log import overlaps
from oem_submissions.domain.outcomes import Reference, Wire
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Attempt, Claim, Lease
from oem_submissions.domain.states import State
from oem_submissions.ledger.chain import broken_links
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.migrate import migrate
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.ledger.tables import APPEND_ONLY, metadata
from oem_submissions.ports import LedgerUnavailable, ReferenceTaken
from oem_submissions_tests.making import PINS, kept, new_claim

REFERENCE = Reference("WC-2026-000001-K", "claim number", "Claim number WC-2026-000001-K", (13, 29))
SENT = Wire(sent_at=datetime.now(UTC), method="POST", path="/aurora/claims")


def lease_on(ledger: Ledger, seconds: float = 60, run: str = "run-1") -> Lease:
    lease = ledger.acquire_lease("aurora", "10234", run, "worker-1", seconds)
    assert lease is not None
    return lease


def prepared(ledger: Ledger, lease: Lease, number: int = 1) -> tuple[Claim, Attempt]:
    claim, attempt = ledger.start_attempt(ledger.add_claim(new_claim(number)), lease, PINS)
    ledger.keep_artifact(kept(claim, attempt, PRE_SUBMIT), lease)
    return ledger.prepared(claim, attempt, lease, {"browser": "test"}), attempt


def armed(ledger: Ledger, lease: Lease, number: int = 1) -> tuple[Claim, Attempt]:
    claim, attempt = prepared(ledger, lease, number)
    return ledger.arm(claim, attempt, lease, 10), attempt


def confirmed(ledger: Ledger, lease: Lease, number: int = 1, reference: Reference = REFERENCE) -> Claim:
    claim, attempt = armed(ledger, lease, number)
    ledger.record_sent(attempt, lease, SENT)
    ledger.keep_artifact(kept(claim, attempt, POST_CONFIRM), lease)
    return ledger.confirm(claim, attempt, lease, reference)


def unknown(ledger: Ledger, lease: Lease, number: int = 1) -> tuple[Claim, Attempt]:
    """A claim that is held, its attempt ended."""
    claim, attempt = armed(ledger, lease, number)
    reason = ReasonCode.OUTCOME_UNKNOWN
    return ledger.settle(claim, attempt, lease, State.OUTCOME_UNKNOWN, reason, "no answer", "submit"), attempt


def test_the_migrated_schema_is_the_declared_one(database_url: str) -> None:
    engine = ledger_engine(database_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    migrate(engine)  # once more changes nothing
    engine.dispose()


@pytest.mark.parametrize("table", [table.name for table in APPEND_ONLY])
def test_the_past_can_not_be_changed(ledger: Ledger, database_url: str, table: str) -> None:
    confirmed(ledger, lease_on(ledger))
    engine = ledger_engine(database_url)
    for statement in (delete(metadata.tables[table]), text(f"TRUNCATE {table} CASCADE")):
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(statement)
    engine.dispose()


def test_a_claim_goes_from_the_record_to_the_crm_and_its_chain_tells_it(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    claim = confirmed(ledger, lease)
    claim = ledger.sealed(claim, "run-1", "d" * 64, "worker-1")
    claim = ledger.synced(claim, "run-1", "worker-1")
    assert (claim.state, claim.reference, claim.crm_version) == (State.SYNCED, REFERENCE.value, claim.version)
    chain = ledger.events(claim.claim_id)
    assert broken_links(chain) == []
    assert [e.kind for e in chain] == [
        "taken_in", "attempt_started", "evidence_kept", "moved", "moved", "sent", "evidence_kept", "moved",
        "sealed", "crm_told",
    ]  # fmt: skip
    states = [event.to_state for event in chain if event.to_state]
    assert states == [State.READY, State.PREPARED, State.ARMED, State.CONFIRMED, State.SEALED, State.SYNCED]
    assert {e.fencing_token for e in chain if e.kind == "moved"} == {lease.fencing_token}


def test_a_changed_past_shows_in_the_chain(ledger: Ledger, database_url: str) -> None:
    claim = confirmed(ledger, lease_on(ledger))
    engine = ledger_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE events DISABLE TRIGGER append_only"))
        connection.execute(text('UPDATE events SET details = \'{"reference": "WC-0"}\' WHERE sequence = 8'))
        connection.execute(text("DELETE FROM events WHERE sequence = 3"))
    engine.dispose()
    faults = broken_links(ledger.events(claim.claim_id))
    assert any("Event 8" in fault and "changed" in fault for fault in faults)
    assert any("Event 3" in fault and "missing" in fault for fault in faults)


def test_a_stale_copy_of_a_claim_moves_nothing(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    claim, attempt = prepared(ledger, lease)
    ledger.arm(claim, attempt, lease, 10)
    with pytest.raises(StateConflict, match="it is now ARMED"):
        ledger.arm(claim, attempt, lease, 10)


def test_a_move_that_the_table_forbids_is_refused(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    claim, attempt = armed(ledger, lease)
    with pytest.raises(StateConflict, match="may not move from ARMED to READY"):
        ledger.settle(claim, attempt, lease, State.READY, ReasonCode.PORTAL_UNAVAILABLE, "down", "submit")
    assert ledger.claim(claim.claim_id).state is State.ARMED


def test_nothing_is_armed_under_a_lease_that_is_too_short(ledger: Ledger) -> None:
    lease = lease_on(ledger, seconds=5)
    claim, attempt = prepared(ledger, lease)
    with pytest.raises(LeaseLost):
        ledger.arm(claim, attempt, lease, 10)
    assert ledger.claim(claim.claim_id).state is State.PREPARED


def test_nothing_is_armed_without_durable_evidence_before_the_click(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    claim, attempt = ledger.start_attempt(ledger.add_claim(new_claim()), lease, PINS)
    claim = ledger.prepared(claim, attempt, lease, {})
    with pytest.raises(LeaseLost, match="not durable"):
        ledger.arm(claim, attempt, lease, 10)


def test_a_worker_whose_lease_was_taken_over_writes_nothing(ledger: Ledger) -> None:
    old = lease_on(ledger, seconds=0)
    new = lease_on(ledger, run="run-2")
    assert new.fencing_token > old.fencing_token
    claim = ledger.add_claim(new_claim())
    with pytest.raises(LeaseLost):
        ledger.start_attempt(claim, old, PINS)
    with pytest.raises(LeaseLost):
        ledger.renew_lease(old, 60)
    ledger.release_lease(old)  # a late farewell gives nothing away
    assert ledger.acquire_lease("aurora", "10234", "run-3", "worker-3", 60) is None


def test_the_one_request_leaves_once_and_only_while_armed(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    claim, attempt = prepared(ledger, lease)
    with pytest.raises(LeaseLost):
        ledger.record_sent(attempt, lease, SENT)
    ledger.arm(claim, attempt, lease, 10)
    ledger.record_sent(attempt, lease, SENT)
    with pytest.raises(LeaseLost):
        ledger.record_sent(attempt, lease, SENT)


def test_a_claim_without_both_shots_is_not_confirmed(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    claim, attempt = armed(ledger, lease)
    with pytest.raises(LeaseLost, match="not durable"):
        ledger.confirm(claim, attempt, lease, REFERENCE)


def test_a_reference_belongs_to_one_claim(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    confirmed(ledger, lease, 1)
    with pytest.raises(ReferenceTaken, match="WC-2026-000001-K"):
        confirmed(ledger, lease, 2)


def test_the_same_record_twice_is_one_claim(ledger: Ledger) -> None:
    assert ledger.add_claim(new_claim()) == ledger.add_claim(new_claim())


def test_two_records_of_one_business_claim_are_a_conflict_and_only_one_can_be_filed(ledger: Ledger) -> None:
    ledger.add_claim(new_claim(1))
    second = ledger.add_claim(new_claim(1, crm_record_id="REC9999"))
    assert (second.state, second.reason, second.natural_key) == (State.DEAD, ReasonCode.CRM_CONFLICT, None)
    assert ledger.redrive(second, "Ana").state is State.DEAD


def test_a_corrected_record_brings_a_dead_claim_back(ledger: Ledger) -> None:
    dead = ledger.add_claim(new_claim(reason=ReasonCode.PAYLOAD_INVALID, reason_text="vin: wrong", natural_key=None))
    alive = ledger.amend_claim(dead, new_claim())
    assert (alive.state, alive.reason, alive.claim_id) == (State.READY, None, dead.claim_id)


def test_a_claim_past_the_click_can_not_be_amended(ledger: Ledger) -> None:
    claim, _ = armed(ledger, lease_on(ledger))
    with pytest.raises(StateConflict):
        ledger.amend_claim(claim, new_claim())


def test_a_worker_lost_before_the_click_leaves_a_claim_that_is_tried_again(ledger: Ledger) -> None:
    prepared(ledger, lease_on(ledger, seconds=30, run="lost"))
    ledger_lease = take_over(ledger)
    (claim,) = ledger.recover(ledger_lease)
    assert (claim.state, claim.reason) == (State.READY, ReasonCode.WORKER_LOST_PRE_INTENT)
    assert ledger.attempts(claim.claim_id)[0].ended_at is not None


def test_a_claim_that_was_corrected_to_nothing_under_a_lost_worker_stays_a_dead_letter(ledger: Ledger) -> None:
    lease = lease_on(ledger, seconds=30, run="lost")
    claim, _attempt = ledger.start_attempt(ledger.add_claim(new_claim()), lease, PINS)
    invalid = new_claim(reason=ReasonCode.PAYLOAD_INVALID, reason_text="vin: wrong", natural_key=None)
    dead = ledger.amend_claim(claim, invalid)
    assert ledger.recover(take_over(ledger)) == []
    assert ledger.claim(claim.claim_id) == dead
    (attempt,) = ledger.attempts(claim.claim_id)
    assert attempt.ended_at is not None


def test_the_answer_that_a_worker_brings_after_it_was_taken_over_is_not_noted(ledger: Ledger) -> None:
    lease = lease_on(ledger, seconds=30, run="lost")
    claim, attempt = armed(ledger, lease)
    take_over(ledger)
    with pytest.raises(LeaseLost):
        ledger.record_wire(attempt, lease, Wire(), "http://portal/done")
    assert "no_response" not in [event.kind for event in ledger.events(claim.claim_id)]


def test_one_claim_is_not_confirmed_with_the_evidence_of_another(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    claim, attempt = armed(ledger, lease)
    other, others = armed(ledger, lease, number=2)
    ledger.keep_artifact(kept(other, others, POST_CONFIRM), lease)
    with pytest.raises(LeaseLost, match="evidence is not durable"):
        ledger.confirm(claim, others, lease, Reference("WC-1", "claim number", "WC-1", (0, 4)))


def test_a_worker_lost_after_the_click_was_armed_leaves_a_held_claim(ledger: Ledger) -> None:
    armed(ledger, lease_on(ledger, seconds=30, run="lost"))
    (claim,) = ledger.recover(take_over(ledger))
    assert (claim.state, claim.reason) == (State.OUTCOME_UNKNOWN, ReasonCode.WORKER_LOST_POST_INTENT)
    assert ledger.recover(lease_on_next(ledger)) == []


def test_a_claim_that_kills_every_worker_is_a_dead_letter_in_the_end(ledger: Ledger) -> None:
    claim = ledger.add_claim(new_claim())
    for _ in range(3):
        claim, _attempt = ledger.start_attempt(ledger.claim(claim.claim_id), take_over(ledger), PINS)
        (claim,) = ledger.recover(take_over(ledger))
    assert (claim.state, claim.reason) == (State.DEAD, ReasonCode.WORKER_LOST_PRE_INTENT)


def test_due_work_is_what_somebody_still_has_to_do(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    for number in (1, 2):
        ledger.add_claim(new_claim(number))
    (work,) = ledger.due_work("aurora")
    assert (work.dealer, work.period, work.claims) == ("10234", "2026-11-10", 2)
    claim = confirmed(ledger, lease, 1)
    assert ledger.due_work("aurora")[0].claims == 2
    claim = ledger.synced(ledger.sealed(claim, "run-1", "d" * 64, "w"), "run-1", "w")
    assert ledger.due_work("aurora")[0].claims == 1
    assert ledger.due_work("borealis") == []
    assert ledger.due_work("aurora", dealers=["99999"]) == []


def test_a_held_claim_is_due_work_only_when_its_look_is_due(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    claim, attempt = unknown(ledger, lease)
    ledger.synced(claim, "run-1", "w")
    (held,) = ledger.due_looks("aurora", "10234", "2026-11-10")
    assert held.attempt.attempt_id == attempt.attempt_id
    assert 0 <= held.seconds < 60
    begun = ledger.begin_look(held.claim, lease)
    assert (begun.state, begun.looks) == (State.RECONCILING, 1)
    ended = ledger.end_look(begun, lease, State.OUTCOME_UNKNOWN, ReasonCode.OUTCOME_UNKNOWN, "not yet", (), 60)
    ledger.synced(ended, "run-1", "w")
    assert ledger.due_work("aurora") == []
    assert ledger.due_looks("aurora", "10234", "2026-11-10") == []


def test_a_held_claim_is_not_confirmed_without_both_shots(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    claim, attempt = unknown(ledger, lease)
    begun = ledger.begin_look(claim, lease)
    with pytest.raises(LeaseLost, match="not durable"):
        ledger.confirm_late(begun, attempt, lease, REFERENCE, [], {}, {})
    found = ledger.confirm_late(begun, attempt, lease, REFERENCE, [kept(begun, attempt, POST_CONFIRM)], {"x": 1}, {})
    assert found.state is State.CONFIRMED
    assert ledger.captured_reference(claim.claim_id) == REFERENCE
    assert {"browser": "test", "x": 1}.items() <= ledger.facts(claim.claim_id).items()


def test_a_claim_returns_to_the_queue_once_in_its_life(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    claim, _ = unknown(ledger, lease)
    ready = ledger.absent(ledger.begin_look(claim, lease), lease, "not there", [])
    assert (ready.state, ready.absences, ready.attempts, ready.reason) == (State.READY, 1, 0, None)
    claim, _ = unknown(ledger, lease)
    review = ledger.absent(ledger.begin_look(claim, lease), lease, "not there", [])
    assert (review.state, review.absences) == (State.NEEDS_REVIEW, 1)
    assert broken_links(ledger.events(claim.claim_id)) == []


def test_a_look_under_a_lost_lease_changes_nothing(ledger: Ledger) -> None:
    old = lease_on(ledger)
    claim, _ = unknown(ledger, old)
    begun = ledger.begin_look(claim, old)
    new = take_over(ledger)
    with pytest.raises(LeaseLost):
        ledger.end_look(begun, old, State.NEEDS_REVIEW, ReasonCode.OUTCOME_UNKNOWN, "two hits")
    (back,) = ledger.recover(new)
    assert (back.state, back.reason) == (State.OUTCOME_UNKNOWN, ReasonCode.OUTCOME_UNKNOWN)
    with pytest.raises(StateConflict):
        ledger.end_look(begun, new, State.NEEDS_REVIEW, ReasonCode.OUTCOME_UNKNOWN, "two hits")


def test_the_positive_control_is_the_newest_filing_of_the_account_that_had_time_to_show(ledger: Ledger) -> None:
    lease = lease_on(ledger)
    claim = ledger.add_claim(new_claim(9))
    assert ledger.known_filing(claim, 0) is None
    confirmed(ledger, lease, 1)
    newest = confirmed(ledger, lease, 2, Reference("WC-2", "claim number", "WC-2", (0, 4)))
    ledger.add_claim(new_claim(3, dealer="99999"))
    assert ledger.known_filing(claim, 0) == newest
    assert ledger.known_filing(claim, 3600) is None
    assert ledger.known_filing(newest, 0) != newest


@pytest.mark.parametrize("term", ["wc-2026-000001-k", "REC0001", " ro000001 "])
def test_a_claim_is_found_by_whatever_a_person_has_of_it(ledger: Ledger, term: str) -> None:
    claim = confirmed(ledger, lease_on(ledger))
    assert [found.claim_id for found in ledger.find(term)] == [claim.claim_id]
    assert ledger.find("WC-2026") == []


def test_a_database_that_does_not_answer_is_said_in_one_sentence() -> None:
    engine = ledger_engine("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(LedgerUnavailable, match="OEM_SUBMISSIONS_DATABASE_URL"):
        Ledger(engine).claim("x")
    engine.dispose()


def take_over(ledger: Ledger) -> Lease:
    """Somebody else holds the account now, as if the lease before had run out."""
    from sqlalchemy import update

    from oem_submissions.ledger.tables import leases

    with ledger._engine.begin() as connection:
        connection.execute(
            update(leases).values(expires_at=text("clock_timestamp()")).where(leases.c.released_at.is_(None))
        )
    return lease_on(ledger, run="next")


lease_on_next = take_over


def test_after_the_database_was_restarted_the_next_question_is_answered(ledger: Ledger, database_url: str) -> None:
    ledger.add_claim(new_claim())  # its connection goes back to the pool
    with psycopg.connect(database_url, autocommit=True) as admin:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert ended
    assert len(ledger.all_claims()) == 1


def test_the_lease_log_is_read_as_it_was_written(ledger: Ledger) -> None:
    first = ledger.acquire_lease("aurora", "10234", "run-1", "host:1", 60)
    assert first is not None
    ledger.renew_lease(first, 60)
    ledger.release_lease(first)
    second = ledger.acquire_lease("aurora", "10234", "run-2", "host:2", 60)
    assert second is not None
    log = ledger.lease_log()
    assert [(e.kind, e.fencing_token, e.worker) for e in log] == [
        ("acquired", first.fencing_token, "host:1"),
        ("renewed", first.fencing_token, "host:1"),
        ("released", first.fencing_token, "host:1"),
        ("acquired", second.fencing_token, "host:2"),
    ]
    assert log[0].at < ledger.now() < log[0].expires_at
    assert overlaps(log) == []


def test_who_stands_still_in_a_transaction_loses_its_locks_before_others_give_up(ledger: Ledger) -> None:
    with ledger._engine.connect() as connection:
        names = ("idle_in_transaction_session_timeout", "statement_timeout")
        idle, patience = (
            connection.execute(text("SELECT setting::int FROM pg_settings WHERE name = :n"), {"n": name}).scalar_one()
            for name in names
        )
    assert 23_000 < idle < patience


def test_a_database_that_was_never_migrated_is_said_in_a_sentence(postgres: EmbeddedPostgres) -> None:
    engine = ledger_engine(postgres.url("never_migrated"))
    with pytest.raises(LedgerUnavailable, match="run `oem-submissions migrate`"):
        Ledger(engine).kept_sessions()
    engine.dispose()
