"""Claims, files and sessions for tests of portals."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from adapters import registry
from oem_submissions.domain.claims import (
    Attachment,
    ClaimModel,
    CoopClaim,
    DeliveryReport,
    IncentiveClaim,
    PartsReturn,
    WarrantyClaim,
    vin_check_digit,
)
from oem_submissions.domain.outcomes import Answer, Wire
from oem_submissions.portal import runtime as runtimes
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.packs import versions
from oem_submissions.portal.probe import OnView
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.session import BrowserSession
from oem_submissions.portal.steps import Limits
from oem_submissions.ports import Account, Prepared, SessionShelf, Submission
from oem_submissions.simulator.server import Simulator

SELECTORS = Path(__file__).parents[2] / "selectors"
TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
SHORT = Limits(page_seconds=10, action_seconds=2, sent_seconds=1, answer_seconds=2)
PDF = b"%PDF-1.4\n" + b"invoice " * 15_000
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
FILES = {"invoice.pdf": PDF, "photo 1.png": PNG}


def attachment(name: str, kind: str) -> Attachment:
    data = FILES[name]
    media_type: Any = "application/pdf" if name.endswith(".pdf") else "image/png"
    digest = hashlib.sha256(data).hexdigest()
    return Attachment(file_id="1", name=name, kind=kind, media_type=media_type, size=len(data), sha256=digest)


def vin(number: int, sixth_from_the_end: str = "1") -> str:
    """A valid VIN of its own for every number."""
    plain = f"1HGCM8260{'3A'}{sixth_from_the_end}{number:05d}"
    return plain[:8] + vin_check_digit(plain) + plain[9:]


def warranty(repair_order: str, **changes: Any) -> WarrantyClaim:
    values: dict[str, Any] = {
        "dealer_code": "10234", "vin": vin(1), "repair_order": repair_order, "line": 1, "coverage": "basic",
        "odometer": 1200, "opened_on": date(2026, 11, 1), "closed_on": date(2026, 11, 3), "complaint": "noise",
        "cause": "loose clamp", "correction": "tightened", "causal_part": "123-AB",
        "parts": [{"number": "123-AB", "quantity": 1, "amount": "12.50"}], "labour_operation": "0101",
        "labour_hours": "1.5", "labour_amount": "100.10", "technician": "T77",
    }  # fmt: skip
    return WarrantyClaim(**{**values, **changes})


def coop(invoice: str, **changes: Any) -> CoopClaim:
    values: dict[str, Any] = {
        "dealer_code": "10234", "fund": "2026", "activity": "digital", "activity_date": date(2026, 10, 2),
        "vendor": "Ad & Co", "vendor_invoice": invoice, "cost": "1234.50", "claimed_percent": 50,
        "pre_approval": "PA-12345",
        "attachments": [attachment("invoice.pdf", "invoice"), attachment("photo 1.png", "proof_of_performance")],
    }  # fmt: skip
    return CoopClaim(**{**values, **changes})


def delivery(number: int, **changes: Any) -> DeliveryReport:
    values: dict[str, Any] = {
        "dealer_code": "10234", "vin": vin(number), "sale_date": date(2026, 11, 20), "sale_type": "lease",
        "salesperson": "E100", "customer_name": "Pat O'Doe",
    }  # fmt: skip
    return DeliveryReport(**{**values, **changes})


def incentive(number: int, **changes: Any) -> IncentiveClaim:
    values: dict[str, Any] = {
        "dealer_code": "10234", "vin": vin(number), "programme": "WINTER26", "sale_date": date(2026, 11, 20),
        "customer_name": "Pat O'Doe", "amount": "500", "attachments": [attachment("invoice.pdf", "bill_of_sale")],
    }  # fmt: skip
    return IncentiveClaim(**{**values, **changes})


def parts_return(invoice: str, **changes: Any) -> PartsReturn:
    values: dict[str, Any] = {
        "dealer_code": "10234", "source_invoice": invoice, "invoiced_on": date(2026, 10, 2), "part_number": "38616-6A0",
        "quantity": 1, "reason": "core", "amount": "171.30",
    }  # fmt: skip
    return PartsReturn(**{**values, **changes})


@contextmanager
def session(
    runtime: BrowserRuntime,
    simulator: Simulator,
    oem: str,
    *,
    adapter: PortalAdapter | None = None,
    selectors: Path | None = None,
    totp: str | None = None,
    on_page: Callable[[OnView], None] | None = None,
    shelf: SessionShelf | None = None,
    judged: bool = True,
) -> Iterator[BrowserSession]:
    """A session at a simulated portal; another adapter or other packs use the same browser.

    `judged`: whether their golden pages count as judged already, which costs more than a claim. Ours are, once.
    """
    simulator.client.add_account(oem, "10234", "jdoe", "secret-pw-7", "Lakeside Motors", totp)
    other = BrowserRuntime(
        lambda name: adapter or registry.adapter(name), selectors or SELECTORS, {oem: simulator.http_url}, limits=SHORT
    )
    other.browser = runtime.browser  # type: ignore[method-assign]
    portal = other.portal(oem, on_page=on_page)
    if judged and (adapter or selectors):
        runtimes._checked.add((portal.pins.pack_digest, portal.pins.adapter_digest))
    with portal.session(Account(oem, "10234", "jdoe", "secret-pw-7", totp), shelf) as opened:
        yield opened


def prepare(opened: BrowserSession, claim: ClaimModel, claim_id: str = "claim-1") -> Prepared:
    return opened.prepare(Submission(claim_id, claim, claim.natural_key("test"), dict(FILES)))


def file_claim(
    opened: BrowserSession, claim: ClaimModel, claim_id: str = "claim-1", on_sent: Callable[[Wire], None] | None = None
) -> Answer:
    """Prepare and submit."""
    prepare(opened, claim, claim_id)
    return opened.submit(on_sent or (lambda wire: None))


def newest_pack(selectors: Path, oem: str) -> Path:
    """The file of the pack that is used."""
    return selectors / oem / f"{versions(selectors, oem)[-1]}.yaml"


def with_pack(folder: Path, oem: str, old: str, new: str) -> Path:
    """A copy of the packs, in which the OEM's newest says something else."""
    selectors = Path(shutil.copytree(SELECTORS, folder / "selectors"))
    (selectors / "packs.lock").unlink()
    path = newest_pack(selectors, oem)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return selectors
