"""Eridani Motors' portal as it is given: words, names and formats of its own, decoys beside the number."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import date

from oem_submissions.simulator import samples
from oem_submissions.simulator.plain import Box, PlainPortal, Words
from oem_submissions.simulator.samples import Made
from oem_submissions.simulator.skin import Visit

COVERAGE = {"basic": "New vehicle", "powertrain": "Drive line", "campaign": "Recall", "goodwill": "Policy"}


class Eridani(PlainPortal):
    """Warranty claims; days are YYYY-MM-DD, and what is told is told in capitals."""

    oem = "eridani"
    title = "Eridani Motors"
    kinds = {"warranty": ("dealer", "repair_order", "line", "coverage")}
    telltales = {"warranty": "vin"}
    submit_paths = ("/eridani/claims",)
    login_path = "/eridani/login"
    words = Words(
        new="Enter a warranty claim",
        files="Documents",
        send="Send to Eridani",
        done="Thank you",
        number="Claim no.",
        filed="Claims sent",
        missing="must be filled in",
        exists="You have claimed this before",
    )
    boxes = {
        "vin": Box("Vehicle identification", "vehId"),
        "odometer": Box("Mileage", "vehMiles"),
        "repair_order": Box("Work order", "woNo"),
        "line": Box("Work order line", "woLine"),
        "coverage": Box("Kind of coverage", "covKind", options=COVERAGE),
        "opened_on": Box("Vehicle in", "dayIn"),
        "closed_on": Box("Vehicle out", "dayOut"),
        "complaint": Box("Customer says", "txtCustomer", lines=2),
        "cause": Box("Technician finds", "txtCause", lines=2),
        "correction": Box("Work done", "txtWork", lines=2),
        "causal_part": Box("Failed part", "partFailed"),
        "part_1_number": Box("First part", "p1No"),
        "part_1_quantity": Box("First part, pieces", "p1Qty"),
        "part_1_amount": Box("First part, USD", "p1Usd"),
        "part_2_number": Box("Second part", "p2No", needed=False),
        "part_2_quantity": Box("Second part, pieces", "p2Qty", needed=False),
        "part_2_amount": Box("Second part, USD", "p2Usd", needed=False),
        "part_3_number": Box("Third part", "p3No", needed=False),
        "part_3_quantity": Box("Third part, pieces", "p3Qty", needed=False),
        "part_3_amount": Box("Third part, USD", "p3Usd", needed=False),
        "labour_operation": Box("Operation code", "opCode"),
        "labour_hours": Box("Hours", "opHours"),
        "labour_amount": Box("Labor, USD", "opUsd"),
        "technician": Box("Technician no.", "techNo"),
        "claim_total": Box("Sum, USD", "sumUsd"),
    }
    listed = ("repair_order", "line", "coverage", "vin")
    refuses = ("odometer", 999_999, "This mileage is not covered.")

    @staticmethod
    def reference(number: int, year: int, kind: str) -> str:
        """`E26/0004217`."""
        return f"E{year % 100}/{number:07d}"

    @classmethod
    def claim(cls, kind: str, dealer: str, chance: random.Random, today: date) -> Made:
        """A claim that the portal takes."""
        return samples.warranty(chance, dealer, today, chance.choice(samples.REPAIRS))

    def errors(self, visit: Visit, fields: Mapping[str, str]) -> list[str]:
        """Also of formats."""
        days = [name for name in ("opened_on", "closed_on") if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", fields[name])]
        told = [name for name in ("complaint", "cause", "correction") if fields[name] != fields[name].upper()]
        errors = [f"{self.boxes[name].label} must be YYYY-MM-DD." for name in days]
        errors += [f"{self.boxes[name].label} must be in capitals." for name in told]
        return [*super().errors(visit, fields), *errors]
