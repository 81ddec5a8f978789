"""What the evidence before the click must show."""

from __future__ import annotations

import pytest

from oem_submissions.domain.evidence import DEALER_READBACK, FieldReadback, worth_before
from oem_submissions.domain.reasons import ReasonCode

KEY = ("dealer_code", "repair_order", "line")
READBACK = (
    FieldReadback(DEALER_READBACK, "dealer code on the page", "10234", "10234", "public"),
    FieldReadback("repair_order", "Repair order", "RO-7", "RO-7", "public"),
    FieldReadback("line", "Line", "42", "42", "public"),
)


@pytest.mark.parametrize("text", ["Repair order: RO-7\nLine: 42", "Review\nline 42", "ro-7"])
def test_a_page_that_shows_a_number_of_the_claim_is_worth_something(text: str) -> None:
    assert worth_before(READBACK, text, KEY, "10234") is None


def test_a_page_that_shows_none_of_them_is_worth_nothing() -> None:
    lacks = worth_before(READBACK, "Dealer 10234. Please certify.", KEY, "10234")
    assert lacks is not None
    assert lacks[0] is ReasonCode.PRE_EVIDENCE_MISSING
    assert "'Repair order', 'Line'" in lacks[1]


def test_another_dealers_page_is_refused_whatever_it_shows() -> None:
    lacks = worth_before(READBACK, "RO-7 42", KEY, "99999")
    assert lacks is not None
    assert lacks[0] is ReasonCode.DEALER_MISMATCH
