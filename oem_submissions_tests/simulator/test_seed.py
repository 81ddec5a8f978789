"""Seeded claims are what our claim models take, but for the one that is wrong on purpose."""

from __future__ import annotations

import base64
import io
from datetime import date, timedelta
from typing import Any

import pyotp
import pytest
from PIL import Image

from adapters.registry import adapter
from oem_submissions.domain.claims import (
    ClaimModel,
    CoopClaim,
    DeliveryReport,
    IncentiveClaim,
    WarrantyClaim,
    parse_claim,
)
from oem_submissions.domain.failures import PayloadInvalid
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.simulator.seed import PILOTS, accounts, seed_claims

TODAY = date(2026, 11, 23)
MODELS: dict[tuple[str, str], type[ClaimModel]] = {
    ("aurora", "warranty"): WarrantyClaim,
    ("borealis", "coop"): CoopClaim,
    ("cascade", "delivery_report"): DeliveryReport,
    ("cascade", "incentive"): IncentiveClaim,
}
MEDIA_TYPES = {"pdf": "application/pdf", "jpg": "image/jpeg", "png": "image/png"}
SEEDS = range(6)


def parsed(record: dict[str, Any]) -> ClaimModel:
    """The record as intake would take it. Raises `PayloadInvalid`."""
    attachments = []
    for number, file in enumerate(record["files"]):
        data = base64.b64decode(file["content"])
        media_type = MEDIA_TYPES[file["name"].rpartition(".")[2]]
        about = {"file_id": f"f{number}", "name": file["name"], "kind": file["kind"], "media_type": media_type}
        attachments.append(about | {"size": len(data), "sha256": sha256_hex(data)})
    model = MODELS[record["oem"], record["claim_type"]]
    assert set(record["payload"]) == set(model.model_fields) - {"attachments"}
    return parse_claim(model, record["payload"] | {"attachments": attachments})


def invalid(record: dict[str, Any]) -> bool:
    try:
        parsed(record)
    except PayloadInvalid:
        return True
    return False


@pytest.mark.parametrize("seed", SEEDS)
def test_every_claim_is_valid_but_one_with_a_mistyped_vin(seed: int) -> None:
    wrong = [record for record in seed_claims(seed, TODAY) if invalid(record)]
    assert [record["oem"] for record in wrong] == ["cascade"]
    with pytest.raises(PayloadInvalid, match="vin: the VIN's check digit"):
        parsed(wrong[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_each_portal_would_refuse_just_the_claims_that_are_wrong_on_purpose(seed: int) -> None:
    claims = [parsed(record) for record in seed_claims(seed, TODAY) if not invalid(record)]
    warranty = [claim for claim in claims if isinstance(claim, WarrantyClaim)]
    assert len([claim for claim in warranty if claim.closed_on < TODAY - timedelta(days=60)]) == 1
    assert not [claim for claim in warranty if claim.coverage == "basic" and claim.odometer > 36_000]
    coop = [claim for claim in claims if isinstance(claim, CoopClaim)]
    assert len([claim for claim in coop if claim.fund != "2026"]) == 1
    assert all(claim.activity_date <= TODAY for claim in coop)
    vins = [claim.vin for claim in claims if isinstance(claim, DeliveryReport | IncentiveClaim)]
    assert not [vin for vin in vins if vin[-6] == "9"]


@pytest.mark.parametrize("seed", SEEDS)
def test_pilots_have_five_claims_in_five_periods_the_others_two_or_three_and_no_two_are_the_same(seed: int) -> None:
    records = seed_claims(seed, TODAY)
    dealers = [(record["oem"], record["dealer"]) for record in records]
    assert sorted(set(dealers)) == sorted((one["oem"], one["dealer"]) for one in accounts(seed))
    pilots = {(oem, dealer) for oem, (dealer, _) in PILOTS.items()}
    assert {dealers.count(dealer) for dealer in pilots} == {5}
    assert {dealers.count(dealer) for dealer in set(dealers) - pilots} <= {2, 3}
    for oem, dealer in pilots:
        due = [date.fromisoformat(r["due_on"]) for r in records if (r["oem"], r["dealer"]) == (oem, dealer)]
        assert len({adapter(oem).cadence.period_of(day) for day in due}) == 5
    assert {(record["oem"], record["claim_type"]) for record in records} == set(MODELS)
    keys = [parsed(record).natural_key(record["oem"]) for record in records if not invalid(record)]
    assert len(set(keys)) == len(keys)
    assert len({record["name"] for record in records}) == len(records)
    assert all(date.fromisoformat(record["due_on"]) <= TODAY for record in records)


def test_the_same_seed_gives_the_same_and_another_gives_others() -> None:
    assert seed_claims(3, TODAY) == seed_claims(3, TODAY)
    assert accounts(3) == accounts(3)
    assert seed_claims(3, TODAY) != seed_claims(4, TODAY)
    assert accounts(3) != accounts(4)
    names = [record["name"] for record in seed_claims(3, TODAY)]
    assert names == [record["name"] for record in seed_claims(3, TODAY + timedelta(days=1))]


def test_attachments_are_real_pictures_and_documents() -> None:
    for record in seed_claims(1, TODAY):
        for file in record["files"]:
            data = base64.b64decode(file["content"])
            assert len(data) < 60_000
            if file["name"].endswith(".pdf"):
                assert data.startswith(b"%PDF-1.4")
                assert data.endswith(b"%%EOF\n")
                continue
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
                assert picture.size == (480, 320)


def test_borealis_accounts_have_a_second_factor() -> None:
    for account in accounts(1):
        assert (account["totp_secret"] is not None) == (account["oem"] == "borealis")
        if account["totp_secret"]:
            assert len(pyotp.TOTP(account["totp_secret"]).now()) == 6
