"""How Salesforce is reached: log-in, TLS, time-outs, one renewed log-in, and what an error means. No claims in here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceError, SalesforceExpiredSession

from oem_submissions.crm.transport import TIMEOUT, session
from oem_submissions.crm.untrusted import quoted
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.ports import CrmOutage, CrmUnavailable

T = TypeVar("T")

API_VERSION = "59.0"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_OUTAGES = (401, 502, 503, 504)
_ASSERTION_SECONDS = 180

_RETRY = "it is tried again by itself, and if it stays, check that the CRM is up and its address is right"
_REMEDIES = {
    400: "compare the field mapping with the CRM's object",
    401: "check the connected app's client id and secret, or its certificate and user",
    403: "give the integration user access, or wait until the CRM's limit of requests is free again",
    404: "check that the record and the object of the field mapping exist",
}


class Connection:
    """A log-in that is made when first needed and renewed once when it has expired. Not for several threads at once."""

    def __init__(
        self,
        instance_url: str,
        client_id: str,
        client_secret: str,
        ca_file: Path | None,
        timeout: tuple[float, float] = TIMEOUT,
        assertion: Callable[[], str] | None = None,
    ) -> None:
        """With `assertion`, it speaks for a user (RFC 7523) instead of showing the client's secret."""
        address = urlsplit(instance_url)
        if address.scheme != "https" or not address.hostname or address.path not in ("", "/"):
            raise ConfigurationError(f"The CRM's address is '{instance_url}'; it should be https:// and a host.")
        if not client_id or not (client_secret or assertion):
            raise ConfigurationError("The CRM's client id or client secret is empty; set both.")
        self.url = f"https://{address.netloc}"
        self._host = address.hostname
        self._credentials = {"client_id": client_id, "client_secret": client_secret}
        self._assertion = assertion
        self._session = session(ca_file, timeout)
        self._salesforce: Salesforce | None = None

    def close(self) -> None:
        """Lets go of the sockets."""
        self._session.close()

    def ask(self, attempt: str, question: Callable[[Salesforce], T]) -> T:
        """The answer to `question`; `attempt` ends the sentence "Salesforce did not …".

        Raises `CrmUnavailable` for whatever Salesforce or the network does wrong.
        """
        for last in (False, True):
            salesforce = self._salesforce = self._salesforce or self._log_in()
            try:
                with self.making_sense(attempt):
                    return question(salesforce)
            except SalesforceExpiredSession as error:
                refused = self._refused(attempt, error)  # while the token is known, to be kept out of the sentence
                self._salesforce = None
                if last:
                    raise refused from error
            except SalesforceError as error:
                raise self._refused(attempt, error) from error
            except requests.RequestException as error:
                raise self._unreachable(attempt, error) from error
        raise AssertionError("the second round returns or raises")

    @contextmanager
    def making_sense(self, attempt: str) -> Iterator[None]:
        """Around the reading of an answer: what is not as it should be becomes `CrmUnavailable`."""
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            why = f"its answer makes no sense ({type(error).__name__}: {self._plain(str(error))})"
            raise self._failed(attempt, why, "check that the CRM's address leads to Salesforce") from error

    def _log_in(self) -> Salesforce:
        attempt = "log us in"
        form = {"grant_type": "client_credentials", **self._credentials}
        if self._assertion is not None:
            form = {"grant_type": JWT_BEARER, "assertion": self._assertion()}
        try:
            # simple-salesforce's own log-in goes to *.salesforce.com only, so the token is fetched here.
            response = self._session.post(f"{self.url}/services/oauth2/token", data=form)
        except requests.RequestException as error:
            raise self._unreachable(attempt, error) from error
        if response.status_code != 200:
            raise self._refused_log_in(attempt, response)
        with self.making_sense(attempt):
            answer = response.json()
            token, instance = str(answer["access_token"]), str(answer["instance_url"])
            if urlsplit(instance).scheme != "https" or not urlsplit(instance).hostname:
                raise ValueError("the instance's address is not https")
        return Salesforce(session_id=token, instance_url=instance, session=self._session, version=API_VERSION)

    def _refused_log_in(self, attempt: str, response: requests.Response) -> CrmUnavailable:
        if response.status_code >= 500:
            return self._failed(attempt, f"it answered HTTP {response.status_code}", _RETRY, CrmOutage)
        try:
            code = str(response.json()["error"])
        except (KeyError, TypeError, ValueError):
            code = "no reason given"
        why = f"HTTP {response.status_code}, {self._plain(code)}"
        return self._failed(attempt, why, _REMEDIES[401], CrmOutage)

    def _refused(self, attempt: str, error: SalesforceError) -> CrmUnavailable:
        errors = errors_of(error)
        what = "; ".join(f"{code}: {message}" if message else code for code, message in errors)
        why = f"it answered HTTP {error.status}" + (f", {self._plain(what)}" if what else "")
        is_outage = error.status in _OUTAGES or any(code == "REQUEST_LIMIT_EXCEEDED" for code, _ in errors)
        kind = CrmOutage if is_outage else CrmUnavailable
        return self._failed(attempt, why, _REMEDIES.get(error.status, _RETRY), kind)

    def _unreachable(self, attempt: str, error: requests.RequestException) -> CrmUnavailable:
        if isinstance(error, requests.exceptions.SSLError):
            remedy = "check the CRM's certificate and the CA file of the settings"
        else:
            remedy = _RETRY
        return self._failed(attempt, f"no whole answer came ({type(error).__name__})", remedy, CrmOutage)

    def _failed(
        self, attempt: str, why: str, remedy: str, kind: type[CrmUnavailable] = CrmUnavailable
    ) -> CrmUnavailable:
        return kind(f"Salesforce at {self._host} did not {attempt}: {why}; {remedy}.")

    def _plain(self, text: str) -> str:
        token = self._salesforce.session_id if self._salesforce else None
        return quoted(text, (*self._credentials.values(), token))


def jwt_assertion(client_id: str, username: str, audience: str, private_key: str) -> Callable[[], str]:
    """What says, signed by the connected app's key and for three minutes, that the app speaks for the user.

    Raises `ConfigurationError` when the key is no RSA key in PEM.
    """
    from joserfc import jwt  # here: most connected apps show a secret
    from joserfc.errors import JoseError
    from joserfc.jwk import RSAKey

    try:
        key = RSAKey.import_key(private_key)
        if not key.is_private:
            raise ValueError("it is a public key")
    except (JoseError, ValueError, TypeError) as error:
        raise ConfigurationError(
            "The secret crm/private_key is no private RSA key in PEM; it should be that of the connected app's"
            " certificate."
        ) from error

    def made() -> str:
        now = int(time.time())
        claims = {"iss": client_id, "sub": username, "aud": audience, "exp": now + _ASSERTION_SECONDS}
        return jwt.encode({"alg": "RS256"}, claims, key)

    return made


def errors_of(error: SalesforceError) -> list[tuple[str, str]]:
    """Salesforce's error codes and messages; empty when it answered otherwise."""
    content: Any = error.content
    if isinstance(content, (bytes, str)):
        try:
            content = json.loads(content)
        except ValueError:
            return []
    found = content if isinstance(content, list) else [content]
    return [
        (str(one["errorCode"]), str(one.get("message", "")))
        for one in found
        if isinstance(one, dict) and "errorCode" in one
    ]
