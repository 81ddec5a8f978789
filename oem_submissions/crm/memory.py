"""The `Crm` port in memory, for unit tests of services. The contract suite keeps it equal to the real client."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from oem_submissions.crm.mapping import Mapping, OutcomeFields
from oem_submissions.crm.rows import is_told, refuse_conflict, twin_conflict
from oem_submissions.crm.untrusted import make_record, media_type_of
from oem_submissions.ports import CrmFile, CrmFileRefused, CrmOutage, CrmOutcome, CrmRecord, CrmUnavailable

_MAPPING = Mapping(outcome=OutcomeFields(**{name: name for name in OutcomeFields.model_fields}))


def _field(outcome: CrmOutcome | None, name: str) -> Any:
    return getattr(outcome, name) if outcome else None


@dataclass
class _Kept:
    fields: dict[str, tuple[str, Any]]
    files: list[CrmFile]
    modified_at: datetime
    outcome: CrmOutcome | None = None
    writes: int = 0

    @property
    def is_due(self) -> bool:
        return self.outcome is None or self.outcome.status == "DEAD"


class MemoryCrm:
    """A CRM that tests fill with `add` and break with `unavailable`."""

    def __init__(self) -> None:
        self._records: dict[str, _Kept] = {}
        self._contents: dict[str, bytes] = {}
        self.unavailable: str | None = None
        """When set, every call of the port raises `CrmOutage` with this sentence."""

    # the port

    def due_records(self, modified_after: datetime | None = None) -> Iterator[CrmRecord]:
        """Records without outcome and those of dead claims, oldest change first."""
        self._reach()
        found = sorted(self._records.items(), key=lambda item: (item[1].modified_at, item[0]))
        for record_id, kept in found:
            self._reach()
            if kept.is_due and (modified_after is None or kept.modified_at >= _second(modified_after)):
                yield make_record(record_id, kept.fields, kept.files, kept.modified_at)

    def records(self, record_ids: Collection[str]) -> dict[str, CrmRecord | None]:
        """By id: the record, or None when it is not due."""
        self._reach()
        known = {one: self._records[one] for one in record_ids if one in self._records}
        return {
            one: make_record(one, kept.fields, kept.files, kept.modified_at) if kept.is_due else None
            for one, kept in known.items()
        }

    def download(self, file_id: str, max_bytes: int) -> bytes:
        """A file's bytes. Raises `CrmFileRefused` or `CrmUnavailable`."""
        self._reach()
        if file_id not in self._contents:
            raise CrmFileRefused(f"There is no file {file_id[:40]!r}.")
        if len(self._contents[file_id]) > max_bytes:
            raise CrmFileRefused(f"The file {file_id} is larger than {max_bytes:,} bytes.")
        return self._contents[file_id]

    def write_outcome(self, record_id: str, outcome: CrmOutcome) -> None:
        """Raises `CrmRecordConflict` or `CrmUnavailable`."""
        kept = self._kept(record_id)
        held = refuse_conflict(_MAPPING, record_id, lambda name: _field(kept.outcome, name), outcome)
        for other, one in self._records.items():
            if other != record_id and one.outcome is not None and one.outcome.claim_id == outcome.claim_id:
                raise twin_conflict(record_id, outcome.claim_id, other)
        if not is_told(_MAPPING, held, outcome):
            kept.outcome, kept.modified_at = _to_seconds(outcome), _second(datetime.now(UTC))
            kept.writes += 1

    def read_outcome(self, record_id: str) -> CrmOutcome | None:
        """What the record says now. Raises `CrmUnavailable`."""
        return self._kept(record_id).outcome

    def missing_fields(self) -> list[str]:
        """None. Raises `CrmUnavailable`."""
        self._reach()
        return []

    # what a test does

    def add(
        self,
        record_id: str,
        *,
        oem: str,
        dealer: str,
        claim_type: str,
        due_on: date | None,
        payload: dict[str, Any] | str | None,
        files: list[tuple[str, str, bytes]] | None = None,
        modified_at: datetime | None = None,
    ) -> str:
        """Adds a record; `payload` may be raw text, `files` are name, kind and bytes. Returns the record's id."""
        fields: dict[str, tuple[str, Any]] = {
            "oem": ("oem", oem),
            "dealer": ("dealer", dealer),
            "claim_type": ("claim_type", claim_type),
            "due_on": ("due_on", due_on.isoformat() if due_on else None),
            "payload": ("payload", _text(payload)),
        }
        self._records[record_id] = _Kept(fields, [], _second(modified_at or datetime.now(UTC)))
        self.attach(record_id, files or [])
        return record_id

    def attach(self, record_id: str, files: list[tuple[str, str, bytes]]) -> None:
        """Replaces the record's files: name, kind, bytes."""
        kept = self._records[record_id]
        kept.files = []
        for name, kind, data in files:
            file_id = f"file{len(self._contents):05d}"
            self._contents[file_id] = data
            kept.files.append(CrmFile(file_id, name, media_type_of(name), len(data), kind or "other"))

    def edit(self, record_id: str, payload: dict[str, Any] | str) -> None:
        """A person corrects the payload: an object's keys are merged in, a text replaces it."""
        kept = self._records[record_id]
        if isinstance(payload, dict):
            payload = json.loads(kept.fields["payload"][1]) | payload
        kept.fields["payload"] = ("payload", _text(payload))
        kept.modified_at = _second(datetime.now(UTC))

    def writes(self, record_id: str) -> int:
        """How often `write_outcome` changed the record."""
        return self._records[record_id].writes

    def _kept(self, record_id: str) -> _Kept:
        self._reach()
        if record_id not in self._records:
            raise CrmUnavailable(f"There is no record {record_id[:40]!r}.")
        return self._records[record_id]

    def _reach(self) -> None:
        if self.unavailable is not None:
            raise CrmOutage(self.unavailable)


def _text(payload: dict[str, Any] | str | None) -> str | None:
    return payload if payload is None or isinstance(payload, str) else json.dumps(payload)


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _to_seconds(outcome: CrmOutcome) -> CrmOutcome:
    return replace(
        outcome,
        confirmed_at=_second(outcome.confirmed_at) if outcome.confirmed_at else None,
        updated_at=_second(outcome.updated_at) if outcome.updated_at else None,
        disposition_at=_second(outcome.disposition_at) if outcome.disposition_at else None,
    )
