"""moto's server, reached as production reaches AWS: by AWS's own variables."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from oem_submissions import wiring
from oem_submissions_tests.evidence.s3_servers import ACCESS, SECRET


@cache
def client(service: str, endpoint_url: str | None = None) -> Any:
    """As production makes it, and made once: all tests of a process have the same moto."""
    return wiring.aws_client(service, **({"endpoint_url": endpoint_url} if endpoint_url else {}))


class Aws:
    """What an operator does at AWS."""

    @property
    def secrets(self) -> Any:
        return client("secretsmanager")

    @property
    def sqs(self) -> Any:
        return client("sqs")

    def keep(self, name: str, fields: Any) -> None:
        """Make a secret, or change it; anything but a text is written as JSON."""
        text = fields if isinstance(fields, str) else json.dumps(fields)
        try:
            self.secrets.create_secret(Name=name, SecretString=text)
        except self.secrets.exceptions.ResourceExistsException:
            self.secrets.put_secret_value(SecretId=name, SecretString=text)

    def make_queue(self, name: str = "", **attributes: str) -> str:
        """The URL of a new queue."""
        unique = f"q-{uuid.uuid4().hex[:8]}{name}"
        return str(self.sqs.create_queue(QueueName=unique, Attributes=attributes)["QueueUrl"])

    def put(self, url: str, body: Any) -> None:
        """A message; anything but a text is written as JSON."""
        self.sqs.send_message(QueueUrl=url, MessageBody=body if isinstance(body, str) else json.dumps(body))

    def take_all(self, url: str) -> list[dict[str, Any]]:
        """Every message that can be had now, taken off the queue."""
        taken: list[dict[str, Any]] = []
        while found := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages", []):
            for message in found:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            taken += found
        return taken

    def left(self, url: str) -> int:
        """How many messages are on the queue, hidden or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    own = {
        "ENDPOINT_URL": moto_url,
        "ACCESS_KEY_ID": ACCESS,
        "SECRET_ACCESS_KEY": SECRET,
        "DEFAULT_REGION": "us-east-1",
    }
    for name, value in own.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    wiring._sqs_client.cache_clear()
    yield Aws()
    wiring._sqs_client.cache_clear()
