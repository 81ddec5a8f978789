"""The mappings: pure, so no browser; and that adapters, packs and registry fit together."""

from __future__ import annotations

from datetime import date

import pytest

from adapters import registry
from adapters.aurora import mapping as aurora
from adapters.borealis import mapping as borealis
from adapters.cascade import mapping as cascade
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.portal.packs import load_pack
from oem_submissions_tests.portal.parts import SELECTORS, coop, delivery, incentive, warranty

CLAIMS = {"warranty": warranty("RO-1"), "coop": coop("I-1"), "delivery_report": delivery(1), "incentive": incentive(2)}


def test_aurora_writes_dates_money_and_capitals_its_own_way() -> None:
    parts = [{"number": "A1", "quantity": 2, "amount": "7"}, {"number": "B2", "quantity": 1, "amount": "0.05"}]
    values = aurora.form_values(warranty("RO-1", parts=parts, labour_hours="2", closed_on=date(2026, 11, 9)))
    assert values["closed_on"] == "11/09/2026"
    assert values["complaint"] == "NOISE"
    assert values["coverage"] == "Basic (bumper to bumper)"
    assert values["labour_hours"] == "2.0"
    assert (values["part_1_amount"], values["part_2_amount"]) == ("7.00", "0.05")
    assert values["claim_total"] == "107.15"
    assert "part_3_number" not in values


@pytest.mark.parametrize(
    ("reference", "right"), [("WC-2026-004217-U", True), ("WC-2026-004218-E", True), ("WC-2026-004217-E", False)]
)
def test_aurora_checks_the_letter_of_a_claim_number(reference: str, right: bool) -> None:
    assert aurora.reference_is_plausible(reference) is right


def test_borealis_writes_dates_and_the_claimed_amount_its_own_way() -> None:
    values = borealis.form_values(coop("I-1", cost="99.99", claimed_percent=33))
    assert values["activity_date"] == "2026/10/02"
    assert values["claimed_amount"] == "33.00"
    assert values["claimed_percent"] == "33"


def test_cascade_leaves_an_absent_lender_out() -> None:
    assert "lender" not in cascade.form_values(delivery(1))
    assert cascade.form_values(delivery(1, lender="First Bank"))["lender"] == "First Bank"
    assert cascade.form_values(incentive(1))["amount"] == "500.00"


@pytest.mark.parametrize("oem", registry.oems())
def test_the_mapping_fills_only_fields_that_the_pack_has(oem: str) -> None:
    adapter, pack = registry.adapter(oem), load_pack(SELECTORS, oem)
    for claim_type in adapter.claim_types():
        assert set(adapter.form_values(CLAIMS[claim_type])) <= set(pack.form(claim_type).fields)


def test_an_unknown_oem_is_one_sentence_that_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=f"'dorado', only for {', '.join(registry.oems())}:"):
        registry.adapter("dorado")


def test_the_digest_of_an_adapter_is_of_its_own_package() -> None:
    digests = {registry.adapter(oem).digest for oem in registry.oems()}
    assert len(digests) == len(registry.oems())
