"""The `Crm` port on Salesforce's REST API, by simple-salesforce. Reads due claims and files, writes outcomes.

Due is a record without status, and one whose claim is dead: intake compares its content and ignores it unless a person
corrected it. (Comparing times instead would fail: our own write moves LastModifiedDate too.)
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import requests
from simple_salesforce.api import Salesforce, SFType
from simple_salesforce.exceptions import SalesforceError
from simple_salesforce.format import format_soql
from simple_salesforce.util import exception_handler

from oem_submissions.crm.connection import Connection, errors_of, jwt_assertion
from oem_submissions.crm.fetching import limited
from oem_submissions.crm.mapping import JwtBearer, SalesforceMapping
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
from oem_submissions.crm.untrusted import clean_text, media_type_of
from oem_submissions.ports import CrmFile, CrmFileRefused, CrmOutcome, CrmRecord, CrmUnavailable

Row = dict[str, Any]

_IDS_PER_QUERY = 200
"""Keeps a query's address under 8 kB, which every proxy lets through."""
_CHUNK = 64 * 1024


class SalesforceCrm:
    """Speaks to one Salesforce org with a connected app's secret or certificate. Not for several threads at once.

    Raises `ConfigurationError` when the address is not https, a credential is empty or the CA file is none.
    """

    def __init__(
        self,
        instance_url: str,
        client_id: str,
        client_secret: str,
        *,
        ca_file: Path | None = None,
        mapping: SalesforceMapping | None = None,
    ) -> None:
        """`client_secret` is the private key, PEM, when the mapping's log-in is by JWT."""
        self._mapping = mapping or SalesforceMapping()
        auth, assertion = self._mapping.auth, None
        if isinstance(auth, JwtBearer):
            assertion = jwt_assertion(client_id, auth.username, auth.audience, client_secret)
        self._connection = Connection(instance_url, client_id, client_secret, ca_file, assertion=assertion)

    def close(self) -> None:
        """Lets go of the sockets."""
        self._connection.close()

    def due_records(self, modified_after: datetime | None = None) -> Iterator[CrmRecord]:
        """Every record that is due, oldest change first; with `modified_after`, those changed in that second or later.

        Raises `CrmUnavailable`; never ends early in silence.
        """
        for page in self._pages(self._due_query(modified_after)):
            yield from self._readable(page)

    def records(self, record_ids: Collection[str]) -> dict[str, CrmRecord | None]:
        """By id, of 15 or 18 characters: the record, or None when it is not due. Raises `CrmUnavailable`."""
        found: dict[str, CrmRecord | None] = {}
        for some in _portions(list(record_ids)):
            for page in self._pages(self._select() + format_soql(" WHERE Id IN {}", some)):
                with self._connection.making_sense("list readable records"):
                    found |= {row["Id"][:15]: None for row in page}
                    due = [row for row in page if is_due(self._mapping, row.__getitem__)]
                found |= {record.record_id[:15]: record for record in self._readable(due)}
        return {one: found[one[:15]] for one in record_ids if _is_id(one) and one[:15] in found}

    def download(self, file_id: str, max_bytes: int) -> bytes:
        """A file's bytes, never reading more than `max_bytes`. Raises `CrmFileRefused` or `CrmUnavailable`."""
        if not _is_id(file_id):
            raise CrmFileRefused(f"Salesforce has no file {file_id[:40]!r}; attach the file to the record again.")
        return self._connection.ask(f"give the file {file_id}", lambda crm: _fetch(crm, file_id, max_bytes))

    def write_outcome(self, record_id: str, outcome: CrmOutcome) -> None:
        """Write the outcome on the record; an equal one is not written again.

        Raises `CrmRecordConflict` when the record holds another reference, or that of another claim, or when another
        record holds this claim id; nothing is overwritten then. Raises `CrmUnavailable`.
        """
        for _ in range(2):
            row = self._read(record_id)
            with self._connection.making_sense(f"give a readable record {record_id}"):
                held = refuse_conflict(self._mapping, record_id, row.__getitem__, outcome)
                modified_at = parse_time(row["LastModifiedDate"])
            if is_told(self._mapping, held, outcome):
                return
            if self._update(record_id, outcome, modified_at):
                return
        why = f"the record {record_id} was changed by others while it was being written; it is tried again by itself"
        raise CrmUnavailable(f"Salesforce did not take the outcome: {why}.")

    def read_outcome(self, record_id: str) -> CrmOutcome | None:
        """What the record says now; None when it has no status. Raises `CrmUnavailable`."""
        row = self._read(record_id)
        with self._connection.making_sense(f"give a readable record {record_id}"):
            return outcome_of(self._mapping, row.__getitem__)

    def missing_fields(self) -> list[str]:
        """Fields of the mapping that the CRM's object lacks, or does not let us see. Raises `CrmUnavailable`."""

        def question(crm: Salesforce) -> set[str]:
            return {str(field["name"]) for field in self._object(crm).describe()["fields"]}

        there = self._connection.ask("describe its object", question)
        return sorted({*self._mapping.record.names(), *self._mapping.outcome.names().values()} - there)

    # reading

    def _select(self) -> str:
        names = dict.fromkeys(["Id", "LastModifiedDate", self._mapping.outcome.status, *self._mapping.record.names()])
        return f"SELECT {', '.join(names)} FROM {self._mapping.object}"  # noqa: S608 - names of the mapping

    def _readable(self, page: list[Row]) -> list[CrmRecord]:
        with self._connection.making_sense("list readable records"):
            files = self._files([row["Id"] for row in page])
            return [self._record(row, files[row["Id"]]) for row in page]

    def _due_query(self, modified_after: datetime | None) -> str:
        status, query = self._mapping.outcome.status, self._select()
        query += format_soql(f" WHERE ({status} = null OR {status} IN {{}})", list(self._mapping.waiting))
        if modified_after is not None:
            # SOQL times are whole seconds, so the second itself belongs to it: twice is harmless, never is not.
            query += format_soql(" AND LastModifiedDate >= {}", modified_after)
        return query + " ORDER BY LastModifiedDate ASC, Id ASC"

    def _pages(self, query: str) -> Iterator[list[Row]]:
        attempt = "list records"
        answer = self._connection.ask(attempt, lambda crm: _page(crm.query(query)))
        announced, delivered = answer["totalSize"], 0
        while True:
            delivered += len(answer["records"])
            yield answer["records"]
            if answer["done"]:
                break
            following = answer["nextRecordsUrl"]
            answer = self._connection.ask(attempt, lambda crm, following=following: _more(crm, following))  # type: ignore[misc]
        if delivered < announced:
            why = f"it announced {announced} and gave {delivered}; it is tried again by itself"
            raise CrmUnavailable(f"Salesforce did not list all records: {why}.")

    def _files(self, record_ids: list[str]) -> dict[str, list[CrmFile]]:
        """The newest version of every file that hangs on the records."""
        records_of: dict[str, list[str]] = defaultdict(list)
        select = "SELECT ContentDocumentId, LinkedEntityId FROM ContentDocumentLink WHERE LinkedEntityId IN {}"
        for some in _portions(record_ids):
            for page in self._pages(format_soql(select, some)):
                for link in page:
                    records_of[link["ContentDocumentId"]].append(link["LinkedEntityId"])
        files: dict[str, list[CrmFile]] = defaultdict(list)
        names = "Id, ContentDocumentId, Title, PathOnClient, FileExtension, ContentSize"
        names += f", {self._mapping.file_kind}" if self._mapping.file_kind else ""
        select = f"SELECT {names} FROM ContentVersion WHERE IsLatest = true AND ContentDocumentId IN {{}}"  # noqa: S608
        for some in _portions(list(records_of)):
            for page in self._pages(format_soql(select, some)):
                for row in page:
                    for record_id in records_of[row["ContentDocumentId"]]:
                        files[record_id].append(self._file(row))
        return files

    def _file(self, row: Row) -> CrmFile:
        name = clean_text(row["PathOnClient"]).replace("\\", "/").rpartition("/")[2]
        if not name:
            name = ".".join(filter(None, (clean_text(row["Title"]), clean_text(row["FileExtension"]))))
        kind = clean_text(row[self._mapping.file_kind] if self._mapping.file_kind else None) or "other"
        return CrmFile(str(row["Id"]), name, media_type_of(name), int(row["ContentSize"] or 0), kind)

    def _record(self, row: Row, files: list[CrmFile]) -> CrmRecord:
        return record_of(self._mapping, row["Id"], row.__getitem__, files, parse_time(row["LastModifiedDate"]))

    def _read(self, record_id: str) -> Row:
        if not _is_id(record_id):
            raise CrmUnavailable(f"Salesforce can't have a record {record_id[:40]!r}: that is none of its ids.")
        wanted = ",".join(["Id", "LastModifiedDate", *self._mapping.outcome.names().values()])

        def question(crm: Salesforce) -> Row:
            row = self._object(crm).get(record_id, params={"fields": wanted})
            if missing := next((name for name in wanted.split(",") if name not in row), None):
                raise KeyError(missing)
            return dict(row)

        return self._connection.ask(f"give the record {record_id}", question)

    # writing

    def _update(self, record_id: str, outcome: CrmOutcome, unchanged_since: datetime) -> bool:
        """False when the record was changed after `unchanged_since`. By id: an upsert could make another record."""
        values = outcome_values(self._mapping, outcome)
        condition = {"If-Unmodified-Since": format_datetime(unchanged_since.astimezone(UTC), usegmt=True)}

        def question(crm: Salesforce) -> bool:
            try:
                self._object(crm).update(record_id, values, headers=condition)
            except SalesforceError as error:
                if error.status == requests.codes.precondition_failed:
                    return False
                if any(code == "DUPLICATE_VALUE" for code, _ in errors_of(error)):
                    raise twin_conflict(record_id, outcome.claim_id) from error
                raise
            return True

        return self._connection.ask(f"take the outcome on record {record_id}", question)

    def _object(self, crm: Salesforce) -> SFType:
        return SFType(
            self._mapping.object,
            crm.session_id,
            crm.sf_instance,
            sf_version=crm.sf_version,
            session=crm.session,
            salesforce=crm,
        )


