"""The `MessageQueue` port on one SQS queue, standard or FIFO. It takes a client that `wiring` makes.

How long a message that was handed out stays hidden, and after how many deliveries it is given up, is the queue's own
configuration: `inspect` says what of it is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from oem_submissions.ports import Notice, QueueMessage, QueueUnavailable

_BATCH = 10
_LEAST_HIDDEN_SECONDS = 60
_REMEDIES = {
    "AWS.SimpleQueueService.NonExistentQueue": "There is no such queue: check its URL and AWS_DEFAULT_REGION.",
    "AccessDenied": "Allow sqs:{action} on it.",
    "AccessDeniedException": "Allow sqs:{action} on it.",
}
_NO_ANSWER = "Check the network, the credentials, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL; it is tried again."


class SqsQueue:
    """One queue, by its URL. Every method raises `QueueUnavailable`."""

    def __init__(self, client: Callable[[], Any], url: str, wait_seconds: int = 1) -> None:
        """Within `wait_seconds` SQS asks all of its servers; longer, and the sensors after this one would wait."""
        self._client, self._url, self._wait_seconds = client, url, wait_seconds
        self.name = url.rpartition("/")[2]

    def send(self, notices: Sequence[Notice]) -> list[Notice]:
        """Those that the queue has now: it refuses messages one by one. At most ten."""
        entries = [self._entry(number, notice) for number, notice in enumerate(notices[:_BATCH])]
        with self._saying("take a message", "SendMessage"):
            answer = self._client().send_message_batch(QueueUrl=self._url, Entries=entries)
        return [notices[int(taken["Id"])] for taken in answer.get("Successful", [])]

    def receive(self) -> list[QueueMessage]:
        """Up to ten messages, hidden from others for the queue's own visibility timeout."""
        with self._saying("give messages", "ReceiveMessage"):
            answer = self._client().receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=self._wait_seconds,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        return [
            QueueMessage(
                found["MessageId"], found["Body"], int(found["Attributes"]["ApproximateReceiveCount"]),
                found["ReceiptHandle"],
            )
            for found in answer.get("Messages", [])
        ]  # fmt: skip

    def done(self, message: QueueMessage) -> None:
        """Delete it."""
        with self._saying("delete a message", "DeleteMessage"):
            self._client().delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt)

    def inspect(self, incoming: bool) -> str:
        """How many messages wait; for an incoming queue also when it gives up, which it must."""
        wanted = ["ApproximateNumberOfMessages", "VisibilityTimeout", "RedrivePolicy"]
        with self._saying("say how it is set up", "GetQueueAttributes"):
            answer = self._client().get_queue_attributes(QueueUrl=self._url, AttributeNames=wanted)
        found = answer.get("Attributes", {})
        says = f"{self.name} answers, {found.get('ApproximateNumberOfMessages', 0)} messages wait"
        if not incoming:
            return says
        if "RedrivePolicy" not in found:
            raise QueueUnavailable(
                f"The queue {self.name} has no redrive policy, so that a message that is refused comes again for days: "
                "give it a dead-letter queue."
            )
        hidden = int(found["VisibilityTimeout"])
        if hidden < _LEAST_HIDDEN_SECONDS:
            raise QueueUnavailable(
                f"The queue {self.name} hides a message for {hidden} s, less than its work may take: set its "
                f"visibility timeout to {_LEAST_HIDDEN_SECONDS} s or more."
            )
        policy = json.loads(found["RedrivePolicy"])
        target = str(policy["deadLetterTargetArn"]).rpartition(":")[2]
        return f"{says}; what is refused {policy['maxReceiveCount']} times goes to {target}"

    def _entry(self, number: int, notice: Notice) -> dict[str, Any]:
        attributes = {name: {"DataType": "String", "StringValue": text} for name, text in notice.attributes.items()}
        entry: dict[str, Any] = {"Id": str(number), "MessageBody": notice.body, "MessageAttributes": attributes}
        if self.name.endswith(".fifo"):
            entry |= {"MessageGroupId": notice.group, "MessageDeduplicationId": notice.key}
        return entry

    @contextmanager
    def _saying(self, verb: str, action: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            remedy = _REMEDIES.get(code, _NO_ANSWER).format(action=action)
            raise QueueUnavailable(f"The queue {self.name} did not {verb}: {code}. {remedy}") from error
        except BotoCoreError as error:
            why = type(error).__name__
            raise QueueUnavailable(f"The queue {self.name} did not {verb}: {why}. {_NO_ANSWER}") from error
