"""The simulator's state: one SQLite file, or memory. Tables and transactions; no rules of any portal."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (
    oem TEXT NOT NULL, username TEXT NOT NULL, password TEXT NOT NULL, dealer TEXT NOT NULL,
    dealer_name TEXT NOT NULL, totp_secret TEXT, PRIMARY KEY (oem, username));
CREATE TABLE IF NOT EXISTS sessions (
    token TEXT PRIMARY KEY, oem TEXT NOT NULL, username TEXT NOT NULL, dealer TEXT NOT NULL,
    dealer_name TEXT NOT NULL, stage TEXT NOT NULL, seen REAL NOT NULL, page_token TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS posts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, oem TEXT NOT NULL, path TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS filings (
    id INTEGER PRIMARY KEY AUTOINCREMENT, oem TEXT NOT NULL, kind TEXT NOT NULL, dealer TEXT NOT NULL,
    business_key TEXT NOT NULL, reference TEXT UNIQUE, fields TEXT NOT NULL, attachments TEXT NOT NULL,
    filed_at TEXT NOT NULL, post_id INTEGER, disposition TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS filings_by_key ON filings (oem, business_key);
CREATE TABLE IF NOT EXISTS uploads (
    token TEXT PRIMARY KEY, session TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL,
    sha256 TEXT NOT NULL, media_type TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tickets (
    ticket TEXT PRIMARY KEY, dealer TEXT NOT NULL, kind TEXT NOT NULL, vin TEXT NOT NULL,
    created TEXT NOT NULL, polls INTEGER NOT NULL, answer TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY AUTOINCREMENT, oem TEXT NOT NULL, fault TEXT NOT NULL, match TEXT, times INTEGER,
    seconds REAL, probability REAL, seed INTEGER, draws INTEGER NOT NULL DEFAULT 0, fired INTEGER NOT NULL DEFAULT 0);
"""


class Database:
    """One connection behind a lock. A transaction is kept when its `with` block is left: a kill loses nothing."""

    def __init__(self, path: Path | None) -> None:
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._lock = threading.RLock()
        if path is not None:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")  # outlives the process, if not a power cut
        self._connection.executescript(_TABLES)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything in the block, or nothing of it."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """The rows that a query gives."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row that a query gives."""
        with self._lock:
            row: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
            return row

    def write(self, sql: str, *values: Any) -> int:
        """One statement in a transaction of its own; returns how many rows it touched."""
        with self.transaction() as connection:
            return connection.execute(sql, values).rowcount

    def next_number(self, connection: sqlite3.Connection, name: str, first: int) -> int:
        """The next number of a counter, in the caller's transaction: never given twice, not after a reset either."""
        row = connection.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            (name, first),
        ).fetchone()
        return int(row[0])

    def close(self) -> None:
        """Lets go of the file."""
        with self._lock:
            self._connection.close()
