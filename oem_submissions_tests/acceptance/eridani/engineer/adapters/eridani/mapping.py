"""Warranty claims as the form of Eridani Motors wants them. Pure: formats and words, no page."""

from __future__ import annotations

from datetime import date

from oem_submissions.domain.claims import WarrantyClaim

COVERAGE = {"basic": "New vehicle", "powertrain": "Drive line", "campaign": "Recall", "goodwill": "Policy"}


def form_values(claim: WarrantyClaim) -> dict[str, str]:
    """Dates as YYYY-MM-DD, money as 0.00, what is told in capitals."""
    values = {
        "vin": claim.vin,
        "odometer": str(claim.odometer),
        "repair_order": claim.repair_order,
        "line": str(claim.line),
        "coverage": COVERAGE[claim.coverage],
        "opened_on": _day(claim.opened_on),
        "closed_on": _day(claim.closed_on),
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


def _day(day: date) -> str:
    return day.isoformat()
