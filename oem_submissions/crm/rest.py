"""The `Crm` port on any JSON API: endpoints, log-in, pages, paths and guards are data, in the mapping.

What may never happen whatever the mapping says: a token leaves for another host, an id becomes another address, a list
that broke off is taken for a whole one, a record is written that nobody compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import jmespath
import requests

from oem_submissions.crm.fetching import fetch, limited
from oem_submissions.crm.mapping import (
    Cursor,
    ETagGuard,
    LinkHeader,
    NextUrl,
    NoPages,
    Numbered,
    RestFiles,
    RestMapping,
    TimeGuard,
    VersionGuard,
)
from oem_submissions.crm.rest_api import Answer, RestApi
from oem_submissions.crm.rows import (
    Get,
    is_due,
    is_told,
    outcome_of,
    outcome_values,
    parse_time,
    record_of,
    refuse_conflict,
    twin_conflict,
)
from oem_submissions.crm.untrusted import clean_text, media_type_of
from oem_submissions.ports import CrmFile, CrmFileRefused, CrmOutcome, CrmRecord, CrmUnavailable

_CHUNK = 64 * 1024
_GOES = 3
_FILE_ID = r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}"


class RestCrm:
    """Speaks to one CRM as its mapping says. Not for several threads at once."""

    def __init__(self, mapping: RestMapping, secret: Callable[[str], str], ca_file: Path | None = None) -> None:
        self._mapping = mapping
        self._api = RestApi(mapping, secret, ca_file)
        self._ca_file = ca_file

    def close(self) -> None:
        """Lets go of the sockets."""
        self._api.close()

    # --- the port ---

    def due_records(self, modified_after: datetime | None = None) -> Iterator[CrmRecord]:
        """Every record that is due, in the order that the CRM lists them. Raises `CrmUnavailable`."""
        call = self._mapping.list
        since = modified_after.astimezone(UTC).replace(microsecond=0) if modified_after else None
        form = self._mapping.time_format or "%Y-%m-%dT%H:%M:%SZ"
        query = (
            {name: text.replace("{since}", since.strftime(form)) for name, text in call.since.items()} if since else {}
        )
        for items in self._pages({**call.query, **query}):
            with self._api.making_sense("list readable records"):
                rows = [(item, _getter(_at(call.values, item))) for item in items]
                due = [(item, get) for item, get in rows if is_due(self._mapping, get)]
            for item, get in due:
                record = self._record(self._id(item), get, _at(call.values, item))
                if since is None or record.modified_at >= since:
                    yield record

    def records(self, record_ids: Collection[str]) -> dict[str, CrmRecord | None]:
        """By id: the record, or None when it is not due. Raises `CrmUnavailable`."""
        found: dict[str, CrmRecord | None] = {}
        for record_id in record_ids:
            if not self._is_id(record_id) or (answer := self._ask_for(record_id)).status == requests.codes.not_found:
                continue
            values = self._values(answer, record_id)
            get = _getter(values)
            with self._api.making_sense(f"give a readable record {record_id}"):
                due = is_due(self._mapping, get)
            found[record_id] = self._record(record_id, get, values) if due else None
        return found

    def download(self, file_id: str, max_bytes: int) -> bytes:
        """A file's bytes, never reading more than `max_bytes`. Raises `CrmFileRefused` or `CrmUnavailable`."""
        files = self._mapping.files
        gone = CrmFileRefused(
            f"{self._mapping.name} has no file {file_id[:40]!r}; attach the file to the record again."
        )
        if files is None:
            raise gone
        if files.url is not None:
            return self._fetch(files, file_id, max_bytes, gone)
        if not self._is_id(file_id):
            raise gone
        assert files.download is not None, "the mapping has one of the two"
        with self._api.streaming(f"give the file {file_id}", files.download.replace("{id}", file_id)) as response:
            if response.status_code in (requests.codes.not_found, requests.codes.gone):
                raise gone
            return limited(response.iter_content(min(_CHUNK, max_bytes + 1)), max_bytes, f"The file {file_id}")

    def write_outcome(self, record_id: str, outcome: CrmOutcome) -> None:
        """Write the outcome on the record, unless it was changed since it was read: then it is judged anew.

        Raises `CrmRecordConflict` or `CrmUnavailable`.
        """
        for _ in range(_GOES):
            answer = self._existing(record_id)
            get = _getter(self._values(answer, record_id))
            with self._api.making_sense(f"give a readable record {record_id}"):
                held = refuse_conflict(self._mapping, record_id, get, outcome)
            if is_told(self._mapping, held, outcome):
                return
            self._refuse_twin(record_id, outcome.claim_id)
            if self._write(record_id, outcome, answer):
                return
        why = f"the record {record_id} was changed by others while it was being written; it is tried again by itself"
        raise CrmUnavailable(f"{self._mapping.name} did not take the outcome: {why}.")

    def read_outcome(self, record_id: str) -> CrmOutcome | None:
        """What the record says now; None when it has no outcome. Raises `CrmUnavailable`."""
        get = _getter(self._values(self._existing(record_id), record_id))
        with self._api.making_sense(f"give a readable record {record_id}"):
            return outcome_of(self._mapping, get)

    def missing_fields(self) -> list[str] | None:
        """Fields of the mapping that the first record of the list lacks, or that the list does not show.

        An API has no common way to describe itself: None while it lists no record. Raises `CrmUnavailable`.
        """
        call = self._mapping.list
        for items in self._pages(call.query):
            for item in items:
                answer = self._existing(self._id(item))
                values, listed = self._values(answer, self._id(item)), _at(call.values, item)
                outcome, record = self._mapping.outcome.names().values(), self._mapping.record.names()
                missing = {name for name in outcome if name not in values}
                missing |= {name for name in record if not _has(values, name)}
                missing |= {name for name in (*record, self._mapping.outcome.status) if not _has(listed, name)}
                self._require_guard(answer)
                return sorted(missing)
        return None

    # --- reading ---

    def _pages(self, query: dict[str, str]) -> Iterator[list[Any]]:
        """The list, page by page; whole, or `CrmUnavailable`."""
        call, paging = self._mapping.list, self._mapping.list.paging
        where, seen, listed = call.path, set[str](), set[str]()
        if isinstance(paging, Numbered):
            query = {**query, paging.parameter: str(paging.first if paging.style == "page" else 0)}
        for number in range(1, 100_000):
            answer = self._api.ask("list records", "GET", where, query)
            with self._api.making_sense("list readable records"):
                items = _at(call.records, answer.json())
                if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                    raise TypeError("there is no list of records")
                listed |= {self._id(item) for item in items}
                announced = _at(call.total, answer.json()) if call.total else None
                total = None if announced is None else int(announced)
                following = self._following(paging, answer, where, query, number, items, len(listed))
            yield items
            if following is None:
                break
            where, query = following
            if (mark := f"{where} {sorted(query.items())}") in seen:
                raise CrmUnavailable(f"{self._mapping.name} did not list all records: its pages go round in circles.")
            seen.add(mark)
        if total is not None and len(listed) < total:
            why = f"it announced {total} and gave {len(listed)}; it is tried again by itself"
            raise CrmUnavailable(f"{self._mapping.name} did not list all records: {why}.")

    def _following(
        self, paging: Any, answer: Answer, where: str, query: dict[str, str], number: int, items: list[Any], before: int
    ) -> tuple[str, dict[str, str]] | None:
        """Where the next page is; None after the last."""
        match paging:
            case NoPages():
                return None
            case NextUrl():
                url = _at(paging.path, answer.json())
                return (self._own(url, answer), {}) if url else None
            case LinkHeader():
                link = answer.links.get("next", {}).get("url")
                return (self._own(link, answer), {}) if link else None
            case Cursor():
                cursor = _at(paging.path, answer.json())
                return (where, {**query, paging.parameter: str(cursor)}) if cursor not in (None, "") else None
            case Numbered():
                at = paging.first + number if paging.style == "page" else before
                return (where, {**query, paging.parameter: str(at)}) if items else None
        raise AssertionError(f"{paging} is no way of paging")

    def _own(self, url: Any, answer: Answer) -> str:
        """An address that the CRM gave, if it is one of its own: our token goes there."""
        whole = urljoin(answer.url, str(url))
        if urlsplit(whole)[:2] != urlsplit(self._mapping.url)[:2]:
            raise ValueError("the address of the next page leads elsewhere")
        return whole

    def _ask_for(self, record_id: str) -> Answer:
        call = self._mapping.read
        path = call.path.replace("{id}", record_id)
        return self._api.ask(f"give the record {record_id}", "GET", path, call.query, allowed=(404,))

    def _existing(self, record_id: str) -> Answer:
        if self._is_id(record_id):
            answer = self._ask_for(record_id)
            if answer.status != requests.codes.not_found:
                return answer
        raise CrmUnavailable(
            f"{self._mapping.name} has no record {record_id[:40]!r}: check that it is there and that we may see it."
        )

    def _values(self, answer: Answer, record_id: str) -> dict[str, Any]:
        with self._api.making_sense(f"give a readable record {record_id}"):
            record = _at(self._mapping.read.record, answer.json())
            if self._id(record) != record_id:
                raise ValueError("it is another record")
            values = _at(self._mapping.read.values, record)
            if not isinstance(values, dict):
                raise TypeError("it has no fields")
            return values

    def _id(self, item: Any) -> str:
        found = _at(self._mapping.id, item)
        if found is None or not self._is_id(str(found)):
            raise ValueError(f"a record's id is {found!r:.40}")
        return str(found)

    def _is_id(self, text: str) -> bool:
        return re.fullmatch(self._mapping.ids, text) is not None

    def _record(self, record_id: str, get: Get, values: Any) -> CrmRecord:
        files = [file for file, _ in self._files(record_id, values)]
        with self._api.making_sense("list readable records"):
            modified_at = parse_time(_at(self._mapping.modified, values), self._mapping.time_format)
            return record_of(self._mapping, record_id, get, files, modified_at)

    # --- files ---

    def _files(self, record_id: str, values: Any) -> list[tuple[CrmFile, str]]:
        """The record's files, each with its address if that is the record's to say."""
        files = self._mapping.files
        if files is None:
            return []
        if files.path is not None:
            path = files.path.replace("{id}", record_id)
            values = self._api.ask(f"list the files of record {record_id}", "GET", path, {}).json()
        with self._api.making_sense(f"list readable files of record {record_id}"):
            return [self._file(files, record_id, item) for item in _at(files.items, values) or []]

    def _file(self, files: RestFiles, record_id: str, item: Any) -> tuple[CrmFile, str]:
        url = clean_text(_at(files.url, item)) if files.url else ""
        # The address is part of what a person can correct: another one is another file.
        file_id = f"{record_id}/{sha256(url.encode()).hexdigest()[:16]}" if files.url else str(_at(files.id, item))
        if re.fullmatch(_FILE_ID, file_id) is None:
            raise ValueError(f"a file's id is {file_id!r:.40}")
        name = clean_text(_at(files.name, item)).replace("\\", "/").rpartition("/")[2]
        size = int(_at(files.size, item) or 0) if files.size else 0
        kind = clean_text(_at(files.kind, item) if files.kind else None) or "other"
        return CrmFile(file_id, name, media_type_of(name), size, kind), url

    def _fetch(self, files: RestFiles, file_id: str, max_bytes: int, gone: CrmFileRefused) -> bytes:
        record_id = file_id.rpartition("/")[0]
        if not self._is_id(record_id) or (answer := self._ask_for(record_id)).status == requests.codes.not_found:
            raise gone
        known = {file.file_id: url for file, url in self._files(record_id, self._values(answer, record_id))}
        if file_id not in known:
            raise gone
        return fetch(known[file_id], max_bytes, self._mapping.private_hosts, self._ca_file)

    # --- writing ---

    def _refuse_twin(self, record_id: str, claim_id: str) -> None:
        """Two records never hold one claim's id: people copy records, ids and all."""
        call, name = self._mapping.list, self._mapping.outcome.claim_id
        if not call.by_claim:
            return
        query = {parameter: text.replace("{claim_id}", claim_id) for parameter, text in call.by_claim.items()}
        for items in self._pages({**{k: v for k, v in call.query.items() if k not in query}, **query}):
            for item in items:
                values = _at(call.values, item)
                if isinstance(values, dict) and values.get(name) == claim_id and self._id(item) != record_id:
                    raise twin_conflict(record_id, claim_id, f"record {self._id(item)}")

    def _write(self, record_id: str, outcome: CrmOutcome, read: Answer) -> bool:
        """False when the record was changed after it was read."""
        call = self._mapping.write
        headers, versions = self._require_guard(read)
        values: dict[str, Any] = {
            name: call.empty if value is None else value
            for name, value in outcome_values(self._mapping, outcome).items()
        }
        body: dict[str, Any] = {**values, **versions}
        for key in reversed(call.at.split(".") if call.at else []):
            body = {key: body}
        path, attempt = call.path.replace("{id}", record_id), f"take the outcome on record {record_id}"
        answer = self._api.ask(attempt, call.method, path, {}, body, headers, call.changed)
        return answer.status not in call.changed

    def _require_guard(self, read: Answer) -> tuple[dict[str, str], dict[str, Any]]:
        """Headers and fields that make a write fail when the record was changed. Never a write without."""
        guard = self._mapping.write.guard
        match guard:
            case ETagGuard():
                found = read.headers.get("ETag") if guard.path is None else _at(guard.path, read.json())
                made: tuple[dict[str, str], dict[str, Any]] = ({"If-Match": str(found)}, {})
            case VersionGuard():
                found = _at(guard.path, _at(self._mapping.read.record, read.json()))
                made = ({}, {guard.name: found})
            case TimeGuard():
                found = read.headers.get("Last-Modified")
                made = ({"If-Unmodified-Since": str(found)}, {})
        if found is None or found == "":
            raise CrmUnavailable(
                f"{self._mapping.name} gave no {guard.type} with a record, without which nothing is written: check"
                " write.guard in the CRM's mapping."
            )
        return made


def _at(path: str, value: Any) -> Any:
    return value if path == "@" else jmespath.search(path, value)


def _has(values: Any, path: str) -> bool:
    """Whether a field is there, be it empty. JMESPath tells no difference, so its first key is looked at."""
    return isinstance(values, dict) and (path in values or re.split(r"[.\[| ]", path)[0].strip('"') in values)


def _getter(values: Any) -> Get:
    """Fields by name, or by path. Raises `KeyError` for a name that is not there."""

    def get(name: str) -> Any:
        if isinstance(values, dict) and name in values:
            return values[name]
        if not _has(values, name):
            raise KeyError(name)
        return jmespath.search(name, values)

    return get
