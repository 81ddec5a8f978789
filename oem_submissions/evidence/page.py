"""The bundle's page for people, `index.html`: self-contained, no script, opens from disk.

Portal texts are hostile: everything is escaped, what can't be seen is spelled out, and a strict policy is the second
wall behind the escaping. What the page says is also in the bundle's JSON files, for machines.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from oem_submissions.domain.checkpoints import LEAF_FORMAT
from oem_submissions.domain.evidence import (
    DOCUMENT,
    HISTORY,
    PICTURE_HEIGHT,
    POST_CONFIRM,
    PRE_SUBMIT,
    READBACK,
    REQUEST,
    BundleFacts,
)
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.reasons import REASONS
from oem_submissions.domain.texts import visible

_NOTES = {
    "submission.json": "the facts, for machines",
    "readback.json": "every field as the page held it before the click",
    "request.json": "the one request that was sent",
    "pre_submit.webp": "the form before the click",
    "post_confirm.webp": "the portal’s answer",
    "history.webp": "the claim in the portal’s history",
    "document.json": "the portal’s document that gives the number",
    "post_confirm.mhtml.gz": "the answer’s page, archived",
    "post_confirm.aria.yml": "the answer’s page as an outline",
}


_SHOTS = (PRE_SUBMIT, POST_CONFIRM, HISTORY)


@dataclass(frozen=True)
class FieldRow:
    """One line of the table of fields."""

    label: str
    value: str | None
    """None when it is redacted."""
    redacted: str | None
    hmac: str | None


def render_index(facts: BundleFacts, payload: Mapping[str, bytes]) -> bytes:
    """`index.html`; `payload` holds every other file of the bundle by its name."""
    environment = _environment()
    source, _, _ = environment.loader.get_source(environment, "bundle.css")  # type: ignore[union-attr]
    text = environment.get_template("index.html.j2").render(
        facts=facts,
        leaf_format=LEAF_FORMAT,
        css=source,
        policy=_policy(source),
        moments=_moments(facts),
        cut=[name for name in _SHOTS if _is_cut(payload.get(name, b""))],
        fields=_fields(payload.get(READBACK, b"")),
        request=_request(payload.get(REQUEST, b"")),
        document=_document(payload.get(DOCUMENT, b"")),
        action=REASONS[facts.reason].action if facts.reason else None,
        meaning=REASONS[facts.reason].meaning if facts.reason else None,
        files=[(name, _NOTES.get(name, ""), len(data), sha256_hex(data)) for name, data in sorted(payload.items())],
    )
    return text.encode("utf-8", "backslashreplace")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("oem_submissions.evidence", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
    )
    environment.filters["utc"] = _utc
    environment.filters["day"] = _day
    environment.filters["clock"] = _clock
    environment.filters["bytes"] = _bytes
    return environment


def _policy(css: str) -> str:
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    # `file:` beside 'self': a page that is opened from disk has no origin of its own.
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self' file:; base-uri 'none'; form-action 'none'"


def _utc(moment: datetime) -> str:
    return f"{_day(moment)} {_clock(moment)} UTC"


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


def _clock(moment: datetime) -> str:
    return moment.astimezone(UTC).time().isoformat("milliseconds")


def _bytes(size: int) -> str:
    return f"{size:,} B" if size < 10_000 else f"{size / 1000:,.0f} kB"


def _is_cut(shot: bytes) -> bool:
    """Whether the page may have been higher than its picture. What is no picture is judged elsewhere."""
    try:
        return bool(shot) and Image.open(io.BytesIO(shot)).height >= PICTURE_HEIGHT
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _moments(facts: BundleFacts) -> list[tuple[str, str, datetime]]:
    moments = [
        ("Form opened", "the attempt began", facts.started_at),
        ("Evidence kept, click armed", "filled in, read back, photographed", facts.armed_at),
        ("Sent", "the one request left the browser", facts.sent_at),
        ("Answered", "the portal replied", facts.responded_at),
        ("Confirmed", "one valid reference, evidence kept", facts.confirmed_at),
    ]
    return [(name, note, at) for name, note, at in moments if at is not None]


def _fields(data: bytes) -> list[FieldRow]:
    rows = _object(data).get("fields")
    return [_field(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _field(row: dict[str, Any]) -> FieldRow:
    label = str(row.get("label") or row.get("name") or "?")
    value = row.get("value")
    if value is None or isinstance(value, dict):
        return FieldRow(label, None, str(row.get("sensitivity", "redacted")), str((value or {}).get("hmac", "")))
    return FieldRow(label, str(value), None, None)


def _request(data: bytes) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), "–" if value is None else str(value)) for name, value in _object(data).items()]


def _document(data: bytes) -> dict[str, Any] | None:
    """The document that gave the reference: what it says, and what else is told of it; None when there is none."""
    said = _object(data)
    if not said:
        return None
    told = {name: value for name, value in said.items() if name not in ("text", "sha256", "source")}
    rows = [
        (name.replace("_", " "), "; ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in told.items()
    ]
    return {**{name: str(said.get(name, "")) for name in ("text", "sha256", "source")}, "told": rows}


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
