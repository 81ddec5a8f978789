"""Serves the desk over HTTP. Until the desk has a log-in it listens on this machine only."""

from __future__ import annotations

import ipaddress

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware

from oem_submissions.domain.failures import ConfigurationError


def serve(app: Starlette, host: str, port: int) -> None:
    """Serve until interrupted. Raises `ConfigurationError` when `host` is not a loopback address."""
    check_host(host)
    uvicorn.run(guarded(app), host=host, port=port, log_level="warning", server_header=False, access_log=False)


def guarded(app: Starlette) -> TrustedHostMiddleware:
    """The application, for this machine's own names only.

    A page elsewhere could point its own name at this machine, and read the desk through the visitor's browser.
    """
    return TrustedHostMiddleware(app, allowed_hosts=["127.0.0.1", "localhost", "[::1]", "::1"])


def check_host(host: str) -> None:
    """Raises `ConfigurationError` for an address that other machines could reach."""
    if host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigurationError(
            f"The desk has no log-in yet and would show claims to everybody who can reach {host}: "
            "let it listen on 127.0.0.1, and reach it through an SSH tunnel."
        )
