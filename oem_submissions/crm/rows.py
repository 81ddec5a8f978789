"""What a row of any CRM says by the mapping, and what may be written on it. Pure: no CRM is spoken to here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from oem_submissions.crm.mapping import Mapping, Source
from oem_submissions.crm.untrusted import clean_text, make_record
from oem_submissions.ports import CrmFile, CrmOutcome, CrmRecord, CrmRecordConflict

Get = Callable[[str], Any]
"""A field's value by its name. May raise `KeyError`, `TypeError` or `ValueError`: then the row makes no sense."""

_TIMES = ("confirmed_at", "updated_at", "disposition_at")


def record_of(mapping: Mapping, record_id: str, get: Get, files: list[CrmFile], modified_at: datetime) -> CrmRecord:
    """The row as a record; what is wrong with it as a claim is written on it."""
    of = mapping.record

    def source(one: Source) -> tuple[str, Any]:
        if one.field is None:
            return "always", one.always
        text = clean_text(_plain(get(one.field)))
        return one.field, one.values.get(text, text)

    due_on, day = source(of.due_on)
    named = {
        "oem": source(of.oem),
        "dealer": source(of.dealer),
        "claim_type": source(of.claim_type),
        "due_on": (due_on, day[:10] if day[10:11] in ("T", " ") else day),  # of a time, the day
        "payload": (of.payload, get(of.payload))
        if isinstance(of.payload, str)
        else (
            "the payload",
            {key: held for key, name in of.payload.items() if (held := _plain(get(name))) not in ("", None)},
        ),
    }
    return make_record(record_id, named, files, modified_at)


def is_due(mapping: Mapping, get: Get) -> bool:
    """Whether the row has no final outcome: its status is empty, a word of people's for that, or a dead claim's."""
    status = clean_text(get(mapping.outcome.status))
    return not status or status in mapping.waiting


def outcome_values(mapping: Mapping, outcome: CrmOutcome) -> dict[str, str | None]:
    """What is written on the row, by field: ISO 8601 times in UTC, whole seconds as most CRMs keep them."""
    values: dict[str, str | None] = {}
    words = mapping.status.model_dump()
    for attribute, name in mapping.outcome.names().items():
        value = getattr(outcome, attribute)
        if isinstance(value, datetime):
            value = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        values[name] = None if value is None else str(value)
    values[mapping.outcome.status] = words.get(outcome.status, outcome.status)
    return values


def outcome_of(mapping: Mapping, get: Get) -> CrmOutcome | None:
    """What the row says; None when nobody but people gave it a status.

    Raises `ValueError`, `KeyError` or `TypeError` on nonsense.
    """
    held = _held(mapping, get)
    return None if not held.status or held.status in mapping.due else held


def refuse_conflict(mapping: Mapping, record_id: str, get: Get, outcome: CrmOutcome) -> CrmOutcome | None:
    """What the row says, as `outcome_of`; unless it holds what must not be overwritten.

    That is another reference, the reference of another claim, or something newer of the same claim. Raises
    `CrmRecordConflict`, and as `outcome_of`.
    """
    held = _held(mapping, get)
    text = f"The CRM's record {record_id} holds"
    if held.reference is not None and (held.reference, held.claim_id or outcome.claim_id) != (
        outcome.reference,
        outcome.claim_id,
    ):
        raise CrmRecordConflict(
            f"{text} the reference {held.reference!r:.200} of claim {held.claim_id!r:.100} already, not"
            f" {outcome.reference!r} of claim {outcome.claim_id!r}; nothing was overwritten, decide which is right."
        )
    for attribute in ("updated_at", "disposition_at"):
        theirs, ours = getattr(held, attribute), getattr(outcome, attribute)
        if held.claim_id == outcome.claim_id and theirs and ours and theirs > ours.replace(microsecond=0):
            raise CrmRecordConflict(
                f"{text} a newer state of claim {outcome.claim_id} already, of {theirs:%Y-%m-%d %H:%M:%S} UTC; nothing"
                " was overwritten, and what is newest is told next."
            )
    return None if not held.status or held.status in mapping.due else held


def is_told(mapping: Mapping, held: CrmOutcome | None, outcome: CrmOutcome) -> bool:
    """Whether the row says this outcome already."""
    return held is not None and outcome_values(mapping, held) == outcome_values(mapping, outcome)


def twin_conflict(record_id: str, claim_id: str, other: object = "another record") -> CrmRecordConflict:
    """Two records with one claim's id."""
    return CrmRecordConflict(
        f"The CRM's record {record_id} can't take claim {claim_id}, whose id {other} holds already; nothing was"
        " overwritten, decide which is right."
    )


def parse_time(value: Any, form: str | None = None) -> datetime:
    """A time as a CRM writes it, UTC; by `form`, or ISO 8601 with a zone. Raises `ValueError` or `TypeError`."""
    if isinstance(value, datetime):
        moment = value
    elif form is not None:
        moment = datetime.strptime(value, form).replace(tzinfo=UTC)
    else:
        moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"the time {value} has no zone")
    return moment.astimezone(UTC)


def _held(mapping: Mapping, get: Get) -> CrmOutcome:
    held = {attribute: _nothing(get(name)) for attribute, name in mapping.outcome.names().items()}
    for attribute in _TIMES:
        if held[attribute] is not None:
            held[attribute] = parse_time(held[attribute])
    for attribute in set(held) - set(_TIMES):
        if held[attribute] is not None and not isinstance(held[attribute], str):
            held[attribute] = str(_plain(held[attribute]))
    words = {word: ours for ours, word in mapping.status.model_dump().items()}
    status = held["status"] or ""
    outcome = CrmOutcome(**held | {"claim_id": held["claim_id"] or "", "status": words.get(status, status)})
    return replace(outcome, **{one: at.replace(microsecond=0) for one in _TIMES if (at := getattr(outcome, one))})


def _nothing(value: Any) -> Any:
    """None for an empty text, which many CRMs have for nothing."""
    return None if value == "" else value


def _plain(value: Any) -> Any:
    """As JSON would have it."""
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | UUID) else value
