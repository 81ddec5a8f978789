"""An OpenID provider, as its client: discovery, the address to sign in at, the code for a checked ID token.

Authorization code with PKCE (OpenID Connect Core 1.0, RFC 7636, RFC 9207). Cookies and pages are in `sign_in`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from oem_submissions.desk.access import Refused
from oem_submissions.desk.identity_tokens import TokenWrong, verified_claims
from oem_submissions.desk.sessions import Pending
from oem_submissions.settings import OidcSettings, is_loopback, is_safe_url

ALGORITHMS = ("RS256", "ES256")
TIMEOUT_SECONDS = 10.0
TOKEN_SECONDS = 600
"""An ID token that is older was not issued for this sign-in."""
FRESH_SECONDS = 3600.0
"""For so long the provider's description and keys are believed: a key that it withdrew must not be good for ever."""
KEYS_SECONDS = 10.0
"""So often, at most, keys are fetched again because of a token that none of them fits."""
TROUBLE_SECONDS = 5.0
"""For so long a provider that could not be asked is not asked again: strangers would make the desk wait for it."""


@dataclass(frozen=True)
class Description:
    """What the provider says of itself (OpenID Connect Discovery 1.0)."""

    authorization: str
    token: str
    keys: str
    end_session: str | None
    basic: bool
    """Whether the client's secret goes into the Authorization header; else into the form."""
    names_itself: bool
    """Whether it promises `iss` in its answer (RFC 9207)."""
    at: float


