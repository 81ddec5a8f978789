"""Tokens of machines: `Authorization: Bearer …`. The desk knows their SHA-256 only; each has a name and a role."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from oem_submissions.desk.access import Refused, Role, User, Visit, fit_name
from oem_submissions.desk.bounds import Budget
from oem_submissions.domain.failures import ConfigurationError

_TOKEN = re.compile(r"oemdesk_[A-Za-z0-9_-]{43}")
"""256 bits of chance: guessing is hopeless, and a hash without salt gives nothing away."""
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="evidence desk", error="invalid_token"'}


@dataclass(frozen=True)
class KnownToken:
    """A token that is let in."""

    user: User
    sha256: str


def new_token(name: str, role: Role) -> tuple[str, str]:
    """A token, and the entry by which the desk knows it."""
    token = f"oemdesk_{secrets.token_urlsafe(32)}"
    return token, f"{name}:{role}:{_sha256(token)}"


def read_tokens(text: str, where: str) -> list[KnownToken]:
    """From `name:role:sha256` with commas or on lines; without a role it is a viewer's. Raises `ConfigurationError`."""
    entries = [entry for part in re.split(r"[,\n]", text) if (entry := part.strip())]
    known = [_read(entry, number, where) for number, entry in enumerate(entries, 1)]
    names = [token.user.name for token in known]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"{where} has two tokens named '{min(twice)}'; each should have a name of its own.")
    return known


def _read(entry: str, number: int, where: str) -> KnownToken:
    """The entry is not shown in the error: somebody may have put the token itself there."""
    name, _, rest = entry.partition(":")
    role, _, sha256 = rest.rpartition(":")
    fit = fit_name(name)
    if fit is None or role not in ("", *Role) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ConfigurationError(
            f"Entry {number} of {where} is not name:role:sha256; `oem-submissions desk-token NAME` makes one."
        )
    return KnownToken(User(fit, Role(role or Role.VIEWER)), sha256)


class Tokens:
    """The tokens that are let in."""

    def __init__(self, known: list[KnownToken]) -> None:
        self._known = known
        self._failures = Budget(10, 100)

    def visit(self, token: str, address: str) -> Visit:
        """Whose token it is. Raises `Refused` 401, or 429 after too many wrong ones; a right one always goes."""
        found = self._find(token)
        if found is not None:
            return Visit(found, "token", f"token {found.name}", forms=False)
        if not self._failures.spend(address):
            raise Refused(429, "Too many wrong tokens: wait a minute.", {"Retry-After": "60"})
        raise Refused(401, "The token is not known here.", _CHALLENGE)

    def _find(self, token: str) -> User | None:
        """All are compared, in constant time: how long it takes tells nothing."""
        if not _TOKEN.fullmatch(token):
            return None
        sha256 = _sha256(token)
        matches = [known.user for known in self._known if hmac.compare_digest(known.sha256, sha256)]
        return matches[0] if matches else None


class NoPeople:
    """The way of people when there is none: only machines with a token are let in."""

    name = "none"
    invitation = "Only machines are let in here, with a token: `Authorization: Bearer …`."

    def visit(self, _: object) -> None:
        """Nobody."""
        return


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
