"""Facts and artefacts that a healthy claim would leave, for the tests of this folder and of the desk."""

from __future__ import annotations

import functools
import io
import json
from datetime import UTC, datetime

from PIL import Image, ImageDraw, ImageFont

from oem_submissions.domain.evidence import BundleFacts
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import State

TEXT = "Thank you. Your claim was received.\nClaim number AUR-4471902 has been assigned."


@functools.cache
def shot(title: str, lines: tuple[str, ...] = ("Repair order  R-20417", "VIN  1FTFW1E50NFA00001")) -> bytes:
    """A lossless WebP that looks a little like a portal's page."""
    picture = Image.new("RGB", (640, 480), "#f4f6fa")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 640, 56), fill="#20406a")
    font = ImageFont.load_default(size=18)
    draw.text((20, 18), title, fill="white", font=font)
    for number, line in enumerate(lines):
        draw.rounded_rectangle((20, 84 + 52 * number, 620, 122 + 52 * number), 6, fill="white", outline="#c7d0de")
        draw.text((32, 93 + 52 * number), line, fill="#222", font=font)
    return webp(picture)


def jpeg(picture: bytes) -> bytes:
    """The same as JPEG."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").resize((1280, 1000)).save(buffer, "JPEG")
    return buffer.getvalue()


def webp(picture: Image.Image) -> bytes:
    """The picture as lossless WebP."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def at(second: float) -> datetime:
    """A moment of the sample's day."""
    return datetime(2026, 3, 2, 9, 14, int(second), int(second % 1 * 1_000_000), tzinfo=UTC)


def facts(**changes: object) -> BundleFacts:
    """A confirmed warranty claim."""
    start = TEXT.index("AUR-4471902")
    values: dict[str, object] = {
        "claim_id": "aurora-k3v7q2mxw5la",
        "oem": "aurora",
        "dealer": "D1042",
        "period": "2026-03-01",
        "claim_type": "warranty",
        "natural_key": "aurora:warranty:D1042:R-20417:1:BASIC",
        "crm_record_id": "a0X5g000003KzQeEAK",
        "payload_sha256": "4be1" * 16,
        "run_id": "3f0c6d1e-9a3b-4b8e-8b0c-52a4e1f0c7aa",
        "attempt": 1,
        "fencing_token": 812,
        "adapter_digest": "sha256:" + "c0de" * 16,
        "pack_version": "v0003",
        "pack_digest": "sha256:" + "ba5e" * 16,
        "started_at": at(1.204),
        "armed_at": at(5.870),
        "sent_at": at(5.931),
        "responded_at": at(6.482),
        "confirmed_at": at(7.016),
        "outcome": State.CONFIRMED,
        "reference": "AUR-4471902",
        "reference_kind": "claim number",
        "reference_text": TEXT,
        "reference_span": (start, start + len("AUR-4471902")),
        "reason": None,
        "reason_text": None,
        "browser": "Chromium 156.0.7912.3",
        "viewport": (1280, 900),
        "url": "https://portal.aurora.example/claims/confirmation",
    }
    return BundleFacts(**(values | changes))  # type: ignore[arg-type]


def rejected_facts(**changes: object) -> BundleFacts:
    """The same claim, refused by its portal."""
    values: dict[str, object] = {
        "outcome": State.REJECTED,
        "reference": None,
        "reference_kind": None,
        "reference_text": None,
        "reference_span": None,
        "confirmed_at": None,
        "reason": ReasonCode.VALIDATION_REJECTED,
        "reason_text": "Labour operation 99-17 is not covered for this VIN.",
    }
    return facts(**(values | changes))


def readback(fields: dict[str, str], hidden: tuple[str, ...] = ()) -> bytes:
    """`readback.json` as the portal's runtime writes it."""
    rows: list[dict[str, object]] = [
        {"name": label, "label": label, "sensitivity": "public", "equal": True, "value": value}
        for label, value in fields.items()
    ]
    rows += [
        {"name": label, "label": label, "sensitivity": "pii", "equal": True, "value": {"redacted": True}}
        for label in hidden
    ]
    return json.dumps({"fields": rows}).encode()


def artifacts(**changes: bytes | None) -> dict[str, bytes]:
    """The mandatory artefacts; a change to None leaves one out. Names are written with `_` for the dot."""
    fields = {
        "Repair order": "R-20417",
        "VIN": "1FTFW1E50NFA00001",
        "Complaint": "Engine noise when cold",
        "Labour hours": "1.4",
    }
    request = {
        "method": "POST",
        "path": "/claims/submit",
        "body_sha256": "77aa" * 16,
        "body_bytes": 1834,
        "status": 200,
        "date": "Mon, 02 Mar 2026 09:14:06 GMT",
    }
    values: dict[str, bytes | None] = {
        "pre_submit.webp": shot("Aurora Warranty · New claim"),
        "post_confirm.webp": shot("Aurora Warranty · Received", ("Claim number AUR-4471902",)),
        "readback.json": readback(fields, hidden=("Customer",)),
        "request.json": json.dumps(request).encode(),
    }
    values |= {name.replace("_webp", ".webp").replace("_json", ".json"): data for name, data in changes.items()}
    return {name: data for name, data in values.items() if data is not None}
