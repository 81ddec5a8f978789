"""Message queues: dead letters out, redrives and due records in.

A message is a hint, never a claim: what is due is read from the CRM, what is dead from the ledger. It is taken off its
queue when the ledger has what follows from it, so that a crash in between costs a second look and nothing else. One
that makes no sense stays, and goes where the queue sends what it gives up on.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.reasons import REASONS
from oem_submissions.domain.records import Death
from oem_submissions.ports import Ledger, MessageQueue, Notice, QueueMessage
from oem_submissions.services.dead_letters import letter_of, redrive
from oem_submissions.services.intake import IntakeReport

_log = logging.getLogger(__name__)

REDRIVEN_BY = "sqs"
_CHUNK = 10
_PER_TICK = 1000
_SECONDS = 20.0
"""After so long a tick begins no other batch."""
_LONGEST = 64 * 1024
Content = TypeVar("Content", bound=BaseModel)
_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,80}$")]


class MessageRefused(Exception):
    """A message that nothing can be done with: the end of a sentence."""


@dataclass(frozen=True)
class Queues:
    """Those that are set up."""

    dead_letters: MessageQueue | None = None
    redrive: MessageQueue | None = None
    due: MessageQueue | None = None


@dataclass(frozen=True)
class Handled:
    """What became of the messages of a tick: a sentence each."""

    done: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


class _DueRecords(BaseModel):
    """CRM records that have come due."""

    model_config = ConfigDict(extra="forbid", strict=True)

    records: Annotated[list[_Id], Field(min_length=1, max_length=100)]


class _DeadLetter(BaseModel):
    """A message of ours that came back: which claim, and by which event it died. What else it says is not believed."""

    model_config = ConfigDict(extra="ignore", strict=True)

    claim_id: _Id
    sequence: Annotated[int, Field(ge=1, le=2**31 - 1)]


def forward_dead_letters(ledger: Ledger, queue: MessageQueue, desk_url: str) -> int:
    """Put every dead letter into the queue that is not there yet; how many it took.

    At least once: what it took and the ledger could not note is sent again, with the same key. Raises
    `QueueUnavailable`; nothing is lost by it.
    """
    waiting, forwarded = ledger.unforwarded(_PER_TICK), 0
    for start in range(0, len(waiting), _CHUNK):
        notices = {_key(death): death for death in waiting[start : start + _CHUNK]}
        taken = queue.send([notice_of(death, desk_url) for death in notices.values()])
        ledger.note_forwarded([notices[notice.key] for notice in taken])
        forwarded += len(taken)
        for key in notices.keys() - {notice.key for notice in taken}:
            _log.error("The dead letter %s was not taken by the queue; it is sent again.", key)
    return forwarded


def notice_of(death: Death, desk_url: str) -> Notice:
    """What others are told of a dead letter: no word of the payload or of the portal, which may be personal."""
    attributes = {
        "reason": death.reason or "",
        "claim_id": death.claim_id,
        "oem": _plain(death.oem),
        "dealer": _plain(death.dealer),
        "run_id": death.run_id or "",
    }
    meaning = REASONS.get(death.reason) if death.reason else None
    body = {
        **attributes,
        "sequence": death.sequence,
        "at": death.at.isoformat(),
        "period": _plain(death.period),
        "claim_type": _plain(death.claim_type),
        "reason_number": meaning.number if meaning else None,
        "meaning": meaning.meaning if meaning else None,
        "next": meaning.action if meaning else None,
        "page": f"{desk_url}/claims/{death.claim_id}",
    }
    given = {name: text for name, text in attributes.items() if text}
    return Notice(_key(death), attributes["oem"], json.dumps(body), given)


def redrive_from(queue: MessageQueue, ledger: Ledger) -> Handled:
    """Redrive the dead letters that come back, each for its own death only: a message that comes twice redrives once.

    What died past the click is looked up. Raises `QueueUnavailable`.
    """
    return _handle(queue, lambda message: _redrive(_read(message, _DeadLetter), ledger))


def take_in_from(
    queue: MessageQueue, take_in: Callable[[Sequence[str]], tuple[IntakeReport, Sequence[str]]]
) -> tuple[Handled, list[IntakeReport]]:
    """Take in the records that messages name, as the CRM has them. `take_in` says which ones the CRM does not have.

    Raises `QueueUnavailable`, and what `take_in` raises; what was not finished then comes again.
    """
    reports: list[IntakeReport] = []

    def due(message: QueueMessage) -> str:
        report, missing = take_in(_read(message, _DueRecords).records)
        reports.append(report)
        if missing:
            raise MessageRefused(f"the CRM has no record {', '.join(missing[:5])}")
        new = len(report.taken_in) + len(report.amended) + len(report.refused)
        return f"Message {message.message_id}: {new} of its records were new, or corrected."

    return _handle(queue, due), reports


def _handle(queue: MessageQueue, act: Callable[[QueueMessage], str]) -> Handled:
    """Until the queue gives no more, or it is enough for a tick."""
    done, refused, began = [], [], time.monotonic()
    while time.monotonic() - began < _SECONDS and (messages := queue.receive()):
        for message in messages:
            try:
                done.append(act(message))
            except MessageRefused as why:
                refused.append(f"Message {message.message_id}, delivery {message.deliveries}, is refused: {why}.")
                _log.warning("%s", refused[-1])
            else:
                queue.done(message)
                _log.info("%s", done[-1])
    return Handled(tuple(done), tuple(refused))


def _redrive(letter: _DeadLetter, ledger: Ledger) -> str:
    claim = ledger.claim(letter.claim_id)
    if claim is None:
        raise MessageRefused(f"there is no claim {letter.claim_id}")
    death = ledger.death(claim.claim_id)
    if death is None or death.sequence != letter.sequence:
        return f"Claim {claim.claim_id} is {claim.state}, and this dead letter is past: nothing was done."
    try:
        (redriven,) = redrive([letter_of(claim, ledger)], REDRIVEN_BY, ledger)
    except StateConflict as conflict:  # somebody was faster, which the next delivery sees; or it was erased
        raise MessageRefused(str(conflict).rstrip(".")) from conflict
    return f"Claim {claim.claim_id} was redriven, and is {redriven.state}."


def _read(message: QueueMessage, model: type[Content]) -> Content:
    """Raises `MessageRefused`, with no word of what the message holds."""
    if len(message.body) > _LONGEST:
        raise MessageRefused(f"it has {len(message.body):,} characters, more than {_LONGEST:,}")
    try:
        return model.model_validate_json(message.body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"] if part in model.model_fields or isinstance(part, int))
        raise MessageRefused(f"{where or 'it'} is not as it should be ({first['type']})") from None


def _key(death: Death) -> str:
    return f"{death.claim_id}-{death.sequence}"


def _plain(text: str) -> str:
    """A code as such; of a record that is no claim it may be anything, and stays in the ledger."""
    return text if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}", text) else "unreadable"
