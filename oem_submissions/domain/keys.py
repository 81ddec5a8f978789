"""Identities and digests: claim ids, canonical JSON, partition keys. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, the form that is hashed (RFC 8785 for the values here, none a float)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_hex(data: bytes | str) -> str:
    """Hex SHA-256 of bytes, or of a text's UTF-8 (a lone surrogate, which hostile text may hold, is passed through)."""
    return hashlib.sha256(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data).hexdigest()


def claim_id(oem: str, crm_record_id: str) -> str:
    """Our id of a CRM record's claim, safe in URLs and file names: the same record has the same id for ever."""
    token = base64.b32encode(hashlib.sha256(f"{oem}\0{crm_record_id}".encode()).digest()).decode().lower()
    return f"{_readable(oem)}-{token[:12]}"


def _readable(oem: str) -> str:
    return "".join(c for c in oem.lower() if c.isascii() and c.isalnum())[:20] or "unknown"


def looks_like_claim_id(oem: str, text: str) -> bool:
    """Whether the text has the form of our ids of this OEM's claims."""
    return re.fullmatch(re.escape(_readable(oem)) + r"-[a-z2-7]{12}", text) is not None


def partition_key(dealer: str, period: str) -> str:
    """Dagster's key of a multi-partition: the dimensions in alphabetical order, dealer before period."""
    return f"{dealer}|{period}"
