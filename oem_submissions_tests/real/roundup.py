"""Roundup 2.6.0, an issue tracker, with its "classic" schema as it comes: a portal, and by its REST API a CRM.

`with roundup() as tracker:` installs what is missing, starts it on a free port with an empty database, and deletes that
at the end. What is really in it is read from its own database, not from its pages.

REST: `tracker.rest` + "/data/issue", HTTP Basic with a user's name and password. Each request needs the header
`X-Requested-With: rest`, one that writes needs `Origin: <tracker.origin>` too, and one that changes an item its ETag
(`If-Match`, else 428; 412 when somebody changed it meanwhile).
"""

from __future__ import annotations

import grp
import os
import pwd
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from oem_submissions_tests.real.installed import copied, made_once, python_with, run
from oem_submissions_tests.real.serving import free_port, serving

PINS = ("roundup==2.6.0",)
USERS = {"10001": "key-of-10001", "10002": "key-of-10002", "crm": "key-of-the-crm"}
"""Who may log in, with the password; two dealers, and the CRM's connector."""
_ADMINS_KEY = "key-of-the-admin"
_NOBODY = "nobody"
_NOWHERE = "http://127.0.0.1:1"
"""Stands in the kept home for the address, which each start has its own of."""
_SETTINGS = {
    "tracker_web": f"{_NOWHERE}/claims/", "tracker_name": "Claims", "tracker_email": "claims@example.com",
    "mail_domain": "example.com", "mail_host": "localhost", "mail_debug": os.devnull, "web_secret_key": "0" * 32,
    "password_pbkdf2_default_rounds": "1000",  # each request by HTTP Basic pays for them
}  # fmt: skip
_ADMIN = "import sys; from roundup.scripts.roundup_admin import run; sys.exit(run())"
_SERVER = """
import contextlib, importlib, pkgutil, sys, roundup
# Who gives up root's rights may not be able to read the interpreter's own folder any more: so all of it now.
for found in pkgutil.walk_packages(roundup.__path__, "roundup."):
    if not found.name.startswith("roundup.scripts."):
        with contextlib.suppress(ImportError):
            importlib.import_module(found.name)
from roundup.scripts.roundup_server import run
sys.exit(run())
"""


@dataclass(frozen=True)
class Issue:
    """One issue as it is in the database."""

    number: int
    title: str
    creator: str
    """The user's name."""
    note: str
    """Its messages."""
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Roundup:
    """A running tracker."""

    home: Path
    origin: str
    """`http://127.0.0.1:PORT`, as the browser sees it."""
    port: int
    """Its own."""

    @property
    def address(self) -> str:
        """Of its first page."""
        return f"{self.origin}/claims/"

    @property
    def rest(self) -> str:
        """Of its REST API."""
        return f"{self.origin}/claims/rest"

    def issues(self) -> list[Issue]:
        """The truth: every issue that was ever made and is not retired, oldest first."""
        where = f"file:{self.home / 'db' / 'db'}?mode=ro"
        with closing(sqlite3.connect(where, uri=True)) as database:
            rows = database.execute(
                "SELECT issue.id, issue._title, user._username FROM _issue issue JOIN _user user"
                " ON user.id = issue._creator WHERE issue.__retired__ = 0 ORDER BY issue.id"
            ).fetchall()
            return [
                Issue(number, title, creator, self._note(database, number), self._files(database, number))
                for number, title, creator in rows
            ]

    def add_user(self, name: str, password: str) -> None:
        """One more who may log in, unless there is one of that name."""
        made = requests.post(
            f"http://127.0.0.1:{self.port}/claims/rest/data/user",
            auth=("admin", _ADMINS_KEY),
            headers={"X-Requested-With": "rest", "Origin": self.origin, "Host": urlsplit(self.origin).netloc},
            json={"username": name, "password": password, "address": f"{name}@example.com", "roles": "User"},
            timeout=30,
        )
        assert made.ok or "already exists" in made.text, made.text

    def _note(self, database: sqlite3.Connection, issue: int) -> str:
        rows = database.execute("SELECT linkid FROM issue_messages WHERE nodeid = ? ORDER BY linkid", [issue])
        return "\n".join(self._content("msg", int(number)).decode() for (number,) in rows.fetchall())

    def _files(self, database: sqlite3.Connection, issue: int) -> dict[str, bytes]:
        rows = database.execute(
            "SELECT file.id, file._name FROM _file file JOIN issue_files ON linkid = file.id WHERE nodeid = ?", [issue]
        )
        return {name: self._content("file", int(number)) for number, name in rows.fetchall()}

    def _content(self, kind: str, number: int) -> bytes:
        return (self.home / "db" / "files" / kind / str(number // 1000) / f"{kind}{number}").read_bytes()


@contextmanager
def roundup(port: int | None = None, seen_at: int | None = None) -> Iterator[Roundup]:
    """A tracker with an empty database. `seen_at` is the port of a proxy before it, if there is one."""
    python, port = _python(), port or free_port()
    origin = f"http://127.0.0.1:{seen_at or port}"
    with tempfile.TemporaryDirectory(prefix="oem-submissions-roundup-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # it is root's, and the home in it is nobody's
        home = copied(
            made_once("roundup-home", (*PINS, repr(USERS), repr(_SETTINGS)), _first_home), folder / "home", _NOBODY
        )
        config = home / "config.ini"
        config.write_text(config.read_text().replace(_NOWHERE, origin))
        options = ["-n", "127.0.0.1", "-p", str(port), *_less_rights(), f"claims={home}"]
        with serving([str(python), "-c", _SERVER, *options], port, folder):
            yield Roundup(home, origin, port)


def _python() -> Path:
    return python_with("roundup", *PINS)


def _less_rights() -> list[str]:
    """Roundup does not run as root."""
    if os.geteuid() != 0:
        return []
    return ["-u", _NOBODY, "-g", grp.getgrgid(pwd.getpwnam(_NOBODY).pw_gid).gr_name]


def _first_home(home: Path) -> None:
    admin = [str(_python()), "-c", _ADMIN, "-i", str(home)]
    run([*admin, "install", "classic", "sqlite", ",".join(f"{name}={value}" for name, value in _SETTINGS.items())])
    run([*admin, "initialise", _ADMINS_KEY])
    for name, password in USERS.items():
        own = [f"username={name}", f"password={password}", f"address={name}@example.com", "roles=User"]
        run([*admin, "create", "user", *own])
