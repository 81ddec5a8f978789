"""Signed tokens (JWT) that say who somebody is: the signature, and the claims that every one of them must have.

Both ways that use them come here: the identity provider's ID token, and the header that a reverse proxy signs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

LEEWAY_SECONDS = 30
_LONGEST = 16 * 1024


class TokenWrong(Exception):
    """The token is not what it should be: what is wrong, a few words without anything of the token."""


def verified_claims(
    token: str,
    keys: Key | KeySet,
    algorithms: Collection[str],
    *,
    issuer: str | None,
    audience: str,
    max_age: float,
    clock: Callable[[], float] = time.time,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token that one of the keys signed, for us, not long ago, and still good.

    `max_age` is in seconds since it was issued. Raises `TokenWrong`.
    """
    if len(token) > _LONGEST:
        raise TokenWrong("it is too long")
    now = int(clock())
    expected: dict[str, Any] = {
        "aud": {"essential": True, "value": audience},
        "exp": {"essential": True},
        "iat": {"essential": True},
    }
    if issuer is not None:
        expected["iss"] = {"essential": True, "value": issuer}
    try:
        decoded = jwt.decode(token, keys, algorithms)
        jwt.JWTClaimsRegistry(now, LEEWAY_SECONDS, **expected).validate(decoded.claims)
    except (JoseError, ValueError, RecursionError) as error:
        raise TokenWrong(getattr(error, "error", None) or type(error).__name__) from error
    if now - decoded.claims["iat"] > max_age + LEEWAY_SECONDS:
        raise TokenWrong("it was issued too long ago")
    return dict(decoded.header), dict(decoded.claims)
