"""Who is at the desk, and what they may do. Pages ask here; how somebody signs in is not decided here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from starlette.exceptions import HTTPException
from starlette.requests import Request


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
        raise HTTPException(403, f"{user.name} may look at everything here, but decide nothing: ask an operator.")
    return user


def csrf_token(request: Request) -> str:
    """The token that every form of this page must send back as `csrf`; the access middleware checks it."""
    return str(request.state.csrf)
