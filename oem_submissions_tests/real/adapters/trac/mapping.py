"""A warranty claim as the installation's form wants it. Pure: formats and words, no page."""

from __future__ import annotations

from oem_submissions.domain.claims import WarrantyClaim

COVERAGE = {"basic": "Basic", "powertrain": "Powertrain", "campaign": "Campaign", "goodwill": "Goodwill"}


def form_values(claim: WarrantyClaim) -> dict[str, str]:
    """Dates as MM/DD/YY, money as 0.00; parts and labor, for which there are no fields, in the description."""
    parts = [f"{part.number} x {part.quantity}: {part.amount:.2f}" for part in claim.parts]
    description = [
        f"Complaint: {claim.complaint}",
        f"Cause: {claim.cause}",
        f"Correction: {claim.correction}",
        f"Parts: {'; '.join(parts)}",
        f"Labor {claim.labour_operation}, {claim.labour_hours} h: {claim.labour_amount:.2f}",
    ]
    return {
        "summary": f"{claim.repair_order} line {claim.line}, {claim.coverage}",
        "description": "\n".join(description),
        "repair_order": claim.repair_order,
        "line": str(claim.line),
        "coverage": COVERAGE[claim.coverage],
        "vin": claim.vin,
        "odometer": str(claim.odometer),
        "opened_on": f"{claim.opened_on:%m/%d/%y}",
        "claim_total": f"{claim.total:.2f}",
        "has_files": "yes" if claim.attachments else "no",
    }
