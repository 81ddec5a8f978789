"""A portal in trouble is left alone, and so is an account that was refused: on a real ledger, judged by what it got."""

from __future__ import annotations

import pytest

from oem_submissions.domain.breaker import Note, Position
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import AlertKind, Claim, DueWork
from oem_submissions.domain.states import State
from oem_submissions.ledger.store import Ledger
from oem_submissions.services.breaking import free_account
from oem_submissions.services.dead_letters import dead_letters, redrive
from oem_submissions.services.queue import work_to_enqueue
from oem_submissions.services.release import declare_live
from oem_submissions.services.submit import Partition, TryAgain
from oem_submissions_tests.making import PINS, new_claim
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import let_pass, run

DOWN = StepFailed(ReasonCode.PORTAL_UNAVAILABLE, "The portal answered HTTP 503.", "log in")
DRIFT = StepFailed(ReasonCode.SELECTOR_NOT_FOUND, "The button is not on the page.", "open form")
REFUSED = StepFailed(ReasonCode.LOGIN_FAILED, "The portal refused the log-in.", "log in")


def claims(ledger: Ledger, count: int, **changes: str) -> None:
    for number in range(1, count + 1):
        ledger.add_claim(new_claim(number, **changes))


def opened(ledger: Ledger, portal: FakePortal) -> None:
    """Three claims, and a portal whose pages are others."""
    claims(ledger, 3)
    portal.failures = [DRIFT]
    run(ledger, portal)
    assert ledger.breaker("aurora").position is Position.OPEN


def due(ledger: Ledger) -> list[DueWork]:
    """What is enqueued once the CRM knows how things stand."""
    for claim in ledger.untold():
        ledger.synced(claim, None, "sync")
    return queue(ledger, "aurora")


def queue(ledger: Ledger, oem: str) -> list[DueWork]:
    """What is enqueued while the release gate is open."""
    declare_live(ledger, oem, PINS, "test", "what is tested here is not the gate")
    return work_to_enqueue(ledger, oem, ledger.releases(oem), ())


def states(found: list[Claim]) -> list[State]:
    return [claim.state for claim in found]


def test_the_first_drift_opens_it_and_the_other_claims_wait_untried(ledger: Ledger) -> None:
    portal = FakePortal()
    opened(ledger, portal)
    assert portal.log_ins == 1
    assert states(run(ledger, portal)) == [State.DEAD, State.READY, State.READY]  # no retry is asked for
    assert portal.log_ins == 1
    assert due(ledger) == []
    (alert,) = ledger.alerts()
    assert (alert.kind, alert.oem, alert.dealer) == (AlertKind.BREAKER_OPEN, "aurora", None)
    assert "SELECTOR_NOT_FOUND" in alert.text
    assert "The button is not on the page" in alert.text


def test_faults_alike_in_a_row_open_it_over_all_dealers(ledger: Ledger) -> None:
    portal = FakePortal(failures=[DOWN] * 9)
    for dealer in ("10234", "10235", "10236"):
        ledger.add_claim(new_claim(int(dealer), dealer=dealer))
        assert ledger.breaker("aurora").position is Position.CLOSED
        try:
            run(ledger, portal, partition=Partition("aurora", dealer, "2026-11-10"), breaker_failures=3)
        except TryAgain:
            assert dealer != "10236"
    assert ledger.breaker("aurora").position is Position.OPEN
    assert ledger.breaker("aurora").reason is ReasonCode.PORTAL_UNAVAILABLE
    assert portal.log_ins == 3
    assert states(ledger.all_claims()) == [State.READY] * 3  # nobody's budget was spent on it


@pytest.mark.parametrize(
    "between", [None, StepFailed(ReasonCode.UPLOAD_FAILED, "Half a file.", "attach")], ids=["success", "another fault"]
)
def test_faults_that_are_not_alike_or_not_in_a_row_do_not(ledger: Ledger, between: StepFailed | None) -> None:
    portal = FakePortal()
    claims(ledger, 5)
    for failure in (DOWN, DOWN, between, DOWN, DOWN):
        portal.failures = [failure] if failure else []
        try:
            run(ledger, portal, breaker_failures=3, attempts_budget=9)
        except TryAgain:
            pass
    assert ledger.breaker("aurora").position is Position.CLOSED
    assert ledger.alerts() == []


def test_outcomes_that_nobody_can_tell_open_it_and_nothing_more_is_clicked(ledger: Ledger) -> None:
    claims(ledger, 6)
    portal = FakePortal(lose_reply=True)
    found = run(ledger, portal, breaker_failures=3)
    assert states(found) == [State.OUTCOME_UNKNOWN] * 3 + [State.READY] * 3
    assert len(portal.filed) == 3


def test_our_own_trouble_and_refused_claims_do_not_count(ledger: Ledger) -> None:
    claims(ledger, 4)
    portal = FakePortal(refuse=lambda _: "odometer too high")
    assert states(run(ledger, portal, breaker_failures=1)) == [State.REJECTED] * 4


def test_a_probe_that_submits_nothing_half_opens_it_and_one_filed_claim_closes_it(ledger: Ledger) -> None:
    portal = FakePortal()
    opened(ledger, portal)
    let_pass(ledger, 1)
    (work,) = due(ledger)
    assert (work.dealer, work.claims) == ("10234", 2)
    assert states(run(ledger, portal)) == [State.DEAD, State.CONFIRMED, State.CONFIRMED]
    assert (len(portal.filed), portal.log_ins) == (2, 4)  # one form more than claims: the probe
    assert ledger.breaker("aurora").position is Position.CLOSED
    assert ledger.alerts() == []
    (ended,) = ledger.alerts(only_open=False)
    assert ended.resolved_at is not None
    assert [request.requested_by for request in ledger.enqueue_requests(0)] == ["breaker"]  # what waited goes on


