"""The `Secrets` port on AWS Secrets Manager: one secret per account, a JSON object of texts.

`portal/aurora/10234/password` is the field `password` of the secret PREFIX/portal/aurora/10234. No secret per value: an
account's log-in is rotated, granted and paid for as one. A value is nowhere but in the answer's fields: not in texts,
not in exceptions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from oem_submissions.ports import SecretsUnavailable

_MISSING = "ResourceNotFoundException"
_REMEDIES = {
    "AccessDeniedException": "Allow secretsmanager:GetSecretValue on it.",
    "DecryptionFailure": "Allow kms:Decrypt with its key.",
    "InvalidRequestException": "It is marked for deletion: restore it, or delete it at once.",
    "UnrecognizedClientException": "Check the credentials.",
    "InvalidClientTokenId": "Check the credentials.",
    "InvalidSignatureException": "Check the credentials.",
    "ExpiredTokenException": "Check the credentials.",
}
_NO_ANSWER = "Check the network, the credentials, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL; it is tried again."


class SecretsManager:
    """Reads secrets below a prefix, each at most once in `seconds`: a rotated password is used that late at the most.

    What can't be read is `SecretsUnavailable`, never "not set".
    """

    def __init__(self, client: Callable[[], Any], prefix: str, seconds: float = 30.0) -> None:
        self._make, self._prefix, self._seconds = client, prefix, seconds
        self._read: dict[str, tuple[float, Mapping[str, object]]] = {}

    def find(self, name: str) -> str | None:
        """The value; None when there is no such secret, or no such field in it. Raises `SecretsUnavailable`."""
        secret, _, part = name.rpartition("/")
        value = self._fields(secret).get(part)
        if value is not None and not isinstance(value, str):
            raise SecretsUnavailable(f"In AWS Secrets Manager, {self.where(name)} should be a text, in quotes.")
        return value or None

    def where(self, name: str) -> str:
        """The secret and its field."""
        secret, _, part = name.rpartition("/")
        return f"the field '{part}' of the AWS secret {self._id(secret)}"

    def inspect(self) -> str:
        """What it is, in a sentence. Raises `SecretsUnavailable` when it does not answer."""
        self._ask("crm")
        return f"AWS Secrets Manager, secrets below {self._prefix}/"

    def _fields(self, secret: str) -> Mapping[str, object]:
        until, fields = self._read.get(secret, (0.0, {}))
        if time.monotonic() >= until:
            fields = self._ask(secret)
            self._read[secret] = (time.monotonic() + self._seconds, fields)
        return fields

    def _ask(self, secret: str) -> Mapping[str, object]:
        secret_id = self._id(secret)
        try:
            answer = self._client.get_secret_value(SecretId=secret_id)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == _MISSING:
                return {}
            raise SecretsUnavailable(_sentence(secret_id, code, _REMEDIES.get(code, _NO_ANSWER))) from error
        except BotoCoreError as error:
            raise SecretsUnavailable(_sentence(secret_id, type(error).__name__, _NO_ANSWER)) from error
        try:
            fields = json.loads(answer["SecretString"])
        except (KeyError, ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):  # not while the parser's exception is at hand: that one holds the secret
            raise SecretsUnavailable(
                f'The AWS secret {secret_id} should be a JSON object, such as {{"field": "text"}}.'
            )
        return fields

    def _id(self, secret: str) -> str:
        # As quoted-printable does it: no two names become one, whatever a dealer code holds.
        return f"{self._prefix}/{quote(secret, safe='/').replace('~', '%7E').replace('%', '=')}"

    @cached_property
    def _client(self) -> Any:
        return self._make()


def _sentence(secret_id: str, why: str, remedy: str) -> str:
    return f"AWS Secrets Manager did not give {secret_id}: {why}. {remedy}"
