"""The `Crm` port on HubSpot, by its own client: tickets or custom objects, the files of their notes.

HubSpot has no way to write only what was not changed meanwhile. What it has is a history of each property: a reference
that came between reading and writing is found there, put back, and said. The client takes a second to import, so it is
imported when a CRM is made; its search is a few seconds behind, so nothing is concluded from what it does not list.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from oem_submissions.crm.fetching import fetch
from oem_submissions.crm.mapping import HubSpotMapping
from oem_submissions.crm.rest_api import PATIENCE, retry_after
from oem_submissions.crm.rows import (
    is_due,
    is_told,
    outcome_of,
    outcome_values,
    parse_time,
    record_of,
    refuse_conflict,
    twin_conflict,
)
from oem_submissions.crm.transport import TIMEOUT
from oem_submissions.crm.untrusted import clean_text, media_type_of, quoted
from oem_submissions.ports import (
    CrmFile,
    CrmFileRefused,
    CrmOutage,
    CrmOutcome,
    CrmRecord,
    CrmRecordConflict,
    CrmUnavailable,
)

_PAGE = 100
_SEARCHED = 10_000
"""So many a search lists at the most: then it is asked anew, from the time where it ended."""
_MODIFIED = "hs_lastmodifieddate"
_FILES = "hs_attachment_ids"
_TWIN = ("CONFLICTING_UNIQUE_VALUE", "already has that value")
_REMEDIES = {
    400: "compare the CRM's mapping with HubSpot's properties",
    401: "check the secret crm/token",
    403: "give the private app the scopes that docs/crm.md names",
    404: "check that the record and the object of the CRM's mapping exist",
}
_RETRY = "it is tried again by itself"


class HubSpotCrm:
    """Speaks to one HubSpot account with a private app's token. Not for several threads at once."""

    def __init__(
        self,
        mapping: HubSpotMapping,
        token: str,
        ca_file: Path | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        import hubspot.crm.associations.v4 as associations
        import hubspot.crm.objects as objects
        import hubspot.crm.properties as properties
        import hubspot.files as files
        from hubspot import HubSpot

        self._mapping, self._token, self._ca_file, self._wait = mapping, token, ca_file, wait
        self._models, self._links = objects, associations
        self._refusals: tuple[type[Exception], ...] = tuple(
            package.ApiException for package in (associations, objects, properties, files)
        )
        options = {"ssl_ca_cert": str(ca_file)} if ca_file else {}
        # No retry of its own: a write is repeated by nobody but us. Nor a redirect: the token goes nowhere else.
        client = HubSpot(access_token=token, host=mapping.url, retry=Retry(0), **options)
        self._objects, self._associations, self._files = client.crm.objects, client.crm.associations.v4, client.files
        self._basic, self._search, self._batch = (
            self._objects.basic_api, self._objects.search_api, self._objects.batch_api,
        )  # fmt: skip
        self._notes, self._properties = self._associations.batch_api, client.crm.properties.core_api
        self._attached = self._files.files_api

    def close(self) -> None:
        """Lets go of the sockets."""
        for api in (self._basic, self._search, self._batch, self._notes, self._properties, self._attached):
            api.api_client.rest_client.pool_manager.clear()

    # --- the port ---

    def due_records(self, modified_after: datetime | None = None) -> Iterator[CrmRecord]:
        """Every record that the search lists as due, oldest change first. Raises `CrmUnavailable`."""
        since, seen = modified_after.replace(microsecond=0) if modified_after else None, set[str]()
        while True:
            listed, last = 0, since
            for rows in self._found(self._due_filters(since)):
                listed += len(rows)
                with self._making_sense("list readable records"):
                    new = [row for row in rows if row.id not in seen and is_due(self._mapping, _get(row))]
                    last = parse_time(rows[-1].properties[_MODIFIED]) if rows else last
                    seen |= {row.id for row in rows}
                yield from self._records(new)
            if listed < _SEARCHED:
                return
            if last == since:
                why = f"more than {_SEARCHED:,} were changed in one moment, and its search shows no more"
                raise CrmUnavailable(f"HubSpot did not list all records: {why}; change some of them again.")
            since = last

    def records(self, record_ids: Collection[str]) -> dict[str, CrmRecord | None]:
        """By id: the record, or None when it is not due. Raises `CrmUnavailable`."""
        found: dict[str, CrmRecord | None] = {}
        names = [_MODIFIED, self._mapping.outcome.status, *self._mapping.record.names()]
        for rows in self._read_batches(self._mapping.object, [one for one in record_ids if _is_id(one)], names):
            with self._making_sense("list readable records"):
                due = [row for row in rows if is_due(self._mapping, _get(row))]
            found |= {row.id: None for row in rows}
            found |= {record.record_id: record for record in self._records(due)}
        return found

    def download(self, file_id: str, max_bytes: int) -> bytes:
        """A file's bytes, from the address that HubSpot signs. Raises `CrmFileRefused` or `CrmUnavailable`."""
        gone = CrmFileRefused(f"HubSpot has no file {file_id[:40]!r}; attach the file to the record again.")
        if not _is_id(file_id):
            raise gone
        signed = self._ask(
            f"give the file {file_id}", lambda limit: self._attached.get_signed_url(file_id, **limit), gone
        )
        return fetch(str(signed.url), max_bytes, self._mapping.private_hosts, self._ca_file)

    def write_outcome(self, record_id: str, outcome: CrmOutcome) -> None:
        """Write the outcome; a reference that came between is put back. Raises also `CrmRecordConflict`."""
        row = self._existing(record_id)
        with self._making_sense(f"give a readable record {record_id}"):
            held = refuse_conflict(self._mapping, record_id, _get(row), outcome)
        if is_told(self._mapping, held, outcome):
            return
        self._refuse_twin(record_id, outcome.claim_id)
        values = {name: value or "" for name, value in outcome_values(self._mapping, outcome).items()}
        self._update(record_id, values, outcome.claim_id)
        self._put_back_what_came_between(record_id, row, outcome)

    def read_outcome(self, record_id: str) -> CrmOutcome | None:
        """What the record says now; None when it has no outcome. Raises `CrmUnavailable`."""
        row = self._existing(record_id)
        with self._making_sense(f"give a readable record {record_id}"):
            return outcome_of(self._mapping, _get(row))

    def missing_fields(self) -> list[str]:
        """Properties of the mapping that the object lacks. Raises `CrmUnavailable`."""
        attempt = "describe its object"
        answer = self._ask(attempt, lambda limit: self._properties.get_all(self._mapping.object, **limit))
        there = {one.name for one in answer.results}
        return sorted({*self._mapping.record.names(), *self._mapping.outcome.names().values()} - there)

    # --- reading ---

    def _due_filters(self, since: datetime | None) -> list[dict[str, Any]]:
        """Without a status, or with one that makes due: either, and changed since then."""
        status, later = self._mapping.outcome.status, []
        if since is not None:
            milliseconds = str(int(since.timestamp() * 1000))
            later = [{"propertyName": _MODIFIED, "operator": "GTE", "value": milliseconds}]
        empty = {"propertyName": status, "operator": "NOT_HAS_PROPERTY"}
        waiting = {"propertyName": status, "operator": "IN", "values": list(self._mapping.waiting)}
        return [{"filters": [empty, *later]}, {"filters": [waiting, *later]}]

    def _found(self, groups: list[dict[str, Any]]) -> Iterator[list[Any]]:
        """Pages of a search; whole up to what a search lists."""
        names = [_MODIFIED, self._mapping.outcome.status, *self._mapping.record.names()]
        asked: dict[str, Any] = {
            "filterGroups": groups,
            "sorts": [{"propertyName": _MODIFIED, "direction": "ASCENDING"}],
            "properties": list(dict.fromkeys(names)),
            "limit": _PAGE,
        }
        listed, after = 0, None
        while listed < _SEARCHED:
            request = {**asked, "after": after} if after else asked
            answer = self._ask(
                "list records",
                lambda limit, request=request: self._search.do_search(self._mapping.object, request, **limit),  # type: ignore[misc]
            )
            listed += len(answer.results)
            yield answer.results
            after = answer.paging.next.after if answer.paging and answer.paging.next else None
            if after is None:
                if listed < min(int(answer.total), _SEARCHED):
                    why = f"it announced {answer.total} and gave {listed}; {_RETRY}"
                    raise CrmUnavailable(f"HubSpot did not list all records: {why}.")
                return

    def _read_batches(self, kind: str, ids: list[str], names: list[str]) -> Iterator[list[Any]]:
        """Those of them that are there: an answer in parts (207) names the others, and only absence is one."""
        for start in range(0, len(ids), _PAGE):
            some = [self._models.SimplePublicObjectId(id=one) for one in dict.fromkeys(ids[start : start + _PAGE])]
            request = self._models.BatchReadInputSimplePublicObjectId(
                inputs=some, properties=list(dict.fromkeys(names)), properties_with_history=[]
            )
            answer = self._ask(
                "give records",
                lambda limit, request=request: self._batch.read(kind, request, **limit),  # type: ignore[misc]
            )
            self._refuse_parts("give records", answer)
            yield answer.results

    def _refuse_parts(self, attempt: str, answer: Any) -> None:
        """What of an answer in parts failed for another reason than that it is not there."""
        for error in getattr(answer, "errors", None) or []:
            if error.category != "OBJECT_NOT_FOUND":
                raise self._failed(attempt, quoted(str(error.message), (self._token,)), _RETRY)

    def _existing(self, record_id: str) -> Any:
        gone = CrmUnavailable(
            f"HubSpot has no record {record_id[:40]!r}: check that it is there and that we may see it."
        )
        if not _is_id(record_id):
            raise gone
        names = list(self._mapping.outcome.names().values())
        history = [self._mapping.outcome.reference]

        def question(limit: dict[str, Any]) -> Any:
            return self._basic.get_by_id(
                self._mapping.object, record_id, properties=names, properties_with_history=history, **limit
            )

        row = self._ask(f"give the record {record_id}", question, gone)
        if missing := next((name for name in names if name not in row.properties), None):
            raise self._failed(f"give the record {record_id}", f"it has no property {missing}", _REMEDIES[400])
        return row

    def _records(self, rows: list[Any]) -> list[CrmRecord]:
        files = self._files_of([row.id for row in rows])
        with self._making_sense("list readable records"):
            return [
                record_of(
                    self._mapping, row.id, _get(row), files.get(row.id, []), parse_time(row.properties[_MODIFIED])
                )
                for row in rows
            ]

    # --- files ---

    def _files_of(self, record_ids: list[str]) -> dict[str, list[CrmFile]]:
        """The files of the notes that hang on the records: three kinds of calls for a hundred records."""
        notes: dict[str, list[str]] = {}
        for start in range(0, len(record_ids), _PAGE):
            some = [
                self._links.PublicFetchAssociationsBatchRequest(id=one) for one in record_ids[start : start + _PAGE]
            ]
            request = self._links.BatchInputPublicFetchAssociationsBatchRequest(inputs=some)
            attempt = "list the notes of records"
            answer = self._ask(
                attempt,
                lambda limit, request=request: self._notes.get_page(self._mapping.object, "notes", request, **limit),  # type: ignore[misc]
            )
            self._refuse_parts(attempt, answer)
            for one in answer.results:
                notes[str(one._from.id)] = [str(to.to_object_id) for to in one.to]
        every = list(dict.fromkeys(note for some in notes.values() for note in some))
        attached: dict[str, list[str]] = {}
        for rows in self._read_batches("notes", every, [_FILES]):
            attached |= {row.id: [one for one in (row.properties.get(_FILES) or "").split(";") if one] for row in rows}
        known: dict[str, CrmFile | None] = {}
        for file_id in (one for some in attached.values() for one in some):
            if file_id not in known:
                known[file_id] = self._file(file_id)
        of = {record: [one for note in some for one in attached.get(note, [])] for record, some in notes.items()}
        return {record: [file for one in dict.fromkeys(ids) if (file := known[one])] for record, ids in of.items()}

    def _file(self, file_id: str) -> CrmFile | None:
        """What a file is; None when a note names one that was deleted."""
        gone, attempt = CrmFileRefused("deleted"), f"describe the file {file_id[:40]!r}"
        if not _is_id(file_id):
            return None
        try:
            file = self._ask(attempt, lambda limit: self._attached.get_by_id(file_id, **limit), gone)
        except CrmFileRefused:
            return None
        name = clean_text(file.name)
        extension = clean_text(file.extension)
        if extension and not name.lower().endswith(f".{extension.lower()}"):
            name = f"{name}.{extension}"
        return CrmFile(file_id, name, media_type_of(name), int(file.size or 0), "other")

    # --- writing ---

    def _refuse_twin(self, record_id: str, claim_id: str) -> None:
        """The search may be behind: that the property's values are unique is what holds."""
        same = {"propertyName": self._mapping.outcome.claim_id, "operator": "EQ", "value": claim_id}
        for rows in self._found([{"filters": [same]}]):
            if other := next((row.id for row in rows if row.id != record_id), None):
                raise twin_conflict(record_id, claim_id, f"record {other}")

    def _update(self, record_id: str, values: dict[str, str], claim_id: str) -> None:
        written = self._models.SimplePublicObjectInput(properties=values)

        def question(limit: dict[str, Any]) -> Any:
            try:
                return self._basic.update(self._mapping.object, record_id, written, **limit)
            except self._refusals as error:
                if any(word in str(getattr(error, "body", "")) for word in _TWIN):
                    raise twin_conflict(record_id, claim_id) from error
                raise

        self._ask(f"take the outcome on record {record_id}", question)

    def _put_back_what_came_between(self, record_id: str, before: Any, outcome: CrmOutcome) -> None:
        name = self._mapping.outcome.reference
        known = {(one.timestamp, one.value) for one in before.properties_with_history[name]}
        history = self._existing(record_id).properties_with_history[name]
        between = [
            one.value
            for one in sorted(history, key=lambda one: one.timestamp)
            if (one.timestamp, one.value) not in known and one.value not in ("", None, outcome.reference)
        ]
        if between:
            self._update(record_id, {name: between[-1]}, outcome.claim_id)
            raise CrmRecordConflict(
                f"The CRM's record {record_id} was given the reference {between[-1]!r:.200} while we wrote"
                f" {outcome.reference!r} of claim {outcome.claim_id!r}; theirs was put back, decide which is right."
            )

    # --- asking ---

    def _ask(self, attempt: str, question: Callable[[dict[str, Any]], Any], absent: Exception | None = None) -> Any:
        """The answer; `absent` is raised for 404. Waits when HubSpot asks for it, as long as we have patience."""
        left = PATIENCE
        while True:
            try:
                with self._making_sense(attempt):
                    return question({"_request_timeout": TIMEOUT})
            except self._refusals as error:
                status, headers = getattr(error, "status", None), getattr(error, "headers", None) or {}
                if status == 404 and absent is not None:
                    raise absent from error
                if status != 429:
                    raise self._refused(attempt, status, getattr(error, "body", None)) from error
                seconds = retry_after(headers)
                seconds = 1.0 if seconds is None else seconds
                if seconds > left:
                    raise self._outage(attempt, f"it asks to wait {seconds:.0f} s (HTTP 429)", _RETRY) from error
                left -= max(seconds, 0.1)
                self._wait(seconds)
            except HTTPError as error:
                raise self._outage(attempt, f"no whole answer came ({type(error).__name__})", _RETRY) from error

    @contextmanager
    def _making_sense(self, attempt: str) -> Iterator[None]:
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            why = f"its answer makes no sense ({type(error).__name__}: {quoted(str(error), (self._token,))})"
            raise self._failed(attempt, why, "check that the CRM's address leads to HubSpot") from error

    def _refused(self, attempt: str, status: int | None, body: Any) -> CrmUnavailable:
        said = None
        try:
            said = json.loads(body)["message"]
        except (KeyError, TypeError, ValueError):
            pass
        why = f"it answered HTTP {status}" + (f", {quoted(str(said), (self._token,))}" if said else "")
        if status in (None, 0, 401, 502, 503, 504):
            return self._outage(attempt, why, _REMEDIES.get(status or 0, _RETRY))
        return self._failed(attempt, why, _REMEDIES.get(status, _RETRY))

    def _outage(self, attempt: str, why: str, remedy: str) -> CrmOutage:
        return CrmOutage(f"HubSpot did not {attempt}: {why}; {remedy}.")

    def _failed(self, attempt: str, why: str, remedy: str) -> CrmUnavailable:
        return CrmUnavailable(f"HubSpot did not {attempt}: {why}; {remedy}.")


def _is_id(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,20}", text) is not None


def _get(row: Any) -> Callable[[str], Any]:
    return lambda name: row.properties[name]
