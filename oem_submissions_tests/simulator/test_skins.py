"""What a skin says of its portal is true: its claims are valid and differ, and have the business key that it names."""

from __future__ import annotations

import random
from datetime import date

import pytest

from oem_submissions.simulator.faults import KINDS
from oem_submissions.simulator.skin import Skin
from oem_submissions.simulator.skins import SKINS
from oem_submissions.simulator.truth import business_key
from oem_submissions_tests.simulator.test_seed import parsed

TODAY = date(2026, 11, 23)
EVERY = [(skin, kind) for skin in SKINS.values() for kind in skin.kinds]


@pytest.mark.parametrize(("skin", "kind"), EVERY, ids=lambda value: getattr(value, "oem", value))
def test_a_skins_claims_are_valid_and_of_different_business(skin: type[Skin], kind: str) -> None:
    chance = random.Random(7)
    keys = set()
    for _ in range(30):
        payload, files = skin.claim(kind, "D1", chance, TODAY)
        claim = parsed({"oem": skin.oem, "claim_type": kind, "payload": payload, "files": files})
        texts = {name: str(value) for name, value in payload.items()}
        key = business_key(skin, kind, "D1", texts)
        assert "||" not in f"{key}|", "every part of the business key is called as in the claim"
        assert claim.natural_key(skin.oem).count(":") == len(skin.kinds[kind]) + 1
        keys.add(key)
        refused = skin.refused((payload, files), TODAY)
        assert refused is not None
        parsed({"oem": skin.oem, "claim_type": kind, "payload": refused[0], "files": refused[1]})
    assert len(keys) == 30


@pytest.mark.parametrize("skin", SKINS.values(), ids=lambda skin: skin.oem)
def test_a_skin_names_only_faults_that_there_are_and_references_that_differ(skin: type[Skin]) -> None:
    assert set(skin.without) <= set(KINDS)
    for kind in skin.kinds:
        assert len({skin.reference(number, 2026, kind) for number in range(4217, 4417)}) == 200
    assert all(path.startswith(f"/{skin.oem}/") for path in (*skin.submit_paths, skin.login_path))
