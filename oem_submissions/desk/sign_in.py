"""The desk's pages for signing in and out by an identity provider, and the way that knows people by their session."""

from __future__ import annotations

import re
import secrets
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from oem_submissions.desk.access import Note, Refused, RoleRules, Visit
from oem_submissions.desk.oidc import Provider
from oem_submissions.desk.outside import outside_page
from oem_submissions.desk.sessions import Pending, Sessions
from oem_submissions.domain.desk_log import DeskAction

SIGN_IN = "/sign-in"
CALLBACK = "/sign-in/callback"
SIGN_OUT = "/sign-out"
_LOCAL = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")
"""A path and query with what RFC 3986 lets them hold: no control character, no backslash, no fragment."""
_LONGEST = 1500
"""It goes into a cookie, which browsers keep up to 4 kB."""


def local_path(target: str | None) -> str:
    """The target, if it is a page of the desk; else the first page. Nobody is led to another site from here."""
    if target is None or len(target) > _LONGEST or not _LOCAL.fullmatch(target):
        return "/"
    if target.startswith("//") or target.startswith((SIGN_IN, SIGN_OUT)):
        return "/"
    return target


class SignIn:
    """Signing in and out, with `Sessions` to remember it."""

    name = "oidc"

    def __init__(self, provider: Provider, sessions: Sessions, rules: RoleRules, origin: str) -> None:
        self._provider, self._sessions, self._rules, self._origin = provider, sessions, rules, origin
        self.invitation = f"People sign in at {origin}{SIGN_IN}."

    def visit(self, request: Request) -> Visit | None:
        """Who is signed in."""
        return self._sessions.visit(request)

    def go(self, target: str) -> Response:
        """To the provider, by a page that leads on by itself. Raises `Refused` 503.

        Not by a redirect: a look-up that is sent when the session has ended comes here as a form, and the pages'
        `form-action 'self'` forbids forms to be redirected to another site.
        """
        pending = Pending(_chance(), _chance(), _chance(), target)
        address = self._provider.address(pending)
        host = urlsplit(address).netloc
        response = outside_page(
            200, f"You are being led to {host}, and back to the page afterwards.",
            link=(address, f"Sign in at {host}"), headers={"Refresh": f"0; url={address}"},
        )  # fmt: skip
        self._sessions.start(response, pending)
        return response

    def come_back(self, request: Request, note: Note) -> Response:
        """From the provider: the code for an identity, the identity for a session. Raises `Refused`."""
        asked = request.query_params
        state = asked.get("state", "")
        pending = self._sessions.pending(request, state) if state else None
        if pending is None or len(asked.getlist("state")) != 1:
            raise Refused(403, "This sign-in was not begun in this browser, or too long ago, or is over: begin again.")
        self._provider.check_issuer(asked.get("iss"))
        if "error" in asked:
            raise Refused(403, f"The identity provider did not let you in ({_word(asked['error'])}).")
        claims = self._provider.claims(asked.get("code", ""), pending)
        user = self._rules.user(claims)
        response = RedirectResponse(local_path(pending.target), 303, {"Cache-Control": "no-store"})
        visit = self._sessions.begin(request, response, user)
        note(DeskAction.SIGN_IN, visit, str(claims["sub"]), "signed in")
        self._sessions.drop(response, state)
        return response

    def ask(self, visit: Visit, csrf: str) -> Response:
        """Who is signed in, and the button that ends it."""
        text = f"You are signed in as {visit.user.name}, {visit.user.role}."
        form = {"action": SIGN_OUT, "csrf": csrf, "button": "Sign out"}
        return outside_page(200, text, "Sign out", link=("/", "Recent claims"), form=form)

    def out(self, request: Request, visit: Visit, note: Note) -> Response:
        """The session ends here; the provider's own goes on, and the page says where that ends."""
        note(DeskAction.SIGN_OUT, visit, SIGN_OUT, "signed out")
        host = urlsplit(self._provider.settings.issuer).netloc
        try:
            there = self._provider.end_session(f"{self._origin}/")
        except Refused:
            there = None
        text = f"You are signed out of the desk. At {host} you may still be signed in."
        link = (there, f"Sign out of {host} too") if there else (SIGN_IN, "Sign in")
        response = outside_page(200, text, "Signed out", link=link)
        self._sessions.end(request, response)
        return response


def _chance() -> str:
    """256 bits; as a verifier it is as long as RFC 7636 asks for."""
    return secrets.token_urlsafe(32)


def _word(text: str) -> str:
    """The provider's error code, if it looks like one."""
    return text if re.fullmatch(r"[a-z_]{1,50}", text) else "it does not say why"
