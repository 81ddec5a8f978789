"""What the portals really filed: the server-side truth that tests, demo and conformance compare claims with."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol

from oem_submissions.simulator.clock import Clock
from oem_submissions.simulator.database import Database

FIRST_NUMBER = 4217
DISPOSITIONS = ("submitted", "suspended", "approved", "denied", "paid", "charged back", "under audit")
"""`under audit` is a word that came after our packs were written."""


class Rules(Protocol):
    """What the truth has to know of a portal; a skin says it."""

    oem: ClassVar[str]
    kinds: ClassVar[Mapping[str, tuple[str, ...]]]
    """The claim types that it takes, each with the fields that make two filings the same claim."""
    submit_paths: ClassVar[tuple[str, ...]]
    """The only paths whose POST files something."""

    @staticmethod
    def reference(number: int, year: int, kind: str) -> str:
        """A reference in the portal's format, another one for every number."""
        ...


@dataclass(frozen=True)
class Received:
    """A file whose bytes arrived. `size` in bytes."""

    name: str
    size: int
    sha256: str
    media_type: str

    def as_json(self) -> dict[str, Any]:
        """As the truth shows it."""
        return {"name": self.name, "size": self.size, "sha256": self.sha256, "media_type": self.media_type}


@dataclass(frozen=True)
class NewFiling:
    """A claim that passed the portal's checks and is about to be filed."""

    oem: str
    kind: str
    dealer: str
    fields: dict[str, str]
    attachments: tuple[Received, ...] = ()
    post_id: int | None = None


def business_key(rules: type[Rules], kind: str, dealer: str, fields: Mapping[str, str]) -> str:
    """What makes two filings the same claim."""
    values = {"dealer": dealer, **fields}
    return "|".join([kind, *(values.get(name, "").strip().upper() for name in rules.kinds[kind])])


@dataclass(frozen=True)
class Filing:
    """A claim that the portal holds."""

    id: int
    oem: str
    kind: str
    dealer: str
    business_key: str
    reference: str | None
    fields: dict[str, str]
    attachments: list[dict[str, Any]]
    filed_at: datetime
    post_id: int | None
    disposition: str

    def as_json(self) -> dict[str, Any]:
        """As the truth shows it."""
        return {**self.__dict__, "filed_at": self.filed_at.isoformat()}


def _filing(row: sqlite3.Row) -> Filing:
    values = dict(row)
    values["fields"] = json.loads(values["fields"])
    values["attachments"] = json.loads(values["attachments"])
    values["filed_at"] = datetime.fromisoformat(values["filed_at"])
    return Filing(**values)


class Truth:
    """Filings and submit posts. Every write is durable before the portal answers."""

    def __init__(self, database: Database, clock: Clock, portals: Mapping[str, type[Rules]]) -> None:
        self._database = database
        self._clock = clock
        self.portals = portals
        """By OEM."""
        self.submit_paths = {path: oem for oem, rules in portals.items() for path in rules.submit_paths}

    def _business_key(self, new: NewFiling) -> str:
        return business_key(self.portals[new.oem], new.kind, new.dealer, new.fields)

    def count_post(self, oem: str, path: str) -> int:
        """Notes that a POST to a submit path arrived; returns its number."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO posts (oem, path, at) VALUES (?, ?, ?)", (oem, path, self._clock.now().isoformat())
            )
            return int(cursor.lastrowid or 0)

    def file(self, new: NewFiling, *, reference_later: bool = False, copies: int = 1) -> list[Filing]:
        """Files a claim, `copies` times for a portal that processes twice, all in one transaction."""
        now = self._clock.now()
        ids, business_key = [], self._business_key(new)
        with self._database.transaction() as connection:
            for _ in range(copies):
                reference = None if reference_later else self._next(connection, new.oem, new.kind, now)
                cursor = connection.execute(
                    "INSERT INTO filings (oem, kind, dealer, business_key, reference, fields, attachments, filed_at,"
                    " post_id, disposition) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'submitted')",
                    (
                        new.oem, new.kind, new.dealer, business_key, reference, json.dumps(new.fields),
                        json.dumps([f.as_json() for f in new.attachments]), now.isoformat(), new.post_id,
                    ),
                )  # fmt: skip
                ids.append(cursor.lastrowid)
        return [_filing(row) for i in ids for row in self._database.rows("SELECT * FROM filings WHERE id = ?", i)]

    def unused_reference(self, oem: str, kind: str) -> str:
        """A number in the portal's format that belongs to no filing, now or ever."""
        with self._database.transaction() as connection:
            return self._next(connection, oem, kind, self._clock.now())

    def draft_number(self, oem: str) -> int:
        """The next number of a draft."""
        with self._database.transaction() as connection:
            return self._database.next_number(connection, f"{oem}-draft", 88_231)

    def _next(self, connection: sqlite3.Connection, oem: str, kind: str, now: datetime) -> str:
        number = self._database.next_number(connection, oem, FIRST_NUMBER)
        return self.portals[oem].reference(number, now.year, kind)

    def find(self, oem: str, dealer: str | None = None) -> list[Filing]:
        """The filings of a portal, or of one of its dealers, newest first."""
        rows = self._database.rows("SELECT * FROM filings WHERE oem = ? ORDER BY id DESC", oem)
        return [f for f in map(_filing, rows) if dealer is None or f.dealer == dealer]

    def existing(self, new: NewFiling) -> Filing | None:
        """The first filing for the same business key."""
        row = self._database.row(
            "SELECT * FROM filings WHERE oem = ? AND business_key = ? ORDER BY id LIMIT 1",
            new.oem, self._business_key(new),
        )  # fmt: skip
        return _filing(row) if row else None

    def by_id(self, filing_id: int) -> Filing | None:
        """One filing."""
        row = self._database.row("SELECT * FROM filings WHERE id = ?", filing_id)
        return _filing(row) if row else None

    def run_batch(self, oem: str) -> int:
        """The nightly run: gives references to the filings that wait for one; returns how many."""
        now = self._clock.now()
        with self._database.transaction() as connection:
            waiting = connection.execute(
                "SELECT id, kind FROM filings WHERE oem = ? AND reference IS NULL ORDER BY id", (oem,)
            ).fetchall()
            for row in waiting:
                reference = self._next(connection, oem, row["kind"], now)
                connection.execute("UPDATE filings SET reference = ? WHERE id = ?", (reference, row["id"]))
        return len(waiting)

    def lose(self, oem: str, reference: str) -> int:
        """The portal forgets a filing, for ever; returns how many had that reference."""
        return self._database.write("DELETE FROM filings WHERE oem = ? AND reference = ?", oem, reference)

    def set_disposition(self, oem: str, reference: str, disposition: str) -> int:
        """Decides a filed claim; returns how many claims have that reference."""
        return self._database.write(
            "UPDATE filings SET disposition = ? WHERE oem = ? AND reference = ?", disposition, oem, reference
        )

    def summary(self, oem: str) -> dict[str, Any]:
        """The filings, oldest first; how many, how many submit posts, how many beyond the first per business key."""
        filings = list(reversed(self.find(oem)))
        posts = self._database.row("SELECT count(*) FROM posts WHERE oem = ?", oem)
        return {
            "filings": [f.as_json() for f in filings],
            "filed": len(filings),
            "submit_posts": int(posts[0]) if posts else 0,
            "duplicates": len(filings) - len({f.business_key for f in filings}),
        }

    def forget(self) -> None:
        """Empties the portals; counters stay, so that no number is given twice."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM filings")
            connection.execute("DELETE FROM posts")
            connection.execute("DELETE FROM uploads")
            connection.execute("DELETE FROM tickets")
