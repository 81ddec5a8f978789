"""A made-up OpenID provider that really listens, keeps to the protocol, and breaks it where a test wants it to."""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from oem_submissions_tests.desk.access import listening

CLIENT, SECRET = "evidence-desk", "made up: % and +"
Claims = dict[str, Any]


def ec_key(kid: str) -> ECKey:
    """A P-256 key."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


@dataclass
class MadeUpProvider:
    """Signs everybody in at once as `person`, unless `asks`: then with a button."""

    issuer: str
    person: Claims = field(default_factory=lambda: {"preferred_username": "ana", "groups": ["evidence-operators"]})
    asks: bool = False
    key: ECKey | RSAKey = field(default_factory=lambda: ec_key("first"))
    published: list[ECKey | RSAKey] = field(default_factory=list)
    tamper: Callable[[Claims], Claims] = lambda claims: claims
    sign: Callable[[Claims], str] | None = None
    answer: Claims = field(default_factory=dict)
    """Laid over the redirect back."""
    description: Claims = field(default_factory=dict)
    """Laid over what it says of itself."""
    codes: dict[str, Claims] = field(default_factory=dict)
    asked: list[Claims] = field(default_factory=list)
    """Of every authorization request."""
    token_problems: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        """Its endpoints."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.describe),
                Route("/authorize", self.authorize),
                Route("/signed-in", self.signed_in, methods=["POST"]),
                Route("/token", self.token, methods=["POST"]),
                Route("/keys", self.keys),
                Route("/elsewhere", self.elsewhere),
            ]
        )

    def describe(self, _: Request) -> Response:
        own = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/bye",
            "authorization_response_iss_parameter_supported": True,
        }
        return JSONResponse(own | self.description)

    def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(asked)
        if not self.asks:
            return RedirectResponse(self._back(asked), 302)
        fields = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in asked.items())
        return HTMLResponse(f'<form action="/signed-in" method="post">{fields}<button>It is me</button></form>')

    async def signed_in(self, request: Request) -> Response:
        form = await request.form()
        return RedirectResponse(self._back({name: str(value) for name, value in form.items()}), 303)

    def _back(self, asked: Claims) -> str:
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.issuer} | self.answer
        return f"{asked['redirect_uri']}?{urlencode({k: v for k, v in answer.items() if v is not None})}"

    async def token(self, request: Request) -> Response:
        """The ID token for a code; what was wrong with the request is kept for the test."""
        form = {name: str(value) for name, value in (await request.form()).items()}
        user, _, password = base64.b64decode(request.headers["authorization"][6:]).decode().partition(":")
        asked = self.codes.pop(form["code"], None)
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        )
        wrong = {
            "client": (unquote(user), unquote(password)) != (CLIENT, SECRET),
            "code": asked is None,
            "verifier": asked is not None and challenge != asked["code_challenge"],
            "redirect": asked is not None and form["redirect_uri"] != asked["redirect_uri"],
        }
        self.token_problems += [name for name, is_wrong in wrong.items() if is_wrong]
        if asked is None or any(wrong.values()):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        own = {"iss": self.issuer, "sub": "subject-7", "aud": CLIENT, "iat": now, "exp": now + 300}
        claims = self.tamper({**own, "nonce": asked["nonce"], **self.person})
        token = self.sign(claims) if self.sign else self.signed(claims, self.key)
        return JSONResponse({"access_token": "opaque", "token_type": "Bearer", "id_token": token})

    @staticmethod
    def signed(claims: Claims, key: ECKey | RSAKey) -> str:
        """A token by this key."""
        algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
        return jwt.encode({"alg": algorithm, "kid": key.kid}, claims, key, [algorithm])

    def keys(self, _: Request) -> Response:
        return JSONResponse(KeySet(self.published or [self.key]).as_dict(private=False))

    def elsewhere(self, request: Request) -> Response:
        """A page of another site, whose button sends a form to the desk."""
        fields = f'<input name="csrf" value="{request.query_params["csrf"]}"><input name="verdict" value="filed">'
        action = request.query_params["action"]
        return HTMLResponse(f'<form action="{action}" method="post">{fields}<button>Win a prize</button></form>')


@contextmanager
def provider_listening() -> Iterator[MadeUpProvider]:
    """The provider; its issuer is where it listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    provider = MadeUpProvider(f"http://127.0.0.1:{listener.getsockname()[1]}")
    with listening(provider.app(), listener):
        yield provider
