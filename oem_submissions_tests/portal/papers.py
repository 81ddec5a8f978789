"""Aurora as a portal whose page does not show the number: it links a PDF with it, or says that it comes by e-mail."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute

from oem_submissions.portal.packs import versions
from oem_submissions.simulator.aurora import Aurora
from oem_submissions.simulator.seed_media import document
from oem_submissions.simulator.skin import Outcome, Visit
from oem_submissions.simulator.truth import Filing, NewFiling
from oem_submissions_tests.portal.parts import SELECTORS

SENDER, SUBJECT = "claims@aurora.example", "Aurora warranty claim"
BY_MAIL = "The claim number will be sent to you by e-mail."
GOLDEN_NUMBER = "WC-2026-004217-U"
GOLDEN_PAGE = f"""<h1>Claim submitted</h1><p>Thank you.</p><p>{BY_MAIL}</p>"""
_HOLDS = """["RO {repair_order}", "Line {line}", "Coverage {coverage}", "VIN {vin}", "Dealer {dealer_code}"]"""


SAMPLE = Filing(
    id=1, oem="aurora", kind="warranty", dealer="10234", business_key="", reference=GOLDEN_NUMBER,
    fields={"repair_order": "RO-77", "line": "1", "coverage": "basic", "vin": "1HGCM82603A100001", "complaint": "X"},
    attachments=[], filed_at=datetime(2026, 11, 26, tzinfo=UTC), post_id=None, disposition="submitted",
)  # fmt: skip


class PaperAurora(Aurora):
    """What its PDF is, and where the link to it leads, a test may change."""

    gives: ClassVar[str] = "pdf"
    link: ClassVar[str] = "/aurora/claims/{id}/confirmation.pdf?_ssid={token}"
    pdf: ClassVar[Callable[[Filing], tuple[int, bytes]]]

    def routes(self) -> list[BaseRoute]:
        return [*super().routes(), self.route("/claims/{number:int}/confirmation.pdf", self._pdf)]

    async def _pdf(self, visit: Visit) -> Response:
        filing = self.world.truth.by_id(visit.request.path_params["number"])
        if filing is None or filing.dealer != visit.who.dealer:
            return Response(status_code=404)
        status, data = type(self).pdf(filing)
        return Response(data, status, media_type="application/pdf")

    def _answer(self, visit: Visit, new: NewFiling, outcome: Outcome) -> Response:
        page = super()._answer(visit, new, Outcome(filings=outcome.filings, duplicate_of=outcome.duplicate_of))
        if not outcome.filings:
            return page
        address = self.link.format(id=outcome.filings[0].id, token=visit.who.page_token)
        said = f'<p><a href="{address}">Confirmation (PDF)</a></p>' if self.gives == "pdf" else f"<p>{BY_MAIL}</p>"
        return HTMLResponse(bytes(page.body).decode().replace("<p>Keep parts", f"{said}<p>Keep parts"))


def lines(filing: Filing, *more: str, **other: str) -> list[str]:
    """What the portal writes of a filing."""
    coverage = {"basic": "Basic (bumper to bumper)"}[filing.fields["coverage"]]
    said = {**filing.fields, "number": filing.reference or "", **other}
    return [
        f"Dealer {filing.dealer}",
        f"RO {said['repair_order']} - Line {said['line']}",
        f"Coverage {coverage}",
        f"VIN {said['vin']}",
        "Complaint: " + said["complaint"],
        f"Your claim number is {said['number']}.",
        "Page 1 of 1. Form WCF-0421.",
        *more,
    ]


def right(filing: Filing) -> tuple[int, bytes]:
    """The PDF as it should be."""
    return 200, document("Aurora Motors: confirmation", lines(filing))


PaperAurora.pdf = right


def packs(folder: Path, gives: str, history: bool = False, hours: int = 36) -> Path:
    """A copy of the packs, with an Aurora that gives its number so."""
    selectors = Path(shutil.copytree(SELECTORS, folder / gives))
    (selectors / "packs.lock").unlink()
    path = selectors / "aurora" / f"{versions(selectors, 'aurora')[-1]}.yaml"
    text = path.read_text()
    place = text[
        text.index("        find: {beside: Claim number}") : text.index("        pattern: '\\b(?P<reference>WC")
    ]
    pdf = f"        pdf: {{link: {{role: link, name: Confirmation (PDF)}}, holds: {_HOLDS}}}\n"
    text = text.replace(place, pdf if gives == "pdf" else "")
    later = text[text.index("      later:\n") : text.index("    refusals:")]
    mail = f"""      later:
        says: ["{BY_MAIL}"]
        deadline_hours: {hours}
        email: {{sender: {SENDER}, subject: {SUBJECT}, holds: {_HOLDS}}}
"""
    text = text.replace(later, mail if gives == "mail" else "").replace("      history: true\n", "")
    if not history:
        text = text[: text.index("    history:\n")]
    path.write_text(text)
    _golden(selectors / "aurora" / "golden", gives)
    return selectors


def _golden(folder: Path, gives: str) -> None:
    page = GOLDEN_PAGE if gives == "mail" else GOLDEN_PAGE.replace(BY_MAIL, "")
    (folder / "given.html").write_text(page)
    if gives == "pdf":
        name = "given.pdf"
        (folder / name).write_bytes(right(SAMPLE)[1])
    else:
        name = "given.eml"
        (folder / name).write_text(f"From: {SENDER}\nSubject: {SUBJECT}\n\n" + "\n".join(lines(SAMPLE)))
    claim = "{repair_order: RO-77, line: '1', coverage: Basic (bumper to bumper), vin: 1HGCM82603A100001"
    claim += ", dealer_code: '10234'}"
    (folder / "golden.yaml").write_text(f"""goldens:
  - {{page: given.html, form: warranty, status: 200, why: its number is in the document, document: {name},
     claim: {claim}, expect: filed, reference: {GOLDEN_NUMBER}}}
  - {{page: given.html, form: warranty, status: 200, why: another claim's document, document: {name},
     claim: {claim.replace("line: '1'", "line: '2'")}, expect: unknown, reason: REFERENCE_SUSPECT}}
""")
