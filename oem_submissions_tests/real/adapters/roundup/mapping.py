"""A warranty claim as the tracker takes it: a title by which it is found again, and all else in the note. Pure."""

from __future__ import annotations

from oem_submissions.domain.claims import WarrantyClaim


def form_values(claim: WarrantyClaim) -> dict[str, str]:
    """The title holds what identifies the claim: the tracker has no fields for it."""
    parts = [f"{part.number} x {part.quantity}: {part.amount:.2f}" for part in claim.parts]
    note = [
        f"VIN {claim.vin}, {claim.odometer} miles",
        f"Opened {claim.opened_on:%m/%d/%Y}, closed {claim.closed_on:%m/%d/%Y}",
        f"Complaint: {claim.complaint}",
        f"Cause: {claim.cause}",
        f"Correction: {claim.correction}",
        f"Parts: {'; '.join(parts)}",
        f"Labor {claim.labour_operation}, {claim.labour_hours} h: {claim.labour_amount:.2f}",
        f"Total: {claim.total:.2f}",
    ]
    return {"title": title(claim), "priority": "bug", "note": "\n".join(note)}


def title(claim: WarrantyClaim) -> str:
    """Of a claim, and of no other."""
    return f"Warranty {claim.dealer_code} {claim.repair_order} line {claim.line} {claim.coverage}"
