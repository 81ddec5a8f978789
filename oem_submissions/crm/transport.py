"""How CRMs are reached over HTTP: TLS, time-outs, no redirects. What is asked and answered is not in here."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

from oem_submissions.domain.failures import ConfigurationError

TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and between two pieces of an answer."""


class Transport(HTTPAdapter):
    """Trusts a CA file beside the usual ones, and never waits without end, whatever a client library forgets."""

    def __init__(self, ca_file: Path | None, timeout: tuple[float, float]) -> None:
        self._context: ssl.SSLContext = create_urllib3_context()
        self._timeout = timeout
        if ca_file is not None:
            try:
                self._context.load_verify_locations(str(ca_file))
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(f"The CRM's CA file '{ca_file}' can't be read as PEM: {error}.") from error
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **kwargs, ssl_context=self._context)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        return super().send(request, *args, **kwargs)


def session(ca_file: Path | None, timeout: tuple[float, float] = TIMEOUT) -> requests.Session:
    """A session that trusts a CA file beside the usual ones, follows no redirect, and sends no password of a file's."""
    made = requests.Session()
    for scheme in ("https://", "http://"):
        made.mount(scheme, Transport(ca_file, timeout))
    made.max_redirects = 0  # a token goes where it belongs, and nowhere else
    made.auth = _keep_header  # else a .netrc entry of this host would replace the token
    return made


def _keep_header(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