def test_a_probe_that_fails_costs_no_claim_anything_and_the_next_comes_later(ledger: Ledger) -> None:
    portal = FakePortal()
    opened(ledger, portal)
    pauses = []
    for _ in range(3):
        let_pass(ledger, 1)
        portal.failures = [DRIFT]
        assert states(run(ledger, portal)) == [State.DEAD, State.READY, State.READY]
        pauses.append(ledger.breaker("aurora").pause)
    assert pauses == [120, 240, 480]
    waiting = ledger.all_claims("aurora", State.READY)
    assert [len(ledger.attempts(claim.claim_id)) for claim in waiting] == [0, 0]
    assert due(ledger) == []


def test_half_open_the_first_fault_of_any_kind_opens_it_again(ledger: Ledger) -> None:
    portal = FakePortal()
    opened(ledger, portal)
    let_pass(ledger, 1)
    portal.lose_reply = True
    assert states(run(ledger, portal, breaker_failures=3)) == [State.DEAD, State.OUTCOME_UNKNOWN, State.READY]
    assert ledger.breaker("aurora").position is Position.OPEN
    assert (len(portal.filed), len(ledger.alerts())) == (1, 1)


def test_whoever_half_opened_it_and_died_does_not_keep_it_so(ledger: Ledger) -> None:
    portal = FakePortal()
    opened(ledger, portal)
    assert ledger.move_breaker(ledger.breaker("aurora"), Note.HALF_OPENED, "a worker that died")
    assert states(run(ledger, portal)) == [State.DEAD, State.READY, State.READY]
    let_pass(ledger, 1)
    assert states(run(ledger, portal)) == [State.DEAD, State.CONFIRMED, State.CONFIRMED]


def test_an_open_breaker_holds_up_no_other_oem_and_no_looks(ledger: Ledger) -> None:
    portal = FakePortal()
    ledger.add_claim(new_claim(9))
    portal.lose_reply = True
    run(ledger, portal)
    portal.lose_reply = False
    opened(ledger, portal)
    ledger.add_claim(new_claim(20, oem="borealis"))
    assert [work.oem for work in queue(ledger, "borealis")] == ["borealis"]
    assert ledger.claim_of_record("aurora", "REC0009").state is State.CONFIRMED  # type: ignore[union-attr]


def test_after_a_refused_log_in_nobody_logs_in_before_a_person_says_so(ledger: Ledger) -> None:
    portal = FakePortal(failures=[REFUSED])
    claims(ledger, 2)
    run(ledger, portal)
    (alert,) = ledger.alerts()
    assert (alert.kind, alert.dealer) == (AlertKind.ACCOUNT_REFUSED, "10234")
    ledger.add_claim(new_claim(3))
    later = run(ledger, portal)
    assert [(claim.state, claim.reason) for claim in later] == [(State.DEAD, ReasonCode.LOGIN_FAILED)] * 3
    assert "Not tried" in (later[2].reason_text or "")
    assert portal.log_ins == 1
    assert ledger.breaker("aurora").position is Position.CLOSED  # other dealers' accounts work

    redriven = redrive(dead_letters(ledger, "aurora", ReasonCode.LOGIN_FAILED), "Ana", ledger)
    assert states(redriven) == [State.READY] * 3
    portal.failures = [REFUSED]
    assert states(run(ledger, portal)) == [State.DEAD] * 3
    assert portal.log_ins == 2  # one more, for all of them
    redrive(dead_letters(ledger), "Ana", ledger)
    assert states(run(ledger, portal)) == [State.CONFIRMED] * 3
    assert ledger.breaker("aurora", "10234").position is Position.CLOSED
    assert ledger.alerts() == []


def test_only_a_person_frees_an_account(ledger: Ledger) -> None:
    portal = FakePortal(failures=[REFUSED])
    claims(ledger, 1)
    run(ledger, portal)
    let_pass(ledger, 1000)
    assert not ledger.breaker("aurora", "10234").probe_is_due
    free_account("aurora", "10234", "Ana", ledger)
    assert ledger.breaker("aurora", "10234").position is Position.HALF_OPEN


def test_redriving_filters_and_what_died_past_the_click_is_looked_up(ledger: Ledger) -> None:
    portal = FakePortal(lose_reply=True)
    claims(ledger, 1)
    run(ledger, portal)
    with ledger._engine.begin() as connection:  # no move leads there; should one ever, nothing may be filed again
        connection.exec_driver_sql("UPDATE claims SET state = 'DEAD', reason = 'PORTAL_UNAVAILABLE'")
    assert dead_letters(ledger, pack="v0002") == []
    assert dead_letters(ledger, reason=ReasonCode.LOGIN_FAILED) == []
    (letter,) = dead_letters(ledger, "aurora", ReasonCode.PORTAL_UNAVAILABLE, "v0001")
    assert letter.past_the_click
    assert states(redrive([letter], "Ana", ledger)) == [State.RECONCILING]
    portal.lose_reply = False
    for _ in range(2):
        let_pass(ledger, 2)
        run(ledger, portal)
    assert (states(ledger.all_claims()), len(portal.filed)) == ([State.CONFIRMED], 1)