def _is_id(text: str) -> bool:
    # The library joins ids into addresses unescaped: an id that is an address would carry the token elsewhere.
    return re.fullmatch(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?", text) is not None


def _portions(ids: list[str]) -> Iterator[list[str]]:
    safe = [one for one in dict.fromkeys(ids) if _is_id(one)]
    for start in range(0, len(safe), _IDS_PER_QUERY):
        yield safe[start : start + _IDS_PER_QUERY]


def _page(answer: Any) -> Row:
    """The answer to a query, if it has the shape of one. Raises `KeyError`, `TypeError` or `ValueError`."""
    if not all(isinstance(row, dict) for row in answer["records"]):
        raise TypeError("a record is no object")
    page = {"totalSize": int(answer["totalSize"]), "done": answer["done"], "records": answer["records"]}
    if not answer["done"]:
        page["nextRecordsUrl"] = str(answer["nextRecordsUrl"])
    return page


def _more(crm: Salesforce, following: str) -> Row:
    if not re.fullmatch(r"/services/data/v[\d.]+/query/[A-Za-z0-9-]+", following):
        raise ValueError("the address of the next page is none")  # the library would join it to the host unchecked
    answer = _page(crm.query_more(following, identifier_is_url=True))
    return answer


def _fetch(crm: Salesforce, file_id: str, max_bytes: int) -> bytes:
    url = f"{crm.base_url}sobjects/ContentVersion/{file_id}/VersionData"
    # Unpacked while streaming, a small packed answer could grow past the limit: ask for plain bytes.
    headers = {"Authorization": f"Bearer {crm.session_id}", "Accept-Encoding": "identity"}
    with crm.session.get(url, headers=headers, stream=True) as response:
        if response.status_code == requests.codes.not_found:
            raise CrmFileRefused(f"Salesforce has no file {file_id} any more; attach the file to the record again.")
        if response.status_code != requests.codes.ok:
            exception_handler(response, "ContentVersion")
        return limited(response.iter_content(min(_CHUNK, max_bytes + 1)), max_bytes, f"The file {file_id}")
