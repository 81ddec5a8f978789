"""Lyra Parts Net, simulated: returns of parts, in a wizard of three pages with radio buttons. Something to record."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date

from oem_submissions.simulator import samples
from oem_submissions.simulator.plain import Box, PlainPortal, Words, number_of
from oem_submissions.simulator.samples import Made
from oem_submissions.simulator.skin import Visit

REASON = {"core": "Core", "damaged": "Arrived damaged", "wrong_part": "Wrong part", "overstock": "Overstock"}


class Lyra(PlainPortal):
    """Its pages are written by hand; what is refused, the last one refuses."""

    oem = "lyra"
    title = "Lyra Parts Net"
    kinds = {"parts_return": ("dealer", "source_invoice", "part_number", "reason")}
    telltales = {"parts_return": "quantity"}
    submit_paths = ("/lyra/returns/file",)
    login_path = "/lyra/login"
    paths = {
        "/claims/new": "/lyra/returns/new",
        "/claims/step/1": "/lyra/returns/part",
        "/claims/step/2": "/lyra/returns/why",
        "/claims": "/lyra/returns/file",
        "/claims/list": "/lyra/returns",
    }
    words = Words(new="Return a part", done="Your return is registered", number="RMA number", filed="Returns")
    boxes = {
        "source_invoice": Box("Invoice", "inv"),
        "invoiced_on": Box("Invoice date", "invDt"),
        "part_number": Box("Part number", "part"),
        "quantity": Box("Quantity", "qty"),
        "reason": Box("Reason for the return", "why", options=REASON),
        "amount": Box("Amount, USD", "amt"),
        "remarks": Box("Remarks", "rem", needed=False),
    }
    steps = (
        ("source_invoice", "invoiced_on", "part_number", "quantity"),
        ("reason", "amount", "remarks"),
        (),
    )
    listed = ("source_invoice", "part_number", "reason", "quantity")
    refuses = ("quantity", 999, "More than was invoiced.")

    @staticmethod
    def reference(number: int, year: int, kind: str) -> str:
        return number_of("LY", number, year)

    @classmethod
    def claim(cls, kind: str, dealer: str, chance: random.Random, today: date) -> Made:
        return samples.parts_return(chance, dealer, today)

    def errors(self, visit: Visit, fields: Mapping[str, str]) -> list[str]:
        """The quantity is looked at last."""
        said = super().errors(visit, fields)
        return said if set(fields) == set(self.boxes) else [one for one in said if one != self.refuses[2]]
