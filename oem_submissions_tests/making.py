"""Claims, accounts and pieces of evidence for tests: valid ones, to be changed where a test needs it otherwise."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from oem_submissions.domain.claims import vin_check_digit
from oem_submissions.domain.keys import canonical_json, sha256_hex
from oem_submissions.domain.records import Attempt, Claim, KeptArtifact, NewClaim, Pins

PINS = Pins("adapter-digest", "v0001", "pack-digest")


def vin(serial: int = 1) -> str:
    """A VIN with its right check digit."""
    raw = f"1HGCM8260AA{serial:06d}"
    return raw[:8] + vin_check_digit(raw) + raw[9:]


def warranty_payload(number: int = 1, dealer: str = "10234", **changes: Any) -> dict[str, Any]:
    """The payload of a valid warranty claim, as the CRM has it."""
    payload = {
        "claim_type": "warranty",
        "dealer_code": dealer,
        "vin": vin(number),
        "repair_order": f"RO{number:06d}",
        "line": 1,
        "coverage": "basic",
        "odometer": 20_000 + number,
        "opened_on": "2026-11-02",
        "closed_on": "2026-11-04",
        "complaint": "RATTLE FROM FRONT LEFT",
        "cause": "STRUT MOUNT WORN",
        "correction": "REPLACED STRUT MOUNT",
        "causal_part": "51920-TVA-A01",
        "parts": [{"number": "51920-TVA-A01", "quantity": 1, "amount": "84.20"}],
        "labour_operation": "412110",
        "labour_hours": "1.2",
        "labour_amount": "156.00",
        "technician": "T4471",
    }
    return payload | changes


def new_claim(number: int = 1, oem: str = "aurora", dealer: str = "10234", **changes: Any) -> NewClaim:
    """A valid warranty claim on its way into the ledger."""
    payload = warranty_payload(number, dealer)
    values = {
        "oem": oem,
        "dealer": dealer,
        "period": "2026-11-10",
        "claim_type": "warranty",
        "crm_record_id": f"REC{number:04d}",
        "natural_key": f"{oem}:warranty:{dealer}:RO{number:06d}:1:BASIC",
        "payload": payload,
        "due_on": date(2026, 11, 10),
        "source_sha256": sha256_hex(canonical_json(payload)),
    }
    return NewClaim(**(values | changes))


def kept(claim: Claim, attempt: Attempt, name: str) -> KeptArtifact:
    """A piece of evidence as the ledger notes it."""
    key = f"artifacts/{claim.claim_id}/{attempt.attempt_id}/{name}"
    return KeptArtifact(claim.claim_id, attempt.attempt_id, name, "image/webp", key, "0" * 64, 1, datetime.now(UTC))
