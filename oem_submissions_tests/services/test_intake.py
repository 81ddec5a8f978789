"""What becomes of the CRM's records: claims of every kind, duplicates, and what comes too late."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from adapters.aurora.portal import Aurora
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.domain.claims import ClaimModel, FilingLimit, PartsReturn, Text, Vin
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.services.intake import take_in_due_claims
from oem_submissions.settings import PROJECT
from oem_submissions_tests.making import vin

GUIDE = (PROJECT / "docs" / "new-oem.md").read_text()
NAMES = {
    "ClaimModel": ClaimModel, "FilingLimit": FilingLimit, "Literal": Literal, "ClassVar": ClassVar, "Vin": Vin,
    "Annotated": Annotated, "Field": Field, "Text": Text, "date": date, "__name__": __name__,
}  # fmt: skip
DEALER, TODAY = "10234", datetime.now(UTC).date()


def guided() -> dict[str, Any]:
    """What the guide to a new OEM shows, as an engineer would type it."""
    for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL):
        exec(block, NAMES)  # noqa: S102 - our own guide
    return NAMES


class Mileage(Aurora):
    """An OEM that takes the guide's claim type, and parts returns."""

    claim_model = guided()["DemoMileage"] | PartsReturn
    filing_limits: ClassVar = guided()["filing_limits"]


class World:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.crm, self.evidence = ledger, MemoryCrm(), MemoryStore()

    def take_in(self, record_id: str, payload: dict[str, Any]) -> Claim:
        self.crm.add(
            record_id,
            oem="aurora",
            dealer=DEALER,
            claim_type=payload["claim_type"],
            due_on=TODAY,
            payload=payload,
        )
        self.look()
        return self.of(record_id)

    def look(self) -> None:
        take_in_due_claims(self.ledger, self.crm, self.evidence, {"aurora": Mileage()}, 1_000_000)

    def of(self, record_id: str) -> Claim:
        claim = self.ledger.claim_of_record("aurora", record_id)
        assert claim is not None
        return claim


@pytest.fixture
def world(ledger: Ledger) -> World:
    return World(ledger)


def mileage(days_ago: int = 1, **changes: Any) -> dict[str, Any]:
    ended = (TODAY - timedelta(days=days_ago)).isoformat()
    return {
        "claim_type": "demo_mileage", "dealer_code": DEALER, "vin": vin(1), "ended_on": ended, "miles": 412,
        "driver": "Pat O'Doe", **changes,
    }  # fmt: skip


RETURN = {
    "claim_type": "parts_return", "dealer_code": DEALER, "source_invoice": "PI417", "invoiced_on": "2026-10-02",
    "part_number": "38616-6A0", "quantity": 2, "reason": "core", "amount": "171.30",
}  # fmt: skip


def test_a_claim_model_of_ones_own_is_ten_lines(world: World) -> None:
    (source,) = re.findall(r"class DemoMileage.*?(?=```)", GUIDE, re.DOTALL)
    assert sum(bool(line.strip()) for line in source.splitlines()) <= 10
    assert world.take_in("R1", mileage()).state is State.READY
    wrong = world.take_in("R2", mileage(miles=0, vin="X"))
    assert (wrong.state, wrong.reason) == (State.DEAD, ReasonCode.PAYLOAD_INVALID)
    assert wrong.reason_text == (
        "vin: a VIN has 17 characters, digits and capital letters without I, O and Q;"
        " miles: Input should be greater than or equal to 1"
    )


def test_a_second_record_of_the_same_claim_is_never_filed_and_names_the_first(world: World) -> None:
    first = world.take_in("R1", RETURN)
    again = world.take_in("R2", RETURN | {"source_invoice": " pi417", "quantity": 1})
    assert (first.state, again.state, again.reason) == (State.READY, State.DEAD, ReasonCode.CRM_CONFLICT)
    assert "The CRM record R1 carries this claim already" in (again.reason_text or "")
    assert world.take_in("R3", RETURN | {"reason": "damaged"}).state is State.READY


def test_what_comes_too_late_is_not_filed_until_a_person_says_so(world: World) -> None:
    assert world.take_in("R1", mileage(29)).state is State.READY
    late = world.take_in("R2", mileage(40, vin=vin(2)))
    assert (late.state, late.reason) == (State.DEAD, ReasonCode.CUTOFF_PASSED)
    assert re.fullmatch(r"ended_on: \S+ is (39|40) days ago, and the OEM takes it for 30 days", late.reason_text or "")
    world.ledger.redrive(late, "Ana")
    world.look()
    assert world.of("R2").state is State.READY
    assert world.take_in("R3", RETURN).state is State.READY, "of another claim type"
