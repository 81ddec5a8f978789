"""What the OEM may decide, after what; and when it is asked again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from oem_submissions.domain.dispositions import AWAITS_DECISION, MOVES, POLLED, Disposition, is_expected
from oem_submissions.domain.looking import ACCOUNT_PAUSE
from oem_submissions.domain.polling import FRESH, HistoryRead, is_fresh, is_locked_out, seconds_until_next_read
from oem_submissions.domain.reasons import ReasonCode

D = Disposition
GOOD = HistoryRead(1, datetime(2026, 11, 10, tzinfo=UTC), None, "", 0, 1.0, 3600.0)


def test_every_disposition_has_its_moves_and_none_is_a_trap() -> None:
    assert set(MOVES) == set(Disposition)
    assert all(MOVES.values())
    assert D.DENIED not in POLLED
    assert AWAITS_DECISION < POLLED


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (D.UNDECIDED, D.PAID, True),
        (D.PAID, D.CHARGED_BACK, True),
        (D.UNDECIDED, D.CHARGED_BACK, False),
        (D.PAID, D.DENIED, False),
        (D.CHARGED_BACK, D.APPROVED, False),
        (D.DENIED, D.DENIED, True),
        (D.PAID, D.UNRECOGNISED, True),
        (D.UNRECOGNISED, D.CHARGED_BACK, True),
    ],
)
def test_a_move_is_expected_or_not(source: Disposition, target: Disposition, expected: bool) -> None:
    assert is_expected(source, target) is expected


def test_after_trouble_the_history_is_read_again_later_and_later_and_after_a_refused_log_in_much_later() -> None:
    down = ReasonCode.PORTAL_UNAVAILABLE
    assert seconds_until_next_read(None, 0, 21_600.0) == 21_600.0
    assert [seconds_until_next_read(down, failures, 1.0) for failures in (1, 2, 3, 99)] == [600, 1200, 2400, 21_600]
    assert seconds_until_next_read(ReasonCode.LOGIN_FAILED, 1, 1.0) == ACCOUNT_PAUSE


def test_a_fresh_read_serves_again_and_a_refused_log_in_is_not_tried_again_soon() -> None:
    assert is_fresh(GOOD)
    assert not is_fresh(replace(GOOD, age_seconds=FRESH))
    assert not is_fresh(replace(GOOD, reason=ReasonCode.PORTAL_UNAVAILABLE))
    assert not is_fresh(None)
    refused = replace(GOOD, reason=ReasonCode.LOGIN_FAILED)
    assert is_locked_out(refused)
    assert not is_locked_out(replace(refused, again_seconds=-1.0))
    assert not is_locked_out(replace(GOOD, reason=ReasonCode.PORTAL_UNAVAILABLE))
    assert not is_locked_out(None)
