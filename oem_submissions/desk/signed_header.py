"""The way in through a reverse proxy that signs who asks, as a JWT in a header. Nothing unsigned is believed."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OctKey, RSAKey, import_key
from starlette.requests import Request

from oem_submissions.desk.access import Refused, RoleRules, Visit
from oem_submissions.desk.identity_tokens import TokenWrong, verified_claims
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.settings import ProxySettings

PUBLIC = ("RS256", "ES256")
_SECRET_BYTES = 32


class SignedHeader:
    """People whom the proxy names."""

    name = "header"

    def __init__(self, settings: ProxySettings, rules: RoleRules, secret: str | None) -> None:
        """Raises `ConfigurationError` when there is no key, or not exactly one kind of it."""
        self._settings, self._rules = settings, rules
        self.invitation = "Come by the address at which people sign in: this desk believes only its proxy."
        self._keys: KeyFile | None = None
        if (settings.keys is None) == (secret is None):
            raise ConfigurationError(
                "The proxy's key should be set once: OEM_SUBMISSIONS_PROXY_KEYS for its public keys, or "
                "OEM_SUBMISSIONS_SECRET_DESK_PROXY_KEY for a secret that it shares with the desk."
            )
        if settings.keys is not None:
            self._keys = KeyFile(settings.keys)
            self._keys.read()
        self._secret = _hmac_key(secret) if secret is not None else None

    def visit(self, request: Request) -> Visit | None:
        """Whom the header names; None without one. Raises `Refused` when it is not the proxy's, or too old."""
        headers = request.headers.getlist(self._settings.header)
        if not headers:
            return None
        if len(headers) > 1:
            raise Refused(401, "The proxy's header came twice, so that it says nothing: the proxy must replace it.")
        settings = self._settings
        keys, algorithms = (self._keys.read(), PUBLIC) if self._keys else (self._secret, ("HS256",))
        assert keys is not None
        try:
            _, claims = verified_claims(
                headers[0], keys, algorithms, issuer=settings.issuer, audience=settings.audience,
                max_age=settings.max_age_seconds,
            )  # fmt: skip
        except TokenWrong as error:
            raise Refused(401, f"The proxy's word on who you are is not good: {error}. Sign in there again.") from error
        user = self._rules.user(claims)
        return Visit(user, self.name, f"header {user.name}")


class KeyFile:
    """Public keys in a file, read again when it has changed: proxies change their keys."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read: tuple[int, Key | KeySet] | None = None

    def read(self) -> Key | KeySet:
        """The keys. Raises `ConfigurationError` when they can't be read, or are not public ones."""
        try:
            with self._lock:
                changed = self._path.stat().st_mtime_ns
                if self._read is None or self._read[0] != changed:
                    self._read = changed, public_keys(self._path.read_bytes())
                return self._read[1]
        except (OSError, JoseError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"OEM_SUBMISSIONS_PROXY_KEYS names {self._path}, which holds no public keys for RS256 or ES256 "
                f"(a JWKS, or one key as PEM): {error}."
            ) from error


def public_keys(data: bytes) -> Key | KeySet:
    """RSA and P-256 keys from a JWKS or a PEM. Raises `ValueError`, or joserfc's error."""
    keys: Key | KeySet
    if data.lstrip().startswith(b"{"):
        held: Any = json.loads(data)
        keys = KeySet.import_key_set(held)
    else:
        keys = import_key(data, "RSA" if _is_rsa(data) else "EC")
    for key in keys.keys if isinstance(keys, KeySet) else [keys]:
        if not isinstance(key, RSAKey | ECKey):
            raise ValueError("a shared secret is among them")  # noqa: TRY004 - of the content, not of the type
        if key.is_private:
            raise ValueError("a private key is among them")
    return keys


def _is_rsa(pem: bytes) -> bool:
    return isinstance(load_pem_public_key(pem), RSAPublicKey)


def _hmac_key(secret: str) -> OctKey:
    if len(secret.encode()) < _SECRET_BYTES:
        raise ConfigurationError(
            f"OEM_SUBMISSIONS_SECRET_DESK_PROXY_KEY is shorter than {_SECRET_BYTES} bytes; it should be made by chance."
        )
    try:
        return OctKey.import_key(secret.encode())
    except ValueError as error:
        raise ConfigurationError(f"OEM_SUBMISSIONS_SECRET_DESK_PROXY_KEY can't be a secret: {error}.") from error
