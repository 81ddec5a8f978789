"""What people type into a CRM, and what CRMs say, made safe to keep. Shared by all clients; pure, no network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from oem_submissions.domain.texts import keepable
from oem_submissions.ports import CrmFile, CrmRecord

_DEEPEST = 20
_MEDIA_TYPES = {"pdf": "application/pdf", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg"}


def clean_text(value: Any) -> str:
    """The value as a text that every store can keep, without space around it; an empty text for nothing."""
    return "" if value is None else keepable(str(value)).strip()


def quoted(text: str, secrets: Iterable[str | None]) -> str:
    """What the other side said, on one line, clipped, without our secrets should it echo them."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[secret]")
    return re.sub(r"\s+", " ", re.sub(r"[^\x20-\x7e]", " ", text)).strip(" .")[:300]


def media_type_of(name: str) -> str:
    """By the ending of a file's name; the bytes are checked where they are fetched."""
    return _MEDIA_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")


def read_payload(held: Any) -> tuple[dict[str, Any], str | None]:
    """The JSON object that a field holds, as text or as it is; or an empty one, and a sentence of what is wrong."""
    if held is None or held == "" or (isinstance(held, str) and not held.strip()):
        return {}, "is empty"
    try:
        payload = json.loads(held, parse_constant=_refuse_constant, parse_float=_finite) if _is_text(held) else held
        fault = _unkeepable(payload, _DEEPEST)
    except json.JSONDecodeError as error:
        return {}, f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError) as error:
        return {}, f"can't be kept: {error}"
    if fault:
        return {}, f"can't be kept: {fault}"
    if not isinstance(payload, dict):
        return {}, f"is not a JSON object but {type(payload).__name__}"
    return payload, None


def _is_text(held: Any) -> bool:
    return isinstance(held, str | bytes)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _unkeepable(value: Any, depth: int) -> str | None:
    if depth == 0:
        return f"it is nested more than {_DEEPEST} deep"
    if isinstance(value, str):
        return "it holds a character that is none (NUL or half a surrogate pair)" if keepable(value) != value else None
    if isinstance(value, float) and not math.isfinite(value):
        return "it holds a number that is none"
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        return next((fault for inner in value if (fault := _unkeepable(inner, depth - 1))), None)
    return None


def make_record(
    record_id: str,
    named: dict[str, tuple[str, Any]],
    files: list[CrmFile],
    modified_at: datetime,
) -> CrmRecord:
    """A record whose faults are written on it instead of raised: one broken record never hides the others.

    `named` holds oem, dealer, claim_type, due_on and payload: the CRM's name of the field, and its value there.
    """
    faults = []
    texts = {}
    for key in ("oem", "dealer", "claim_type"):
        texts[key] = clean_text(named[key][1])
        if not texts[key]:
            faults.append(f"{named[key][0]} is empty")
    try:
        due_on = date.fromisoformat(clean_text(named["due_on"][1]))
    except ValueError:
        due_on = modified_at.date()
        faults.append(f"{named['due_on'][0]} is no day")
    payload, fault = read_payload(named["payload"][1])
    if fault:
        faults.append(f"{named['payload'][0]} {fault}")
    return CrmRecord(
        record_id=record_id,
        **texts,
        due_on=due_on,
        payload=payload,
        files=tuple(sorted(files, key=lambda file: (file.name, file.file_id))),
        modified_at=modified_at,
        fault="; ".join(faults) or None,
    )
