"""A PostgreSQL table as a CRM, as its people made it: keys by number, a trigger for the time, a version for others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from oem_submissions.crm.mapping import TableMapping, read_mapping
from oem_submissions.crm.table import TableCrm
from oem_submissions.ledger.embedded import EmbeddedPostgres

EXAMPLE = Path(__file__).parents[2] / "docs" / "crm" / "table.yaml"
DATABASE = "people_crm"

SCHEMA = """
CREATE SCHEMA crm;
CREATE TABLE crm.claims (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text, updated_at timestamptz DEFAULT now(),
    lock_version integer NOT NULL DEFAULT 0, oem_name text, dealer text, claim_type text, due_on date, payload text,
    submission_claim_id text, submission_status text, submission_reference text, reference_kind text, reason_code text,
    reason_text text, evidence_url text, evidence_digest text, submission_run_id text, confirmed_at timestamptz,
    submission_updated_at timestamptz, disposition text, disposition_text text, disposition_at timestamptz
);
CREATE TABLE crm.claim_files (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, claim_id bigint REFERENCES crm.claims ON DELETE CASCADE,
    name text, kind text, content bytea
);
CREATE FUNCTION crm.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.updated_at = clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON crm.claims FOR EACH ROW EXECUTE FUNCTION crm.touch();
"""


@dataclass
class TableWorld:
    """The connector on a real table."""

    crm: TableCrm
    url: str
    admin: psycopg.Connection[Any]
    """Of another database, so that it lives while this one is closed."""

    def add(
        self,
        name: str,
        payload: Any,
        *,
        oem: str = "aurora",
        due_on: date | None = date(2026, 11, 10),
        files: list[tuple[str, str, bytes]] | None = None,
        modified_at: datetime | None = None,
    ) -> str:
        text = payload if payload is None or isinstance(payload, str) else json.dumps(payload)
        insert = (
            "INSERT INTO crm.claims (title, oem_name, dealer, claim_type, due_on, payload, updated_at,"
            " submission_status)"
            " VALUES (%s, %s, '10234', 'warranty', %s, %s, coalesce(%s, now()), 'to submit') RETURNING id"
        )
        brand = "Aurora Motors" if oem == "aurora" else oem
        [(key,)] = self.do(insert, name, brand, due_on, text, modified_at)
        for file, kind, data in files or []:
            self.do(
                "INSERT INTO crm.claim_files (claim_id, name, kind, content) VALUES (%s, %s, %s, %s) RETURNING id",
                key, file, kind, data,
            )  # fmt: skip
        return str(key)

    def edit(self, record_id: str, payload: dict[str, Any]) -> None:
        [(held,)] = self.do("SELECT payload FROM crm.claims WHERE id = %s", record_id)
        self.change(record_id, payload=json.dumps(json.loads(held) | payload))

    def writes(self, record_id: str) -> int:
        [(version,)] = self.do("SELECT lock_version FROM crm.claims WHERE id = %s", record_id)
        return int(version)

    def small_pages(self) -> None:
        """They are, always."""

    def break_down(self) -> None:
        self._allow(False)
        self.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (DATABASE,))

    def mend(self) -> None:
        self._allow(True)

    def change(self, record_id: str, **values: Any) -> None:
        """A person changes the row."""
        for name, value in values.items():
            query = sql.SQL("UPDATE crm.claims SET {} = %s WHERE id = %s RETURNING id").format(sql.Identifier(name))
            self.do(query, value, record_id)

    def reset(self) -> None:
        self.do("DELETE FROM crm.claims")

    def do(self, query: Any, *values: Any) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            done = connection.execute(query, values)
            return done.fetchall() if done.description else []

    def wait_for_a_lock(self) -> None:
        """Until somebody waits for somebody else's row."""
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        while self.admin.execute(waiting, (DATABASE,)).fetchone() == (0,):
            pass

    def _allow(self, connections: bool) -> None:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        self.admin.execute(allow.format(sql.Identifier(DATABASE), sql.Literal(connections)))


@contextmanager
def table_world(postgres: EmbeddedPostgres) -> Iterator[TableWorld]:
    """A database of its own with the example's tables."""
    mapping = read_mapping(EXAMPLE)
    assert isinstance(mapping, TableMapping)
    url = postgres.url(DATABASE)
    with psycopg.connect(url) as connection:
        connection.execute(SCHEMA)
    crm = TableCrm(mapping, url, page=3)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        yield TableWorld(crm, url, admin)
    crm.close()
