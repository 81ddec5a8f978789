"""Dakota Trucks' parts returns: one plain form, one table of what was returned."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import ClaimModel, Code
from oem_submissions.portal.adapter import PortalAdapter

REASONS = {"wrong": "Wrong part shipped", "damaged": "Damaged in transit", "core": "Core return"}


class PartsReturn(ClaimModel):
    """A part that goes back to the manufacturer."""

    claim_type: Literal["parts_return"] = "parts_return"
    natural_key_fields: ClassVar = ("dealer_code", "invoice", "part")
    personal_fields: ClassVar = ()

    invoice: Code
    part: Code
    quantity: Annotated[int, Field(gt=0, le=999)]
    reason: Literal["wrong", "damaged", "core"]


class Dakota(PortalAdapter):
    """Files parts returns, every morning."""

    oem = "dakota"
    claim_model = PartsReturn
    cadence = Cadence("0 7 * * *", timezone="America/Chicago", period="day")

    def form_values(self, claim: PartsReturn) -> dict[str, str]:
        """Part numbers in capitals."""
        return {
            "invoice": claim.invoice,
            "part": claim.part.upper(),
            "quantity": str(claim.quantity),
            "reason": REASONS[claim.reason],
        }
