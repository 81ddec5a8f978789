"""What the form held before the click, as an artefact. Only here is decided what of it leaves in the clear."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from oem_submissions.domain.evidence import READBACK, Artifact, FieldReadback
from oem_submissions.domain.keys import canonical_json


def redact(value: str, sensitivity: str) -> Any:
    """The value if it is public; else only that there is one."""
    return value if sensitivity == "public" else {"redacted": True}


def artifact(readback: Sequence[FieldReadback]) -> Artifact:
    """`readback.json`: every field, in the order of the form."""
    fields = [
        {
            "name": item.name,
            "label": item.label,
            "sensitivity": item.sensitivity,
            "equal": item.equal,
            "value": redact(item.actual, item.sensitivity),
        }
        for item in readback
    ]
    return Artifact(READBACK, "application/json", canonical_json({"fields": fields}).encode(), datetime.now(UTC))
