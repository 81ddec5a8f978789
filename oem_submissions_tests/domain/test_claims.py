"""Claim models: natural keys, validations, and errors that a dealer understands."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import (
    CoopClaim,
    DeliveryReport,
    IncentiveClaim,
    WarrantyClaim,
    parse_claim,
    vin_check_digit,
)
from oem_submissions.domain.failures import PayloadInvalid
from oem_submissions.domain.keys import claim_id
from oem_submissions_tests.making import vin, warranty_payload

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("number", "digit"),
    [("1M8GDM9AXKP042788", "X"), ("5GZCZ43D13S812715", "1"), ("11111111111111111", "1"), ("SGZCZ43D13S812715", None)],
)
def test_the_check_digit_is_the_one_of_the_standard(number: str, digit: str | None) -> None:
    assert (vin_check_digit(number) == number[8]) is (digit is not None)


def test_a_claims_natural_key_is_its_business_identity() -> None:
    claim = parse_claim(WarrantyClaim, warranty_payload(7))
    assert claim.natural_key("aurora") == "aurora:warranty:10234:RO000007:1:BASIC"
    other = parse_claim(WarrantyClaim, warranty_payload(7, repair_order="ro000007 ", odometer=1))
    assert other.natural_key("aurora") == claim.natural_key("aurora")


def test_a_colon_in_a_field_can_not_imitate_another_claims_key() -> None:
    coop = {
        "claim_type": "coop", "dealer_code": "B1", "fund": "2026", "activity": "print", "activity_date": "2026-10-01",
        "vendor": "A:B", "vendor_invoice": "C", "cost": "10.00", "claimed_percent": 50, "pre_approval": "PA-12345",
        "attachments": [
            {"file_id": "f", "name": "i.pdf", "media_type": "application/pdf", "size": 1, "sha256": "0" * 64}
        ],
    }  # fmt: skip
    one = parse_claim(CoopClaim, coop)
    assert one.natural_key("b") == "b:coop:B1:2026:A%3AB:C:PRINT"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vin": vin(1)[:8] + ("1" if vin(1)[8] == "0" else "0") + vin(1)[9:]}, "vin: the VIN's check digit"),
        ({"vin": "SHORT"}, "vin: a VIN has 17 characters"),
        ({"labour_amount": "-1"}, "labour_amount"),
        ({"labour_amount": "1.005"}, "labour_amount"),
        ({"closed_on": "2026-11-01"}, "closed before it was opened"),
        ({"parts": []}, "parts"),
        ({"extra": 1}, "extra"),
        ({"coverage": "everything"}, "coverage"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_that_names_the_field(change: dict[str, Any], words: str) -> None:
    with pytest.raises(PayloadInvalid) as refused:
        parse_claim(WarrantyClaim, warranty_payload(1) | change)
    assert words in refused.value.text
    assert "\n" not in refused.value.text


@given(st.dictionaries(st.sampled_from(sorted(warranty_payload())), JSON, min_size=1, max_size=3))
def test_no_payload_breaks_the_parser(change: dict[str, Any]) -> None:
    try:
        claim = parse_claim(WarrantyClaim, warranty_payload() | change)
    except PayloadInvalid:
        return
    assert claim.natural_key("aurora").startswith("aurora:warranty:")


def test_a_union_of_models_is_told_apart_by_the_claim_type() -> None:
    payload = {"claim_type": "delivery_report", "dealer_code": "C1", "vin": vin(3), "sale_date": "2026-11-01",
               "sale_type": "retail", "salesperson": "E1", "customer_name": "A"}  # fmt: skip
    assert isinstance(parse_claim(DeliveryReport | IncentiveClaim, payload), DeliveryReport)
    with pytest.raises(PayloadInvalid) as wrong:
        parse_claim(DeliveryReport | IncentiveClaim, payload | {"vin": "X"})
    assert wrong.value.text == "vin: a VIN has 17 characters, digits and capital letters without I, O and Q"
    with pytest.raises(PayloadInvalid, match="this OEM takes delivery_report, incentive"):
        parse_claim(DeliveryReport | IncentiveClaim, payload | {"claim_type": "warranty"})


@pytest.mark.parametrize(("cost", "percent", "claimed"), [("13357.29", 50, "6678.65"), ("0.05", 50, "0.03")])
def test_half_a_cent_is_rounded_up(cost: str, percent: int, claimed: str) -> None:
    assert str(CoopClaim.model_construct(cost=Decimal(cost), claimed_percent=percent).claimed_amount) == claimed


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_claim_id_is_safe_in_addresses_and_file_names(oem: str, record: str) -> None:
    made = claim_id(oem, record)
    assert made.replace("-", "").isalnum()
    assert made.isascii()
    assert made == claim_id(oem, record)


@pytest.mark.parametrize(("grain", "period"), [("day", "2026-11-25"), ("week", "2026-11-22"), ("month", "2026-11-01")])
def test_a_day_belongs_to_one_period(grain: Any, period: str) -> None:
    assert Cadence("0 6 * * *", "UTC", grain).period_of(date(2026, 11, 25)) == period
