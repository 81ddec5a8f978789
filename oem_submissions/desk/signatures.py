"""How the desk signs what browsers hold: HMAC-SHA256 over value and time, one key per purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from itsdangerous import TimestampSigner

HOW: dict[str, Any] = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


def signer_on(clock: Callable[[], float]) -> type[TimestampSigner]:
    """The signer, on a clock that gives seconds since 1970."""

    class Signer(TimestampSigner):
        """On that clock."""

        def get_timestamp(self) -> int:
            """Seconds since 1970."""
            return int(clock())

    return Signer