class Provider:
    """The provider of the settings; one for all threads. Its troubles are `Refused` 503."""

    def __init__(
        self,
        settings: OidcSettings,
        secret: str | None,
        redirect_uri: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._secret, self._redirect_uri, self._clock = secret, redirect_uri, clock
        self._tls = httpx.create_ssl_context()
        self._lock = threading.Lock()
        self._description: Description | None = None
        self._trouble: tuple[float, Refused] | None = None
        self._keys: tuple[float, KeySet] | None = None

    # --- going there ----------------------------------------------------------------------------------------------

    def address(self, pending: Pending) -> str:
        """Where the browser goes to sign in."""
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self.settings.scopes,
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": create_s256_code_challenge(pending.verifier),
            "code_challenge_method": "S256",
        }
        return _with_query(self.describe().authorization, asked)

    def end_session(self, back: str) -> str | None:
        """Where the provider's own session ends (RP-Initiated Logout 1.0); None when it does not say."""
        address = self.describe().end_session
        if address is None:
            return None
        return _with_query(address, {"client_id": self.settings.client_id, "post_logout_redirect_uri": back})

    # --- coming back ----------------------------------------------------------------------------------------------

    def check_issuer(self, issuer: str | None) -> None:
        """Whether the answer comes from this provider (RFC 9207). Raises `Refused`."""
        missing = issuer is None and self.describe().names_itself
        if missing or issuer not in (None, self.settings.issuer):
            raise Refused(403, "The answer is not from the identity provider that was asked.")

    def claims(self, code: str, pending: Pending) -> dict[str, Any]:
        """Who signed in, by the checked ID token. Raises `Refused`."""
        answer = self._exchange(code, pending.verifier)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Refused(403, "The identity provider gave no ID token: the scope must have `openid`.")
        try:
            header, claims = self._verified(token)
        except TokenWrong as error:
            raise Refused(403, f"The identity provider's ID token is not good: {error}.") from error
        access_token = answer.get("access_token")
        params = {"nonce": pending.nonce, "client_id": self.settings.client_id, "access_token": access_token}
        try:
            CodeIDToken(claims, header, params=params).validate(int(self._clock()), leeway=30)
        except (JoseError, TypeError) as error:
            wrong = getattr(error, "claim", None) or "a claim"
            raise Refused(
                403, f"The identity provider's ID token is not for this sign-in: {wrong} is wrong."
            ) from error
        return claims

    def _exchange(self, code: str, verifier: str) -> dict[str, Any]:
        description = self.describe()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
            "client_id": self.settings.client_id,
        }
        auth = None
        if self._secret is not None and description.basic:
            auth = httpx.BasicAuth(quote(self.settings.client_id, safe=""), quote(self._secret, safe=""))
        elif self._secret is not None:
            form["client_secret"] = self._secret
        answer = self._json("POST", description.token, data=form, auth=auth)
        if "error" in answer:
            raise Refused(403, "The identity provider did not accept the sign-in's code: begin again.")
        return answer

    def _verified(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """With the keys at hand; with the newest when they don't fit."""
        try:
            return self._verified_by(self._key_set(at_hand=True), token)
        except TokenWrong:
            newest = self._key_set(at_hand=False)
            return self._verified_by(newest, token)

    def _verified_by(self, keys: KeySet, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        return verified_claims(
            token, keys, ALGORITHMS, issuer=self.settings.issuer, audience=self.settings.client_id,
            max_age=TOKEN_SECONDS, clock=self._clock,
        )  # fmt: skip

    def _key_set(self, at_hand: bool) -> KeySet:
        held, now = self._keys, self._clock()
        if held is not None and now - held[0] < (FRESH_SECONDS if at_hand else KEYS_SECONDS):
            return held[1]
        data = self._json("GET", self.describe().keys)
        try:
            keys = KeySet.import_key_set(data)  # type: ignore[arg-type]
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _trouble(self.settings.issuer, "its keys can't be read") from error
        self._keys = (now, keys)
        return keys

    # --- asking it ------------------------------------------------------------------------------------------------

    def describe(self) -> Description:
        """What it says of itself, at most an hour ago. Raises `Refused` 503."""
        with self._lock:
            held, trouble, now = self._description, self._trouble, self._clock()
            if held is not None and now - held.at < FRESH_SECONDS:
                return held
            if trouble is not None and now - trouble[0] < TROUBLE_SECONDS:
                raise Refused(trouble[1].status, trouble[1].text)
            address = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
            try:
                self._description = self._described(self._json("GET", address), now)
            except Refused as refused:
                self._trouble = self._clock(), refused
                raise
            return self._description

    def _described(self, said: dict[str, Any], now: float) -> Description:
        issuer = self.settings.issuer
        if said.get("issuer") != issuer:
            raise _trouble(issuer, "it calls itself by another name than OEM_SUBMISSIONS_OIDC_ISSUER")
        addresses = [said.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        end = said.get("end_session_endpoint")
        if not all(isinstance(address, str) and is_safe_url(address) for address in addresses):
            raise _trouble(issuer, "an address that it gives is missing or not https")
        methods = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        return Description(
            authorization=str(addresses[0]),
            token=str(addresses[1]),
            keys=str(addresses[2]),
            end_session=end if isinstance(end, str) and is_safe_url(end) else None,
            basic="client_secret_basic" in methods,
            names_itself=said.get("authorization_response_iss_parameter_supported") is True,
            at=now,
        )

    def _json(self, method: str, address: str, **options: Any) -> dict[str, Any]:
        """Its answer. What it answers is not shown: codes and tokens may be in it."""
        near = is_loopback(urlsplit(address).hostname or "")  # no site's proxy leads there
        try:
            with httpx.Client(verify=self._tls, timeout=TIMEOUT_SECONDS, trust_env=not near) as http:
                answer = http.request(method, address, headers={"Accept": "application/json"}, **options)
            data = answer.json()
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            raise _trouble(self.settings.issuer, f"{urlsplit(address).path}: {type(error).__name__}") from error
        refused = method == "POST" and answer.status_code in (400, 401) and isinstance(data, dict) and "error" in data
        if not isinstance(data, dict) or not (answer.is_success or refused):
            raise _trouble(self.settings.issuer, f"{urlsplit(address).path} answers {answer.status_code}")
        return data


def _trouble(issuer: str, what: str) -> Refused:
    return Refused(503, f"The identity provider {issuer} can't be used ({what}): try again, or tell who runs the desk.")


def _with_query(address: str, values: dict[str, str]) -> str:
    joined = "&" if urlsplit(address).query else "?"
    return f"{address}{joined}{urlencode(values)}"
