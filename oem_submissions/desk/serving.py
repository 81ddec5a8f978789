"""Serves the desk: the pages behind the gate, the gate behind the fixed headers, and who is let in by the settings."""

from __future__ import annotations

from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp

from oem_submissions.desk.access import RoleRules, Way
from oem_submissions.desk.app import FixedHeaders
from oem_submissions.desk.forms import Forms
from oem_submissions.desk.gate import Access, Gate
from oem_submissions.desk.loopback import Loopback
from oem_submissions.desk.oidc import Provider
from oem_submissions.desk.sessions import Sessions
from oem_submissions.desk.sign_in import CALLBACK, SignIn
from oem_submissions.desk.signed_header import SignedHeader
from oem_submissions.desk.tokens import NoPeople, Tokens, read_tokens
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.ports import AccessLog, Secrets
from oem_submissions.settings import Settings, is_loopback, is_safe_url

CLIENT_SECRET = "desk/oidc_client_secret"  # noqa: S105 - its name
PROXY_KEY = "desk/proxy_key"
TOKENS = "desk/tokens"
SESSION_KEY = "desk/session_key"
_HSTS = {"Strict-Transport-Security": "max-age=31536000"}


def with_access(app: ASGIApp, access: Access) -> ASGIApp:
    """The desk, for those only who are let in."""
    https = access.origin is not None and access.origin.startswith("https://")
    return FixedHeaders(Gate(app, access), _HSTS if https else None)


def serve(app: ASGIApp, access: Access, host: str, port: int) -> None:
    """Serve until interrupted. Raises `ConfigurationError` when strangers would be let in."""
    if isinstance(access.way, Loopback) and not is_loopback(host):
        raise ConfigurationError(_no_way(host))
    # Addresses in the log are those of connections: a header that names another could be anybody's.
    uvicorn.run(
        with_access(app, access), host=host, port=port, log_level="warning", server_header=False, access_log=False,
        proxy_headers=False,
    )  # fmt: skip


def access_for(settings: Settings, secrets: Secrets, host: str, key: bytes, person: str, log: AccessLog) -> Access:
    """Who is let in: by the ways that are set up, and only on this machine by none.

    `key` signs sessions and forms. A way that is set up holds on this machine too: a proxy may pass strangers on.
    Raises `ConfigurationError` when the desk must not start like that.
    """
    tokens = Tokens(read_tokens(text, secrets.where(TOKENS))) if (text := secrets.find(TOKENS)) else None
    if not (settings.desk.oidc or settings.desk.proxy or tokens):
        there = urlsplit(settings.desk_url).hostname or settings.desk_url
        for place in (host, there):
            if not is_loopback(place):
                raise ConfigurationError(_no_way(place))
        return Access(Loopback(person), Forms(key), log)
    origin = _origin(settings.desk_url)
    way, sign_in = _way(settings, secrets, key, origin)
    return Access(way, Forms(key), log, tokens, sign_in, origin)


def _way(settings: Settings, secrets: Secrets, key: bytes, origin: str) -> tuple[Way, SignIn | None]:
    desk = settings.desk
    if (oidc := desk.oidc) is not None:
        rules = RoleRules(oidc.role_claim, oidc.name_claim, desk.operators, desk.viewers)
        provider = Provider(oidc, secrets.find(CLIENT_SECRET), origin + CALLBACK)
        sign_in = SignIn(provider, Sessions(key, origin.startswith("https://")), rules, origin)
        return sign_in, sign_in
    if (proxy := desk.proxy) is not None:
        rules = RoleRules(proxy.role_claim, proxy.name_claim, desk.operators, desk.viewers)
        return SignedHeader(proxy, rules, secrets.find(PROXY_KEY)), None
    return NoPeople(), None


def _origin(desk_url: str) -> str:
    """As browsers write it. Raises `ConfigurationError` when what people send could be read on its way."""
    parts = urlsplit(desk_url)
    if not is_safe_url(desk_url) or parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(
            f"OEM_SUBMISSIONS_DESK_URL is {desk_url}; for a desk that people sign in at it should be "
            "https://, a host and nothing else, and TLS should end at the proxy before the desk."
        )
    port = f":{parts.port}" if parts.port and parts.port != {"https": 443, "http": 80}[parts.scheme] else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def _no_way(place: str) -> str:
    return (
        f"The desk would show claims to everybody who can reach {place}: let people sign in "
        "(OEM_SUBMISSIONS_OIDC_ISSUER and OEM_SUBMISSIONS_OIDC_CLIENT_ID), believe a proxy that signs who they are "
        "(OEM_SUBMISSIONS_PROXY_AUDIENCE), or let machines in by token (OEM_SUBMISSIONS_SECRET_DESK_TOKENS); or keep "
        "OEM_SUBMISSIONS_DESK_HOST and OEM_SUBMISSIONS_DESK_URL on 127.0.0.1."
    )
