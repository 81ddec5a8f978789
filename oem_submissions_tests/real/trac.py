"""Trac 1.6, an issue tracker, as an installation that takes warranty claims: own fields, files, log-in by HTTP Basic.

`with trac() as portal:` installs what is missing, starts it on a free port with an empty database, and deletes that at
the end. What is really in it is read from its own database and folder, not from its pages.
"""

from __future__ import annotations

import base64
import hashlib
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from oem_submissions_tests.real.installed import copied, made_once, python_with, run
from oem_submissions_tests.real.serving import free_port, serving

PINS = ("trac==1.6", "jinja2==3.1.6", "markupsafe==3.0.4", "setuptools==80.9.0")
USERS = {"10001": "key-of-10001", "10002": "key-of-10002"}
"""Who may log in, with the password: two dealers."""
FIELDS: Mapping[str, Mapping[str, str]] = {
    "repair_order": {"": "text", "label": "Repair order"},
    "repair_line": {"": "text", "label": "Line"},
    "coverage": {"": "select", "label": "Coverage", "options": "|Basic|Powertrain|Campaign|Goodwill"},
    "vin": {"": "text", "label": "VIN"},
    "odometer": {"": "text", "label": "Odometer (miles)"},
    "opened_on": {"": "time", "label": "Opened on", "format": "date"},
    "claim_total": {"": "text", "label": "Claim total"},
}
"""What this installation asks for beside Trac's own fields."""
_COLUMNS = ("id", "summary", "repair_order", "repair_line", "coverage", "vin", "status", "time")
_CONFIG: Sequence[tuple[str, str, str]] = (
    *(
        ("ticket-custom", f"{name}.{key}" if key else name, value)
        for name, field in FIELDS.items()
        for key, value in field.items()
    ),
    ("query", "default_query", "?reporter=$USER&repair_order=~&order=id&" + "&".join(f"col={c}" for c in _COLUMNS)),
    ("query", "items_per_page", "20"),
    ("trac", "default_date_format", ""),
    ("trac", "default_timezone", "GMT"),
)
_ADMIN = ("-m", "trac.admin.console")
_SERVER = ("-m", "trac.web.standalone")


@dataclass(frozen=True)
class Ticket:
    """One ticket as it is in the database."""

    number: int
    summary: str
    reporter: str
    description: str
    fields: Mapping[str, str]
    """The installation's own; dates in microseconds since 1970."""
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Trac:
    """A running installation."""

    home: Path
    address: str
    """`http://127.0.0.1:PORT`."""

    def tickets(self) -> list[Ticket]:
        """The truth: every ticket that was ever made, oldest first."""
        where = f"file:{self.home / 'db' / 'trac.db'}?mode=ro"
        with closing(sqlite3.connect(where, uri=True)) as database:
            rows = database.execute("SELECT id, summary, reporter, description FROM ticket ORDER BY id").fetchall()
            return [
                Ticket(*row, dict(database.execute(_OWN, [row[0]]).fetchall()), self._files(database, row[0]))
                for row in rows
            ]

    def add_user(self, name: str, password: str) -> None:
        """One more who may log in, unless there is one of that name."""
        people = self.home / "htpasswd"
        if f"{name}:" not in people.read_text():
            with people.open("a") as lines:
                lines.write(_line(name, password))

    def _files(self, database: sqlite3.Connection, ticket: int) -> dict[str, bytes]:
        """As Trac keeps them: in a folder of the ticket's, each under the SHA-1 of its name."""
        digest = hashlib.sha1(str(ticket).encode(), usedforsecurity=False).hexdigest()
        folder = self.home / "files" / "attachments" / "ticket" / digest[:3] / digest
        names = database.execute("SELECT filename FROM attachment WHERE type = 'ticket' AND id = ?", [str(ticket)])
        return {name: (folder / _hashed(name)).read_bytes() for (name,) in names.fetchall()}


_OWN = "SELECT name, value FROM ticket_custom WHERE ticket = ?"


def _hashed(name: str) -> str:
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest() + Path(name).suffix


@contextmanager
def trac(port: int | None = None) -> Iterator[Trac]:
    """An installation with an empty database."""
    python, port = _python(), port or free_port()
    with tempfile.TemporaryDirectory(prefix="oem-submissions-trac-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        home = copied(made_once("trac-home", (*PINS, repr(USERS), repr(_CONFIG)), _first_home), folder / "home")
        people = f"--basic-auth=*,{home / 'htpasswd'},claims"
        options = ["--single-env", "--hostname=127.0.0.1", f"--port={port}", people, str(home)]
        with serving([str(python), "-W", "ignore", *_SERVER, *options], port, folder):
            yield Trac(home, f"http://127.0.0.1:{port}")


def _python() -> Path:
    return python_with("trac", *PINS)


def _first_home(home: Path) -> None:
    admin = [str(_python()), "-W", "ignore", *_ADMIN, str(home)]
    run([*admin, "initenv", "Claims", "sqlite:db/trac.db"])
    run([*admin, "permission", "add", "authenticated", "TICKET_CREATE", "TICKET_APPEND", "TICKET_MODIFY"])
    for section, name, value in _CONFIG:
        run([*admin, "config", "set", section, name, value])
    (home / "htpasswd").write_text("".join(_line(name, password) for name, password in USERS.items()))


def _line(name: str, password: str) -> str:
    """Of Apache's password file."""
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return f"{name}:{{SHA}}{base64.b64encode(digest).decode()}\n"
