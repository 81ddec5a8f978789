"""Who is at the desk, and what they may do. Pages ask here; how somebody signs in is not decided here."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request

from oem_submissions.domain.desk_log import DeskAction

NAME_CHARACTERS = 100
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Role(StrEnum):
    """What somebody may do at the desk."""

    VIEWER = "viewer"
    """Look everything up, download, verify."""
    OPERATOR = "operator"
    """Also decide: verdicts, redrives, releases, legal holds."""


@dataclass(frozen=True)
class User:
    """Somebody who signed in."""

    name: str
    """Goes into the ledger with every decision."""
    role: Role


class Refused(Exception):
    """Somebody is not let in, or not let do it: a status, and one sentence for them and for the log."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Visit:
    """A request's visitor."""

    user: User
    way: str
    """How they are known, for the log."""
    subject: str
    """What their forms are bound to: another visitor's, or another session's, forms don't fit."""
    forms: bool = True
    """Whether a browser sends their proof by itself, so that what they send must come from a form of ours."""


class Way(Protocol):
    """How people are known."""

    name: str
    invitation: str
    """What somebody whom it does not know should do, a sentence."""

    def visit(self, request: Request) -> Visit | None:
        """Who asks; None when nobody says. Raises `Refused` when somebody says so, and wrongly."""
        ...


Note = Callable[[DeskAction, Visit | None, str, str], None]
"""Writes a line about a request into the desk's log: what, by whom, at what, how it ended."""


def current_user(request: Request) -> User:
    """Who asks. The access middleware has put them there: without it there is nobody, and nothing is shown."""
    user = getattr(request.state, "user", None)
    if not isinstance(user, User):
        raise HTTPException(401, "Sign in first.")
    return user


def require_operator(request: Request) -> User:
    """Who asks, if they may decide. Raises `HTTPException` 403 for a viewer."""
    user = current_user(request)
    if user.role is not Role.OPERATOR:
        raise HTTPException(403, may_not_decide(user))
    return user


def may_not_decide(user: User) -> str:
    """What a viewer is told."""
    return f"{user.name} may look at everything here, but decide nothing: ask an operator."


def csrf_token(request: Request) -> str:
    """The token that every form of this page must send back as `csrf`; the access middleware checks it."""
    return str(request.state.csrf)


def can_sign_out(request: Request) -> bool:
    """Whether a link to `/sign-out` belongs on the page."""
    return bool(getattr(request.state, "can_sign_out", False))


@dataclass(frozen=True)
class RoleRules:
    """Which claims of an identity make which user."""

    role_claim: str
    name_claim: str
    operators: frozenset[str]
    viewers: frozenset[str]

    def user(self, claims: Mapping[str, Any]) -> User:
        """The user. Raises `Refused` when the identity has no fit name, or no role here."""
        if self.name_claim == "email" and claims.get("email_verified") is False:
            raise Refused(403, "Your identity provider has not verified your e-mail address, so it names nobody.")
        name = fit_name(_claim(claims, self.name_claim))
        if name is None:
            raise Refused(403, f"Your identity has no name in '{self.name_claim}' that the desk could write down.")
        found = _claim(claims, self.role_claim)
        values = {value for value in (found if isinstance(found, list) else [found]) if isinstance(value, str)}
        if values & self.operators:
            return User(name, Role.OPERATOR)
        if values & self.viewers:
            return User(name, Role.VIEWER)
        raise Refused(403, f"{name} is known, but has no role at the desk: ask who runs it for one.")


def fit_name(name: object) -> str | None:
    """The name, if it can be written down and read as it is: one line, nothing hidden, at most 100 characters."""
    if not isinstance(name, str):
        return None
    text = unicodedata.normalize("NFC", name).strip()
    if not 0 < len(text) <= NAME_CHARACTERS or any(unicodedata.category(char) in _HIDDEN for char in text):
        return None
    return text


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """A claim by its name, or by its path with dots, as some providers nest roles."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
