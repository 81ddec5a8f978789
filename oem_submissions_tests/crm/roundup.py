"""A real Roundup tracker as a CRM: what people do in it, and what is really in it."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import requests

from oem_submissions.crm.mapping import OutcomeFields, RecordFields, RestMapping, read_mapping
from oem_submissions.crm.rest import RestCrm
from oem_submissions_tests.crm.line import Line, line
from oem_submissions_tests.real import roundup as real
from oem_submissions_tests.real.installed import copied, made_once
from oem_submissions_tests.real.roundup import USERS, Roundup
from oem_submissions_tests.real.serving import free_port, serving

EXAMPLE = Path(__file__).parents[2] / "docs" / "crm" / "roundup.yaml"
PROPERTIES = [*RecordFields().names(), *OutcomeFields().names().values()]
SECRETS = {"crm/username": "crm", "crm/password": USERS["crm"]}
_PERSON = "10001"


@dataclass
class RoundupWorld:
    """The REST connector on a real Roundup, with a line between that can be cut."""

    crm: RestCrm
    tracker: Roundup
    line: Line
    headers: dict[str, str]

    def add(
        self,
        name: str,
        payload: Any,
        *,
        oem: str = "aurora",
        due_on: date | None = date(2026, 11, 10),
        files: list[tuple[str, str, bytes]] | None = None,
        modified_at: datetime | None = None,
        dealer: str = "10234",
        claim_type: str = "warranty",
    ) -> str:
        attached = [self._attach(*one) for one in files or []]
        record_id = self._create(
            "issue",
            title=name,
            oem=oem,
            dealer=dealer,
            claim_type=claim_type,
            due_on=due_on.isoformat() if due_on else "",
            payload=payload if isinstance(payload, str) else "" if payload is None else json.dumps(payload),
            files=attached,
        )
        if modified_at is not None:
            self._sql("UPDATE _issue SET _activity = ? WHERE id = ?", f"{modified_at:%Y%m%d%H%M%S}.000", record_id)
        return record_id

    def edit(self, record_id: str, payload: dict[str, Any]) -> None:
        held = json.loads(self.held(record_id, "payload") or "{}")
        self.change(record_id, payload=json.dumps(held | payload))

    def writes(self, record_id: str) -> int:
        [(count,)] = self._sql(
            "SELECT count(*) FROM issue__journal WHERE nodeid = ? AND action = 'set'"
            " AND tag = (SELECT id FROM _user WHERE _username = 'crm')",
            record_id,
        )
        return int(count)

    def small_pages(self) -> None:
        """They are, always."""

    def break_down(self) -> None:
        self.line.cut()

    def mend(self) -> None:
        self.line.mend()

    def change(self, record_id: str, **properties: Any) -> None:
        """A person changes the issue."""
        url = f"{self._rest}/data/issue/{record_id}"
        etag = self._person("GET", url).headers["ETag"]
        answer = self._person("PUT", url, json=properties, headers={**self.headers, "If-Match": etag})
        assert answer.status_code == 200, answer.text

    def held(self, record_id: str, name: str) -> Any:
        """What is in the tracker's own database."""
        [(value,)] = self._sql(f"SELECT _{name} FROM _issue WHERE id = ?", record_id)  # noqa: S608
        return value

    def reset(self) -> None:
        """No issue and no file any more. A connection's process of Roundup holds the database as long as it is open."""
        self.crm.close()
        for table in ("_issue", "issue__journal", "issue_files", "_file", "file__journal"):
            self._sql(f"DELETE FROM {table}")  # noqa: S608

    @property
    def _rest(self) -> str:
        return f"http://127.0.0.1:{self.line.to}/claims/rest"

    def _create(self, kind: str, **properties: Any) -> str:
        given = {name: value for name, value in properties.items() if value}
        answer = self._person("POST", f"{self._rest}/data/{kind}", json=given)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["id"])

    def _attach(self, name: str, kind: str, data: bytes) -> str:
        content = {"content": (name, data)}
        answer = self._person("POST", f"{self._rest}/data/file", data={"name": name}, files=content)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["id"])

    def _person(self, method: str, url: str, **more: Any) -> requests.Response:
        """On a connection of its own: this server's process for a connection may end between two requests."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, url, **{"headers": self.headers, **more}, auth=(_PERSON, USERS[_PERSON]), timeout=20
            )

    def _sql(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.tracker.home / "db" / "db", timeout=20)) as database, database:
            return database.execute(statement, values).fetchall()


@contextmanager
def roundup_world() -> Iterator[RoundupWorld]:
    """A tracker of its own, empty."""
    with line() as way:
        way.to = free_port()
        with _tracker(way.to, way.port) as tracker:
            headers = {"X-Requested-With": "rest", "Origin": tracker.origin, "Host": f"127.0.0.1:{way.port}"}
            crm = RestCrm(mapping_for(tracker), SECRETS.__getitem__)
            yield RoundupWorld(crm, tracker, way, headers)
            crm.close()


@contextmanager
def _tracker(port: int, seen_at: int) -> Iterator[Roundup]:
    """Roundup as `real.roundup` starts it, with properties of its own on issues, as its trackers are made to have."""
    origin = f"http://127.0.0.1:{seen_at}"
    with tempfile.TemporaryDirectory(prefix="oem-submissions-roundup-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # it is root's, and the home in it is nobody's
        kept = made_once("roundup-crm-home", (*real.PINS, repr(USERS), *PROPERTIES), _first_home)
        home = copied(kept, folder / "home", real._NOBODY)
        config = home / "config.ini"
        config.write_text(config.read_text().replace(real._NOWHERE, origin))
        options = ["-n", "127.0.0.1", "-p", str(port), *real._less_rights(), f"claims={home}"]
        with serving([str(real._python()), "-c", real._SERVER, *options], port, folder):
            yield Roundup(home, origin, port)


def _first_home(home: Path) -> None:
    real._first_home(home)
    schema, head = home / "schema.py", 'IssueClass(db, "issue",'
    assert head in schema.read_text()
    own = "".join(f"\n    {name}=String()," for name in PROPERTIES)
    schema.write_text(schema.read_text().replace(head, head + own))


def mapping_for(tracker: Roundup, **changes: Any) -> RestMapping:
    """The example of the documentation, at this tracker."""
    example = read_mapping(EXAMPLE)
    assert isinstance(example, RestMapping)
    headers = {**example.headers, "Origin": tracker.origin}
    listed = {**example.list.model_dump(), "query": {**example.list.query, "@page_size": "3"}}
    return RestMapping.model_validate(
        {**example.model_dump(), "url": tracker.rest, "headers": headers, "list": listed, **changes}
    )
