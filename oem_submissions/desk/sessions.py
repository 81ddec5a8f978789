"""Who is signed in, in a cookie that is signed and ends after eight hours; and sign-ins under way, likewise.

Nothing is kept here but the sessions that were signed out, until they would have ended: a copied cookie is then worth
nothing at this process.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from oem_submissions.desk.access import Role, User, Visit, fit_name
from oem_submissions.desk.signatures import HOW, signer_on

SESSION_SECONDS = 8 * 3600
SIGN_IN_SECONDS = 600


@dataclass(frozen=True)
class Pending:
    """A sign-in under way: what its end is checked against."""

    state: str
    nonce: str
    verifier: str
    """Of PKCE (RFC 7636)."""
    target: str
    """Where it leads, a path of the desk."""


class Sessions:
    """Cookies of the desk. `secure`: the desk is served by https; then no other host of the domain can set them."""

    def __init__(self, key: bytes, secure: bool, clock: Callable[[], float] = time.time) -> None:
        self._secure, self._clock = secure, clock
        self._prefix = "__Host-" if secure else ""
        self._session = _serializer(key, "desk session", clock)
        self._pending = _serializer(key, "desk sign-in", clock)
        self._lock = threading.Lock()
        self._ended: dict[str, float] = {}

    # --- sessions -------------------------------------------------------------------------------------------------

    def visit(self, request: Request) -> Visit | None:
        """Who is signed in; None for nobody, or when it was too long ago."""
        found = self._read(request)
        return Visit(found[0], "oidc", f"session {found[1]}") if found else None

    def begin(self, request: Request, response: Response, user: User) -> Visit:
        """A new session; the one that the browser had ends."""
        self._end_old(request)
        identity = secrets.token_urlsafe(18)
        value = self._session.dumps({"name": user.name, "role": user.role.value, "id": identity})
        self._set(response, "desk-session", value, SESSION_SECONDS)
        return Visit(user, "oidc", f"session {identity}")

    def end(self, request: Request, response: Response) -> None:
        """Sign out."""
        self._end_old(request)
        self._delete(response, "desk-session")

    def _read(self, request: Request) -> tuple[User, str] | None:
        held = _loaded(self._session, request.cookies.get(f"{self._prefix}desk-session"), SESSION_SECONDS)
        name = fit_name(held.get("name"))
        if name is None or held.get("role") not in list(Role) or not isinstance(held.get("id"), str):
            return None
        with self._lock:
            if held["id"] in self._ended:
                return None
        return User(name, Role(held["role"])), held["id"]

    def _end_old(self, request: Request) -> None:
        if (old := self._read(request)) is None:
            return
        now = self._clock()
        with self._lock:
            self._ended = {identity: until for identity, until in self._ended.items() if until > now}
            self._ended[old[1]] = now + SESSION_SECONDS

    # --- sign-ins under way ---------------------------------------------------------------------------------------

    def start(self, response: Response, pending: Pending) -> None:
        """Remember it in the browser, apart from others: people open several links at once."""
        self._set(response, _pending_name(pending.state), self._pending.dumps(asdict(pending)), SIGN_IN_SECONDS)

    def pending(self, request: Request, state: str) -> Pending | None:
        """The sign-in that this browser began with the state; None when it did not, or too long ago."""
        held = _loaded(self._pending, request.cookies.get(self._prefix + _pending_name(state)), SIGN_IN_SECONDS)
        if not hmac.compare_digest(str(held.get("state", "")).encode(), state.encode()):
            return None
        return Pending(**held)

    def drop(self, response: Response, state: str) -> None:
        """It is over."""
        self._delete(response, _pending_name(state))

    # --- cookies --------------------------------------------------------------------------------------------------

    def _set(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            self._prefix + name, value, max_age=seconds, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    def _delete(self, response: Response, name: str) -> None:
        response.delete_cookie(self._prefix + name, path="/", secure=self._secure, httponly=True, samesite="lax")


def _pending_name(state: str) -> str:
    return f"desk-sign-in-{hashlib.sha256(state.encode()).hexdigest()[:12]}"


def _serializer(key: bytes, salt: str, clock: Callable[[], float]) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(key, salt=salt, signer=signer_on(clock), signer_kwargs=HOW)


def _loaded(serializer: URLSafeTimedSerializer, cookie: str | None, seconds: int) -> dict[str, Any]:
    if cookie is None:
        return {}
    try:
        held = serializer.loads(cookie, max_age=seconds)
    except BadData:
        return {}
    return held if isinstance(held, dict) else {}
