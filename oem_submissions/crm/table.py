"""The `Crm` port on a PostgreSQL table, for people whose CRM is a database. It writes on rows, and makes none.

A row is compared and written under its lock, in one transaction: nobody comes between. Reading is by key, a page and a
short transaction at a time: a row that moves while the list is read is read again, or later, and none is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from oem_submissions.crm.fetching import fetch
from oem_submissions.crm.mapping import TableMapping
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
from oem_submissions.crm.untrusted import clean_text, media_type_of, quoted
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.ports import CrmFile, CrmFileRefused, CrmOutage, CrmOutcome, CrmRecord, CrmUnavailable

Row = dict[str, Any]

_PAGE = 200
_EPOCH = datetime.fromtimestamp(0, UTC)
_PATIENCE = {"connect_timeout": 5, "options": "-c statement_timeout=30s -c lock_timeout=5s"}
_NO_ID = (errors.InvalidTextRepresentation, errors.NumericValueOutOfRange, errors.UntranslatableCharacter)
"""What the database says of a text that can't be a key of this table."""
_BAD_SCHEMA = (errors.UndefinedColumn, errors.UndefinedTable, errors.InsufficientPrivilege, errors.InvalidSchemaName)


class TableCrm:
    """Speaks to one table; connects when it is first asked, and again after an outage. Not for several threads.

    Files at addresses are fetched with `ca_file`; the database's own is in its URL.
    """

    def __init__(
        self, mapping: TableMapping, database_url: str, ca_file: Path | None = None, page: int = _PAGE
    ) -> None:
        if not database_url.startswith(("postgresql://", "postgres://")):
            raise ConfigurationError("The secret crm/database_url should begin with postgresql://.")
        self._mapping, self._url, self._ca_file, self._page = mapping, database_url, ca_file, page
        self._connection: psycopg.Connection[Row] | None = None
        self._table = sql.Identifier(mapping.schema_, mapping.table)
        self._key = sql.Identifier(mapping.key)
        # A row that nobody says the time of is as old as can be, and not lost between two pages.
        self._modified = sql.SQL("COALESCE({}, 'epoch'::timestamptz)").format(sql.Identifier(mapping.modified))

    def close(self) -> None:
        """Lets go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- the port ---

    def due_records(self, modified_after: datetime | None = None) -> Iterator[CrmRecord]:
        """Every record that is due, oldest change first. Raises `CrmUnavailable`."""
        since = modified_after.replace(microsecond=0) if modified_after else None
        modified, status = self._modified, sql.Identifier(self._mapping.outcome.status)
        page = sql.SQL(
            "{select} WHERE ({status} IS NULL OR {status}::text = ANY(%(waiting)s))"
            " AND (%(since)s::timestamptz IS NULL OR {modified} >= %(since)s) {after}"
            " ORDER BY {modified}, {key} LIMIT %(limit)s"
        )
        last: dict[str, Any] | None = None
        while True:
            following = "AND ({modified}, {key}) > (%(last_modified)s, %(last_key)s)" if last else ""
            after = sql.SQL(following).format(modified=modified, key=self._key)
            query = page.format(select=self._select(), status=status, modified=modified, key=self._key, after=after)
            known = {"waiting": ["", *self._mapping.waiting], "since": since, "limit": self._page, **(last or {})}
            with self._transaction("list records") as connection:
                rows = connection.execute(query, known).fetchall()
                records = self._records(connection, rows)
            yield from records
            if len(rows) < self._page:
                return
            last = {
                "last_modified": rows[-1][self._mapping.modified] or _EPOCH,
                "last_key": rows[-1][self._mapping.key],
            }

    def records(self, record_ids: Collection[str]) -> dict[str, CrmRecord | None]:
        """By id: the record, or None when it is not due. Raises `CrmUnavailable`."""
        found: dict[str, CrmRecord | None] = {}
        for record_id in record_ids:
            with self._transaction(f"give the record {record_id[:40]!r}") as connection:
                row = self._row(connection, self._select(), record_id)
                if row is not None:
                    due = [row] if is_due(self._mapping, row.__getitem__) else []
                    found[record_id] = next(iter(self._records(connection, due)), None)
        return found

    def download(self, file_id: str, max_bytes: int) -> bytes:
        """A file's bytes. Raises `CrmFileRefused` or `CrmUnavailable`."""
        files, (key, _, digest) = self._mapping.files, file_id.rpartition("/")
        gone = CrmFileRefused(f"The CRM's table has no file {file_id[:40]!r}; attach the file to the record again.")
        if files is None:
            raise gone
        kept = files.content or files.url
        assert kept is not None, "the mapping has one of the two"
        holds = sql.SQL("SELECT {kept} AS kept, octet_length({kept}) AS size FROM {table} WHERE {id} = %s").format(
            kept=sql.Identifier(kept), table=sql.Identifier(files.schema_, files.table), id=sql.Identifier(files.id)
        )
        small = sql.SQL("SELECT CASE WHEN size <= %s THEN kept END AS kept, size FROM ({}) AS file").format(holds)
        with self._transaction(f"give the file {file_id[:40]!r}") as connection:
            limit = max_bytes if files.content else 10_000
            row = self._first(connection, small, (limit, key if files.url else file_id))
        if row is None or row["size"] is None:
            raise gone
        if row["kept"] is None:
            raise CrmFileRefused(f"The file {file_id} is larger than {limit:,} bytes; attach a smaller one.")
        if files.content:
            return bytes(row["kept"])
        if _digest(row["kept"]) != digest:
            raise gone
        return fetch(row["kept"], max_bytes, self._mapping.private_hosts, self._ca_file)

    def write_outcome(self, record_id: str, outcome: CrmOutcome) -> None:
        """Write the outcome on the row, compared under its lock. Raises `CrmRecordConflict` or `CrmUnavailable`."""
        attempt = f"take the outcome on record {record_id[:40]!r}"
        with self._transaction(attempt) as connection:
            row = self._existing(connection, record_id, sql.SQL("FOR UPDATE"))
            held = refuse_conflict(self._mapping, record_id, row.__getitem__, outcome)
            if is_told(self._mapping, held, outcome):
                return
            claim_id = sql.Identifier(self._mapping.outcome.claim_id)
            twins = sql.SQL("SELECT {key}::text AS twin FROM {table} WHERE {claim} = %s AND {key} <> %s LIMIT 1")
            named = twins.format(key=self._key, table=self._table, claim=claim_id)
            if twin := connection.execute(named, (outcome.claim_id, row[self._mapping.key])).fetchone():
                raise twin_conflict(record_id, outcome.claim_id, f"record {twin['twin']}")
            try:
                connection.execute(
                    self._update(), {**outcome_values(self._mapping, outcome), "the key": row[self._mapping.key]}
                )
            except errors.UniqueViolation as error:
                raise twin_conflict(record_id, outcome.claim_id) from error

    def read_outcome(self, record_id: str) -> CrmOutcome | None:
        """What the record says now; None when it has no outcome. Raises `CrmUnavailable`."""
        with self._transaction(f"give the record {record_id[:40]!r}") as connection:
            return outcome_of(self._mapping, self._existing(connection, record_id).__getitem__)

    def missing_fields(self) -> list[str]:
        """Columns of the mapping that the tables lack, or that our user may not see. Raises `CrmUnavailable`."""
        mapping, files = self._mapping, self._mapping.files
        wanted = {(mapping.schema_, mapping.table): {mapping.key, mapping.modified, mapping.version}}
        wanted[mapping.schema_, mapping.table] |= {*mapping.record.names(), *mapping.outcome.names().values()}
        if files is not None:
            names = {files.record, files.id, files.name, files.kind, files.content, files.url}
            wanted[files.schema_, files.table] = names
        query = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
        missing = []
        for (schema, table), names in wanted.items():
            with self._transaction("describe its tables") as connection:
                there = {row["column_name"] for row in connection.execute(query, (schema, table))}
            missing += [f"{schema}.{table}.{name}" for name in names - there - {None}]
        return sorted(missing)

    # --- reading ---

    def _select(self, names: Collection[str] = ()) -> sql.Composed:
        mapping = self._mapping
        known = names or (mapping.outcome.status, mapping.modified, *mapping.record.names())
        columns = sql.SQL(", ").join(map(sql.Identifier, dict.fromkeys((mapping.key, *known))))
        return sql.SQL("SELECT {} FROM {}").format(columns, self._table)

    def _row(
        self, connection: psycopg.Connection[Row], select: sql.Composed, record_id: str, lock: sql.SQL | None = None
    ) -> Row | None:
        query = sql.SQL("{} WHERE {} = %s {}").format(select, self._key, lock or sql.SQL(""))
        return self._first(connection, query, (record_id,))

    @staticmethod
    def _first(connection: psycopg.Connection[Row], query: sql.Composed, values: tuple[Any, ...]) -> Row | None:
        """The first row; None too when the id is of no kind that the table has."""
        try:
            with connection.transaction():  # a savepoint: what is no id spoils nothing
                return connection.execute(query, values).fetchone()
        except (*_NO_ID, errors.DatetimeFieldOverflow, ValueError, psycopg.DataError):
            return None

    def _existing(self, connection: psycopg.Connection[Row], record_id: str, lock: sql.SQL | None = None) -> Row:
        row = self._row(connection, self._select(list(self._mapping.outcome.names().values())), record_id, lock)
        if row is None:
            raise CrmUnavailable(
                f"The CRM's table has no record {record_id[:40]!r}: check that it is there and that we may see it."
            )
        return row

    def _records(self, connection: psycopg.Connection[Row], rows: list[Row]) -> list[CrmRecord]:
        mapping, files = self._mapping, self._files(connection, [row[self._mapping.key] for row in rows])
        return [
            record_of(
                mapping,
                str(row[mapping.key]),
                row.__getitem__,
                files.get(str(row[mapping.key]), []),
                parse_time(row[mapping.modified] or _EPOCH),
            )
            for row in rows
        ]

    def _files(self, connection: psycopg.Connection[Row], keys: list[Any]) -> dict[str, list[CrmFile]]:
        files = self._mapping.files
        if files is None or not keys:
            return {}
        query = sql.SQL(
            "SELECT {record}::text AS record, {id}::text AS id, {name} AS name, {kind} AS kind, {size} AS size,"
            " {url} AS url FROM {table} WHERE {record} = ANY(%s)"
        ).format(
            record=sql.Identifier(files.record),
            id=sql.Identifier(files.id),
            name=sql.Identifier(files.name),
            kind=sql.Identifier(files.kind) if files.kind else sql.NULL,
            size=sql.SQL("octet_length({})").format(sql.Identifier(files.content)) if files.content else sql.SQL("0"),
            url=sql.Identifier(files.url) if files.url else sql.NULL,
            table=sql.Identifier(files.schema_, files.table),
        )
        found: dict[str, list[CrmFile]] = {}
        for row in connection.execute(query, (keys,)):
            name = clean_text(row["name"]).replace("\\", "/").rpartition("/")[2]
            file_id = f"{row['id']}/{_digest(row['url'])}" if files.url else row["id"]
            kind = clean_text(row["kind"]) or "other"
            file = CrmFile(file_id, name, media_type_of(name), int(row["size"] or 0), kind)
            found.setdefault(row["record"], []).append(file)
        return found

    # --- writing ---

    def _update(self) -> sql.Composed:
        names = self._mapping.outcome.names().values()
        sets = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in names]
        if self._mapping.version is not None:
            version = sql.Identifier(self._mapping.version)
            sets.append(sql.SQL("{0} = COALESCE({0}, 0) + 1").format(version))
        return sql.SQL("UPDATE {} SET {} WHERE {} = {}").format(
            self._table, sql.SQL(", ").join(sets), self._key, sql.Placeholder("the key")
        )

    @contextmanager
    def _transaction(self, attempt: str) -> Iterator[psycopg.Connection[Row]]:
        """Committed at the end; what the database or the network does wrong becomes `CrmUnavailable`."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self._url, row_factory=dict_row, autocommit=True, **_PATIENCE)  # type: ignore[arg-type]
            with self._connection.transaction():
                yield self._connection
        except _BAD_SCHEMA as error:
            raise self._failed(attempt, error, "compare the CRM's mapping with the table") from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if isinstance(error, errors.LockNotAvailable | errors.QueryCanceled):
                raise self._failed(attempt, error, "it is tried again by itself") from error
            self.close()
            raise CrmOutage(str(self._failed(attempt, error, "it is tried again by itself"))) from error
        except psycopg.Error as error:
            raise self._failed(attempt, error, "compare the CRM's mapping with the table") from error
        except (KeyError, TypeError, ValueError) as error:
            raise self._failed(attempt, error, "a row makes no sense: look at it") from error

    def _failed(self, attempt: str, error: Exception, remedy: str) -> CrmUnavailable:
        password = conninfo_to_dict(self._url).get("password")
        why = quoted(str(error).partition("\n")[0], (self._url, str(password) if password else None))
        return CrmUnavailable(f"The CRM's table did not {attempt}: {type(error).__name__}, {why}; {remedy}.")


def _digest(url: Any) -> str:
    """The address is part of what a person can correct: another one is another file."""
    return sha256(str(url).encode()).hexdigest()[:16]
