"""What the form held before the click, as artefacts. Only here is decided what of it leaves in the clear."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from oem_submissions.domain.evidence import PERSONAL_READBACK, READBACK, Artifact, FieldReadback
from oem_submissions.domain.keys import canonical_json

_DOMAIN = b"oem-submissions readback 1"


def redact(item: FieldReadback, key: bytes) -> Any:
    """The value if it is public; of a personal one what proves that it equals another; of a secret nothing."""
    match item.sensitivity:
        case "public":
            return item.actual
        case "pii":
            return {"redacted": "pii", "hmac": fingerprint(item.name, item.actual, key)}
        case _:
            return {"redacted": "secret"}


def fingerprint(name: str, value: str, key: bytes) -> str:
    """HMAC-SHA-256 (RFC 2104) in hex, over the field's name and value: equal values of two fields look different.

    A plain hash would tell whoever guesses: there are not many names and telephone numbers.
    """
    message = b"\0".join([_DOMAIN, *(part.encode("utf-8", "surrogatepass") for part in (name, value))])
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def artifact(readback: Sequence[FieldReadback], key: bytes) -> Artifact:
    """`readback.json`: every field, in the order of the form."""
    fields = [
        {
            "name": item.name,
            "label": item.label,
            "sensitivity": item.sensitivity,
            "equal": item.equal,
            "value": redact(item, key),
        }
        for item in readback
    ]
    return _json(READBACK, {"fields": fields})


def personal(readback: Sequence[FieldReadback]) -> tuple[Artifact, ...]:
    """The personal fields in the clear, to be kept apart; nothing when there is none.

    With salt: the ledger notes the SHA-256 of every artefact, from which nobody may guess a name.
    """
    fields = [{"name": item.name, "label": item.label, "value": item.actual} for item in readback if _is_personal(item)]
    return (_json(PERSONAL_READBACK, {"salt": secrets.token_hex(16), "fields": fields}),) if fields else ()


def _is_personal(item: FieldReadback) -> bool:
    return item.sensitivity == "pii" and bool(item.actual)


def _json(name: str, document: dict[str, Any]) -> Artifact:
    return Artifact(name, "application/json", canonical_json(document).encode(), datetime.now(UTC))
