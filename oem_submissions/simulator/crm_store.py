"""What the simulated CRM remembers: records, files, log-ins. Rules of objects and fields, transactions; no HTTP.

A write is in the file before it is answered: a kill loses nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oem_submissions.simulator.crm_schema import (
    CLAIM,
    LINK,
    VERSION,
    ApiError,
    checked,
    fields_of,
    long_id,
    make_id,
    parse_time,
    time_text,
)
from oem_submissions.simulator.crm_soql import Row, parse

CLIENT_ID = "simulator-client"
CLIENT_SECRET = "simulator-secret"  # noqa: S105 - of the simulation
USERNAME = "integration@simulator.example"
PASSWORD = "simulator-password"  # noqa: S105 - of the simulation

_TABLES = """
CREATE TABLE IF NOT EXISTS claims (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, claim_id TEXT UNIQUE COLLATE NOCASE, fields TEXT NOT NULL,
    writes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS files (
    id TEXT PRIMARY KEY, record_id TEXT NOT NULL, position INTEGER NOT NULL, fields TEXT NOT NULL,
    content BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS files_of_record ON files (record_id);
CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY);
"""
_SEED_KEYS = {
    "name": "Name",
    "oem": "OEM__c",
    "dealer": "Dealer_Code__c",
    "claim_type": "Claim_Type__c",
    "due_on": "Due_On__c",
}


class CrmTruth:
    """Records and files of the CRM. With a state folder they survive a restart; without, they live in memory."""

    def __init__(
        self, state_dir: Path | None = None, page_size: int = 2000, now: Callable[[], datetime] | None = None
    ) -> None:
        self.page_size = page_size
        self.certificate: str | None = None
        """Records per page of a query."""
        self.now = now or (lambda: datetime.now(UTC))
        self._lock = threading.RLock()
        path = str(state_dir / "crm.sqlite") if state_dir else ":memory:"
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        if state_dir is not None:
            self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.executescript(_TABLES)
        self._cursors: dict[str, tuple[str, list[str]]] = {}

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    # log-in

    def new_token(self) -> str:
        """A token that opens the API until it is forgotten."""
        token = f"00D{secrets.token_hex(6)}!{secrets.token_urlsafe(48)}"
        with self._transaction() as connection:
            connection.execute("INSERT INTO tokens VALUES (?)", (token,))
        return token

    def knows_token(self, token: str) -> bool:
        """Whether the token opens the API."""
        return bool(self._rows("SELECT 1 FROM tokens WHERE token = ?", token))

    def forget_tokens(self) -> None:
        """Every session is over; a new log-in helps."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM tokens")

    # reading

    def rows(self, object_name: str) -> list[Row]:
        """Every row of an object, all fields."""
        if object_name == CLAIM:
            return [json.loads(row["fields"]) for row in self._rows("SELECT fields FROM claims ORDER BY id")]
        files = self._rows("SELECT id, record_id, fields FROM files ORDER BY record_id, position")
        if object_name == VERSION:
            return [json.loads(row["fields"]) for row in files]
        links = []
        for row in files:
            document = json.loads(row["fields"])["ContentDocumentId"]
            links.append(
                {"Id": make_id("06A", row["id"]), "ContentDocumentId": document, "LinkedEntityId": row["record_id"]}
            )
        return links

    def row(self, object_name: str, by: str, value: str) -> Row:
        """One row by id or external id. Raises `ApiError` NOT_FOUND."""
        field = fields_of(object_name).get(by)
        if field is None or not (field.external_id or by == "Id"):
            raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
        if object_name == CLAIM:
            column, key = ("id", long_id(value)) if by == "Id" else ("claim_id", value)
            found = self._rows(f"SELECT fields FROM claims WHERE {column} = ?", key)  # noqa: S608 - one of two
            rows = [json.loads(row["fields"]) for row in found]
        else:
            rows = self.rows(object_name)
        wanted = long_id(value) if by == "Id" else value.lower()
        for row in rows:
            if row[by] is not None and (row[by] if by == "Id" else row[by].lower()) == wanted:
                return row
        raise ApiError(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: " + value)

    def query(self, soql: str) -> tuple[int, list[Row], str | None]:
        """Total size, the first page, and the name of the next one. Raises `ApiError`."""
        query = parse(soql)
        if query.object_name == LINK and not query.filtered_fields & {"ContentDocumentId", "LinkedEntityId"}:
            why = (
                "Implementation restriction: ContentDocumentLink requires a filter by a single Id on ContentDocumentId"
            )
            raise ApiError(
                400, "MALFORMED_QUERY", f"{why} or LinkedEntityId using the equals operator or multiple Id's"
            )
        found = query.rows(self.rows(query.object_name))
        self._cursors = dict(list(self._cursors.items())[-9:])  # Salesforce, too, forgets the oldest of ten
        locator = make_id("01g", secrets.token_hex(8))
        self._cursors[locator] = (soql, [row["Id"] for row in found])
        rows, following = self.page(f"{locator}-0")
        return len(found), rows, following

    def page(self, name: str) -> tuple[list[Row], str | None]:
        """The page of a cursor: the rows that the query found, as they are now. Raises `ApiError`."""
        locator, _, offset = name.partition("-")
        if locator not in self._cursors or not offset.isdigit():
            raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        soql, ids = self._cursors[locator]
        query, start = parse(soql), int(offset)
        by_id = {row["Id"]: row for row in self.rows(query.object_name)}
        page = [by_id[i] for i in ids[start : start + self.page_size] if i in by_id]
        end = start + self.page_size
        rows = [{name: row[name] for name in query.fields} for row in page]
        return rows, f"{locator}-{end}" if end < len(ids) else None

    def content(self, version_id: str) -> bytes:
        """A file's bytes. Raises `ApiError` NOT_FOUND."""
        rows = self._rows("SELECT content FROM files WHERE id = ?", long_id(version_id))
        if not rows:
            raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
        content: bytes = rows[0]["content"]
        return content

    # writing through the API

    def create(self, values: dict[str, Any]) -> str:
        """A new claim record; returns its id. Raises `ApiError`."""
        stored = checked(CLAIM, values)
        record_id = make_id("a0X", secrets.token_hex(8))
        with self._transaction() as connection:
            self._insert(connection, record_id, {"Name": f"CLM-{record_id[3:12]}"} | stored)
        return record_id

    def update(self, record_id: str, values: dict[str, Any], unchanged_since: datetime | None = None) -> None:
        """Changes a claim record. Raises `ApiError`, PRECONDITION_FAILED when it changed after `unchanged_since`."""
        with self._transaction() as connection:
            row = self.row(CLAIM, "Id", record_id)
            if unchanged_since is not None and parse_time(row["LastModifiedDate"]) > unchanged_since:
                raise ApiError(412, "PRECONDITION_FAILED", "the record changed since the given time")
            self._save(connection, row | checked(CLAIM, values))
            connection.execute("UPDATE claims SET writes = writes + 1 WHERE id = ?", (row["Id"],))

    def _insert(self, connection: sqlite3.Connection, record_id: str, stored: Row) -> None:
        row = dict.fromkeys(fields_of(CLAIM)) | stored | {"Id": record_id}
        connection.execute(
            "INSERT INTO claims (id, name, fields) VALUES (?, ?, '{}')", (record_id, str(row["Name"] or record_id))
        )
        self._save(connection, row)

    def _save(self, connection: sqlite3.Connection, row: Row, at: str | None = None) -> None:
        now = at or time_text(self.now())
        row |= {"LastModifiedDate": now, "SystemModstamp": now}
        try:
            connection.execute(
                "UPDATE claims SET claim_id = ?, fields = ? WHERE id = ?",
                (row["Submission_Claim_Id__c"], json.dumps(row), row["Id"]),
            )
        except sqlite3.IntegrityError as error:
            other = self.row(CLAIM, "Submission_Claim_Id__c", row["Submission_Claim_Id__c"])["Id"]
            text = f"duplicate value found: Submission_Claim_Id__c duplicates value on record with id: {other}"
            raise ApiError(400, "DUPLICATE_VALUE", text) from error

    # writing as people do

    def seed(self, record: dict[str, Any]) -> tuple[str, bool]:
        """A record with its files, as a person or another program made it; returns its id, and whether it is new.

        A record whose `name` exists already is left untouched. Keys: name, oem, dealer, claim_type, due_on, payload
        (object or raw text), files (name, kind, content in base64), fields (raw, by API name), modified_at.
        """
        name = str(record["name"])
        known = self._rows("SELECT id FROM claims WHERE name = ?", name)
        if known:
            return str(known[0]["id"]), False
        values = {field: record.get(key) for key, field in _SEED_KEYS.items()}
        values["Payload__c"] = _payload_text(record.get("payload"))
        stored = checked(CLAIM, values | record.get("fields", {}))
        record_id = make_id("a0X", name)
        with self._transaction() as connection:
            self._insert(connection, record_id, stored)
            if record.get("modified_at"):
                row = self.row(CLAIM, "Id", record_id)
                self._save(connection, row, time_text(parse_time(record["modified_at"])))
            self._attach(connection, record_id, record.get("files", []))
        return record_id, True

    def edit(self, record_id: str, change: dict[str, Any]) -> None:
        """A person edits: `payload` (object: merged in; text: replaced), `fields` by API name, `files` (all anew)."""
        with self._transaction() as connection:
            row = self.row(CLAIM, "Id", record_id)
            payload = change.get("payload")
            if isinstance(payload, dict):
                payload = json.dumps(json.loads(row["Payload__c"] or "{}") | payload)
            if payload is not None:
                row |= checked(CLAIM, {"Payload__c": payload})
            self._save(connection, row | checked(CLAIM, change.get("fields", {})))
            if "files" in change:
                connection.execute("DELETE FROM files WHERE record_id = ?", (row["Id"],))
                self._attach(connection, row["Id"], change["files"])

    def _attach(self, connection: sqlite3.Connection, record_id: str, files: list[dict[str, Any]]) -> None:
        for position, file in enumerate(files):
            try:
                content = base64.b64decode(file["content"], validate=True)
            except (binascii.Error, ValueError) as error:
                raise ApiError(400, "JSON_PARSER_ERROR", f"file {file['name']!r} is no base64") from error
            name, digest = str(file["name"]), hashlib.sha256(content).hexdigest()
            title, _, extension = name.rpartition(".")
            seed = f"{record_id} {position} {name} {digest}"
            fields = {
                "Id": make_id("068", seed),
                "ContentDocumentId": make_id("069", seed),
                "Title": title or name,
                "PathOnClient": name,
                "FileExtension": extension.lower() if title else None,
                "FileType": extension.upper() if title else "UNKNOWN",
                "ContentSize": file.get("claimed_size", len(content)),
                "IsLatest": True,
                "Attachment_Kind__c": file.get("kind"),
            }
            connection.execute(
                "INSERT INTO files VALUES (?, ?, ?, ?, ?)",
                (fields["Id"], record_id, position, json.dumps(fields), content),
            )

    def everything(self) -> list[dict[str, Any]]:
        """Every record with its files, and how often the API wrote it: the truth that tests compare with."""
        found = []
        for row in self._rows("SELECT id, fields, writes FROM claims ORDER BY name"):
            files = [
                json.loads(file["fields"]) | {"sha256": hashlib.sha256(file["content"]).hexdigest()}
                for file in self._rows("SELECT * FROM files WHERE record_id = ? ORDER BY position", row["id"])
            ]
            found.append(
                {"id": row["id"], "fields": json.loads(row["fields"]), "writes": row["writes"], "files": files}
            )
        return found

    def forget(self) -> None:
        """Empties everything but log-ins."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM claims")
            connection.execute("DELETE FROM files")
        self._cursors.clear()


def _payload_text(payload: Any) -> str | None:
    return payload if payload is None or isinstance(payload, str) else json.dumps(payload)
