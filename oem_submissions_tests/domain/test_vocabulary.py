"""The published vocabulary and the state machine's table: complete, and never contradicting each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from oem_submissions.domain.reasons import REASONS, FailureClass, ReasonCode, reasons_table
from oem_submissions.domain.states import FILED, MOVES, State, after_failed_attempt, may_move

ROOT = Path(__file__).parents[2]


def test_every_reason_code_has_a_row_and_a_number_of_its_own() -> None:
    assert set(REASONS) == set(ReasonCode)
    assert len({reason.number for reason in REASONS.values()}) == len(REASONS)
    assert (REASONS[ReasonCode.PORTAL_SILENT].number, REASONS[ReasonCode.PORTAL_UNRECOGNISED].number) == (0, 999)
    assert all(reason.meaning and reason.action.endswith(".") for reason in REASONS.values())


def test_the_documentation_is_the_table_in_the_code() -> None:
    assert (ROOT / "docs" / "reason-codes.md").read_text() == reasons_table()


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(State)


def test_nothing_leads_back_to_the_click_without_a_proof_of_absence() -> None:
    """From `ARMED`, the only way to another `ARMED` passes `PROVEN_ABSENT`."""
    reached, edge = set(), set(MOVES[State.ARMED])
    while edge:
        state = edge.pop()
        if state in reached or state is State.PROVEN_ABSENT:
            continue
        reached.add(state)
        edge |= MOVES[state]
    assert not reached & {State.READY, State.PREPARED, State.ARMED}


def test_what_was_filed_or_refused_is_never_filed_again() -> None:
    for state in (*FILED, State.REJECTED):
        assert not may_move(state, State.READY)


@pytest.mark.parametrize("reason", list(ReasonCode))
def test_only_trouble_that_may_pass_is_tried_again_and_only_within_the_budget(reason: ReasonCode) -> None:
    again = after_failed_attempt(reason, attempts=1, budget=3)
    assert again is (
        State.READY
        if REASONS[reason].retries and REASONS[reason].failure_class is FailureClass.APPLICATION
        else State.DEAD
    )
    assert after_failed_attempt(reason, attempts=3, budget=3) is State.DEAD
