"""Requests to a JSON API: log-in, patience with limits, and what an error means. What is asked is in `rest.py`."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import jmespath
import requests

from oem_submissions.crm.mapping import BasicAuth, OAuth, RestMapping, TokenAuth
from oem_submissions.crm.transport import session
from oem_submissions.crm.untrusted import quoted
from oem_submissions.ports import CrmOutage, CrmUnavailable

PATIENCE = 20.0
"""Seconds that one call waits at the most, when the CRM asks for it. A worker keeps its account's lease meanwhile."""
_LARGEST = 64 * 1024 * 1024
_BUSY = (429, 503)
_REMEDIES = {
    400: "compare the CRM's mapping with what its API takes",
    401: "check the log-in in the secrets crm/…",
    403: "give our user access to the records",
    404: "check the paths of the CRM's mapping",
    415: "compare the CRM's mapping with what its API takes",
    422: "compare the CRM's mapping with what its API takes",
}
_RETRY = "it is tried again by itself, and if it stays, check that the CRM is up and its address is right"


@dataclass(frozen=True)
class Answer:
    """What came back, read to its end."""

    status: int
    url: str
    headers: Mapping[str, str]
    links: Mapping[str, Mapping[str, str]]
    body: bytes

    @cached_property
    def _parsed(self) -> Any:
        return json.loads(self.body)

    def json(self) -> Any:
        """Raises `ValueError`."""
        return self._parsed


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the other side asks to wait (RFC 9110, 10.2.3); None when it does not say."""
    text = headers.get("Retry-After")
    if text is None:
        return None
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


class RestApi:
    """Sends and waits. Raises `CrmUnavailable` for whatever the CRM or the network does wrong, `CrmOutage` for all of
    it."""

    def __init__(
        self,
        mapping: RestMapping,
        secret: Callable[[str], str],
        ca_file: Path | None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._mapping, self._wait = mapping, wait
        self._session = session(ca_file)
        self._session.headers.update(mapping.headers)
        self._secrets: list[str] = []

        def kept(name: str) -> str:
            self._secrets.append(secret(name))
            return self._secrets[-1]

        auth = mapping.auth
        self._grant: dict[str, str] | None = None
        if isinstance(auth, BasicAuth):
            pair = f"{kept('crm/username')}:{kept('crm/password')}".encode()
            self._session.headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        elif isinstance(auth, TokenAuth):
            self._session.headers[auth.header] = auth.prefix + kept("crm/token")
        elif isinstance(auth, OAuth):
            self._grant = {"grant_type": auth.grant, **({"scope": auth.scope} if auth.scope else {})}
            self._grant |= {"client_id": kept("crm/client_id"), "client_secret": kept("crm/client_secret")}
            if auth.grant == "refresh_token":
                self._grant["refresh_token"] = kept("crm/refresh_token")

    def close(self) -> None:
        """Lets go of the sockets."""
        self._session.close()

    def ask(
        self,
        attempt: str,
        method: str,
        where: str,
        query: Mapping[str, str],
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        allowed: tuple[int, ...] = (),
    ) -> Answer:
        """The answer, when it is a good one or its status is `allowed`; `attempt` ends "The CRM did not …"."""
        with self.streaming(attempt, where, method, query, body, headers, allowed) as response:
            data = bytearray()
            for chunk in response.iter_content(64 * 1024):
                data += chunk
                if len(data) > _LARGEST:
                    raise self._failed(attempt, "its answer has no end", "make its pages smaller")
            links = {str(name): link for name, link in response.links.items()}
            return Answer(response.status_code, response.url, response.headers, links, bytes(data))

    @contextmanager
    def streaming(
        self,
        attempt: str,
        where: str,
        method: str = "GET",
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        allowed: tuple[int, ...] = (404, 410),
    ) -> Iterator[requests.Response]:
        """The same, not read yet."""
        url = urljoin(f"{self._mapping.url}/", where)
        try:
            with self._sent(attempt, method, url, query, body, headers) as response:
                if not response.ok and response.status_code not in allowed:
                    raise self._refused(attempt, response)
                yield response
        except requests.RequestException as error:
            raise self._unreachable(attempt, error) from error

    @contextmanager
    def making_sense(self, attempt: str) -> Iterator[None]:
        """Around the reading of an answer: what is not as it should be becomes `CrmUnavailable`."""
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            why = f"its answer makes no sense ({type(error).__name__}: {quoted(str(error), self._secrets)})"
            raise self._failed(attempt, why, "compare the CRM's mapping with what its API answers") from error

    def _sent(
        self, attempt: str, method: str, url: str, query: Any, body: Any, headers: Mapping[str, str] | None
    ) -> requests.Response:
        """Sent, again when the log-in has expired (once) or the CRM asks for patience (as long as we have some)."""
        left, renewed = PATIENCE, False
        while True:
            if self._grant is not None and "Authorization" not in self._session.headers:
                self._log_in()
            response = self._session.request(method, url, params=query, json=body, headers=headers, stream=True)
            seconds = retry_after(response.headers) if response.status_code in _BUSY else None
            if response.status_code == requests.codes.unauthorized and self._grant is not None and not renewed:
                renewed = True
                del self._session.headers["Authorization"]
            elif seconds is None:
                return response
            elif seconds > left:
                response.close()
                raise self._outage(attempt, f"it asks to wait {seconds:.0f} s (HTTP {response.status_code})", _RETRY)
            else:
                left -= max(seconds, 0.1)
                self._wait(seconds)
            response.close()

    def _log_in(self) -> None:
        attempt, auth = "log us in", self._mapping.auth
        assert isinstance(auth, OAuth), "nobody else has a grant"
        assert self._grant is not None
        response = self._session.post(auth.token_url, data=self._grant)
        if response.status_code != requests.codes.ok:
            raise self._outage(attempt, f"HTTP {response.status_code} from {auth.token_url}", _REMEDIES[401])
        with self.making_sense(attempt):
            answer = response.json()
            token = str(answer["access_token"])
            if answer.get("refresh_token") and "refresh_token" in self._grant:
                self._grant["refresh_token"] = str(answer["refresh_token"])
                self._secrets.append(self._grant["refresh_token"])
        self._secrets.append(token)
        self._session.headers["Authorization"] = f"Bearer {token}"

    def _refused(self, attempt: str, response: requests.Response) -> CrmUnavailable:
        status, said = response.status_code, None
        try:
            said = jmespath.search(self._mapping.error, json.loads(response.raw.read(_LARGEST // 1024, True)))
        except ValueError:
            pass
        why = f"it answered HTTP {status}" + (f", {quoted(str(said), self._secrets)}" if said else "")
        if status in (*_BUSY, 401, 502, 504):
            return self._outage(attempt, why, _REMEDIES.get(status, _RETRY))
        return self._failed(attempt, why, _REMEDIES.get(status, _RETRY))

    def _unreachable(self, attempt: str, error: requests.RequestException) -> CrmUnavailable:
        if isinstance(error, requests.exceptions.SSLError):
            remedy = "check the CRM's certificate and OEM_SUBMISSIONS_CRM_CA"
        else:
            remedy = _RETRY
        return self._outage(attempt, f"no whole answer came ({type(error).__name__})", remedy)

    def _outage(self, attempt: str, why: str, remedy: str) -> CrmOutage:
        return CrmOutage(f"{self._mapping.name} did not {attempt}: {why}; {remedy}.")

    def _failed(self, attempt: str, why: str, remedy: str) -> CrmUnavailable:
        return CrmUnavailable(f"{self._mapping.name} did not {attempt}: {why}; {remedy}.")
