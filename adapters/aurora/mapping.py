"""A warranty claim as Aurora's form wants it. Pure: formats and words, no page."""

from __future__ import annotations

from datetime import date

from oem_submissions.domain.claims import WarrantyClaim

COVERAGES = {
    "basic": "Basic (bumper to bumper)",
    "powertrain": "Powertrain",
    "campaign": "Campaign / recall",
    "goodwill": "Goodwill (policy)",
}
_CHECK_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"


def form_values(claim: WarrantyClaim) -> dict[str, str]:
    """Dates as MM/DD/YYYY, money as 0.00, complaint, cause and correction in capitals."""
    values = {
        "vin": claim.vin,
        "odometer": str(claim.odometer),
        "repair_order": claim.repair_order,
        "line": str(claim.line),
        "coverage": COVERAGES[claim.coverage],
        "opened_on": _us_date(claim.opened_on),
        "closed_on": _us_date(claim.closed_on),
        "complaint": claim.complaint.upper(),
        "cause": claim.cause.upper(),
        "correction": claim.correction.upper(),
        "causal_part": claim.causal_part,
        "labour_operation": claim.labour_operation,
        "labour_hours": f"{claim.labour_hours:.1f}",
        "labour_amount": f"{claim.labour_amount:.2f}",
        "technician": claim.technician,
        "claim_total": f"{claim.total:.2f}",
    }
    for number, part in enumerate(claim.parts, start=1):
        values[f"part_{number}_number"] = part.number
        values[f"part_{number}_quantity"] = str(part.quantity)
        values[f"part_{number}_amount"] = f"{part.amount:.2f}"
    return values


def reference_is_plausible(reference: str) -> bool:
    """Whether the letter of `WC-2026-004217-U` is right: sum of digit x position over year and number, modulo 23."""
    digits = [int(character) for character in reference if character.isdigit()]
    total = sum(digit * position for position, digit in enumerate(digits, start=1))
    return reference[-1:] == _CHECK_LETTERS[total % len(_CHECK_LETTERS)]


def _us_date(day: date) -> str:
    return f"{day:%m/%d/%Y}"
