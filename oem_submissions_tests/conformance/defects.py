"""Dakota as it should be, and Dakota with a planted defect each: what an engineer gets wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from starlette.responses import Response

from oem_submissions.conformance.stage import Subject, make_subject
from oem_submissions.simulator.skin import Visit
from oem_submissions.simulator.truth import Filing
from oem_submissions_tests.conformance.dakota.portal import Dakota, PartsReturn
from oem_submissions_tests.conformance.dakota.skin import DakotaPortal

SELECTORS = Path(__file__).parent / "selectors"
DAKOTA = make_subject(Dakota(), DakotaPortal, SELECTORS)


class OneReturnPerInvoice(PartsReturn):
    personal_fields: ClassVar = ()
    natural_key_fields: ClassVar = ("dealer_code", "invoice")


class TooNarrowAKey(Dakota):
    """Two parts of one invoice count as one claim: the second is never filed."""

    claim_model = OneReturnPerInvoice


class EveryQuantityAnother(PartsReturn):
    personal_fields: ClassVar = ()
    natural_key_fields: ClassVar = ("dealer_code", "invoice", "part", "quantity")


class TooWideAKey(Dakota):
    """The same part with another quantity counts as another claim: it is filed twice."""

    claim_model = EveryQuantityAnother


class BrokenPortal(DakotaPortal):
    """The skin itself breaks, not the adapter."""

    async def _new(self, visit: Visit) -> Response:
        raise RuntimeError("the template is missing")


class DeafPortal(DakotaPortal):
    """A skin whose history knows of no faults: what it does not act out, it does not prove."""

    def history(self, visit: Visit) -> list[Filing]:
        return self.world.truth.find(self.oem, visit.who.dealer)


def takes_the_label_for_the_reference(folder: Path) -> Subject:
    """The number of the return label is taken for the reference; the golden page says so, too."""
    changes = {
        "{beside: RMA number}": "{beside: Return label}",
        "text-is('RMA number')": "text-is('Return label')",
        "RMA-\\d{4}": "RML-\\d{4}",
    }
    return _with_pack(folder, changes, {"reference: RMA-2026-004217": "reference: RML-2026-000001"})


def searches_by_the_wrong_value(folder: Path) -> Subject:
    """The history is filtered by the part number in the field for the invoice, and a confirmation doesn't ask it."""
    changes = {
        "        invoice: {label: Invoice number}": "        part: {label: Invoice number}",
        "history: true": "history: false",
    }
    return _with_pack(folder, changes, {})


def _with_pack(folder: Path, changes: dict[str, str], golden: dict[str, str]) -> Subject:
    shutil.copytree(SELECTORS, folder, dirs_exist_ok=True)
    _replace(folder / "dakota" / "v0001.yaml", changes)
    _replace(folder / "dakota" / "golden" / "golden.yaml", golden)
    return make_subject(Dakota(), DakotaPortal, folder)


def _replace(file: Path, changes: dict[str, str]) -> None:
    text = file.read_text()
    for old, new in changes.items():
        assert old in text, f"{file.name} has no {old!r} any more"
        text = text.replace(old, new)
    file.write_text(text)
