"""HubSpot's published contract, as far as our connector uses it, as a local server; and what people do in it.

Shapes of requests, answers and errors follow HubSpot's API reference (CRM v3 objects, search, properties; v4
associations; files v3). Nothing here was seen on a real account.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from oem_submissions.crm.hubspot import HubSpotCrm
from oem_submissions.crm.mapping import HubSpotMapping, read_mapping

EXAMPLE = Path(__file__).parents[2] / "docs" / "crm" / "hubspot.yaml"
TOKEN = "pat-na1-made-up"
LONGEST = 65_536
"""Characters of a property, as published."""


class Refused(Exception):
    """An answer that is none of success."""

    def __init__(self, status: int, category: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.category, self.headers = status, category, headers or {}


@dataclass
class Held:
    """An object of the account."""

    properties: dict[str, str] = field(default_factory=dict)
    history: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """By property, newest first: time and value."""
    notes: list[str] = field(default_factory=list)
    writes: int = 0


@dataclass
class HubSpotServer:
    """The account."""

    known: set[str] = field(default_factory=set)
    """Properties of tickets."""
    unique: str = ""
    tickets: dict[str, Held] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    limits: list[dict[str, str]] = field(default_factory=list)
    """The next requests are answered 429, each with these headers."""
    down: bool = False
    before_write: Callable[[str], None] | None = None
    page: int = 100
    partial: dict[str, str] | None = None
    """An error that the next answer in parts has."""
    requests: list[str] = field(default_factory=list)
    ids: Any = field(default_factory=lambda: count(7001))
    clock: datetime = datetime(2026, 11, 12, 8, tzinfo=UTC)

    def now(self) -> str:
        self.clock += timedelta(milliseconds=7)
        return self.clock.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def change(self, ticket: str, values: dict[str, str]) -> None:
        """By a person or by us."""
        held = self.tickets[ticket]
        for name, value in values.items():
            if held.properties.get(name, "") != value:
                held.history.setdefault(name, []).insert(0, (self.now(), value))
                held.properties[name] = value
        held.properties["hs_lastmodifieddate"] = self.now()

    def app(self) -> Starlette:
        one, base = "/crm/v3/objects/{kind}/{id}", "/crm/v3/objects/{kind}"
        table = (
            ("POST", f"{base}/search", self._search),
            ("POST", f"{base}/batch/read", self._batch),
            ("GET", one, self._get),
            ("PATCH", one, self._patch),
            ("GET", "/crm/v3/properties/{kind}", self._describe),
            ("POST", "/crm/v4/associations/{kind}/notes/batch/read", self._links),
            ("GET", "/files/v3/files/{id}/signed-url", self._sign),
            ("GET", "/files/v3/files/{id}", self._file),
        )
        routes = [Route(path, self._guarded(do), methods=[verb]) for verb, path, do in table]
        return Starlette(routes=[*routes, Route("/signed/{id}", self._content)])

    def _guarded(self, do: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            self.requests.append(f"{request.method} {request.url.path}")
            try:
                if self.down:
                    raise Refused(503, "SERVICE_UNAVAILABLE", "service temporarily unavailable")
                if request.headers.get("authorization") != f"Bearer {TOKEN}":
                    raise Refused(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
                if self.limits:
                    raise Refused(
                        429, "RATE_LIMITS", "You have reached your ten_secondly_rolling limit.", self.limits.pop()
                    )
                return await do(request)
            except Refused as error:
                body = {"status": "error", "message": str(error), "correlationId": "0", "category": error.category}
                return JSONResponse(body, error.status, error.headers)

        return endpoint

    def _ticket(self, ticket: str) -> Held:
        if ticket not in self.tickets:
            raise Refused(404, "OBJECT_NOT_FOUND", f"Object not found. objectId: {ticket}")
        return self.tickets[ticket]

    def _json(self, ticket: str, names: list[str], history: list[str] | None = None) -> dict[str, Any]:
        held = self._ticket(ticket)
        shown = {name: held.properties.get(name) or None for name in names if name in self.known}
        answer: dict[str, Any] = {
            "id": ticket,
            "properties": {
                "hs_object_id": ticket,
                "hs_lastmodifieddate": held.properties["hs_lastmodifieddate"],
                **shown,
            },
            "createdAt": "2026-11-01T00:00:00.000Z",
            "updatedAt": held.properties["hs_lastmodifieddate"],
            "archived": False,
        }
        if history:
            answer["propertiesWithHistory"] = {
                name: [{"value": v, "timestamp": at, "sourceType": "CRM_UI"} for at, v in held.history.get(name, [])]
                for name in history
            }
        return answer

    async def _get(self, request: Request) -> Response:
        query = request.query_params
        names = [part for text in query.getlist("properties") for part in text.split(",")]
        history = [part for text in query.getlist("propertiesWithHistory") for part in text.split(",")]
        return JSONResponse(self._json(request.path_params["id"], names, history))

    async def _patch(self, request: Request) -> Response:
        ticket, values = request.path_params["id"], (await request.json())["properties"]
        held = self._ticket(ticket)
        for name, value in values.items():
            if name not in self.known:
                raise Refused(
                    400, "VALIDATION_ERROR", f'Property values were not valid: Property "{name}" does not exist'
                )
            if len(value) > LONGEST:
                raise Refused(400, "VALIDATION_ERROR", f"Property values were not valid: {name} is too long")
        claim = values.get(self.unique)
        if claim and any(one is not held and one.properties.get(self.unique) == claim for one in self.tickets.values()):
            raise Refused(400, "VALIDATION_ERROR", f"{ticket} CONFLICTING_UNIQUE_VALUE: already has that value")
        if self.before_write is not None:
            hook, self.before_write = self.before_write, None
            hook(ticket)
        self.change(ticket, values)
        held.writes += 1
        return JSONResponse(self._json(ticket, list(values)))

    async def _search(self, request: Request) -> Response:
        asked = await request.json()
        assert asked["sorts"] == [{"propertyName": "hs_lastmodifieddate", "direction": "ASCENDING"}]
        found = [t for t, held in self.tickets.items() if any(_meets(held, g) for g in asked["filterGroups"])]
        found.sort(key=lambda t: self.tickets[t].properties["hs_lastmodifieddate"])
        start, size = int(asked.get("after", 0)), min(asked["limit"], self.page)
        answer: dict[str, Any] = {
            "total": len(found),
            "results": [self._json(t, asked["properties"]) for t in found[start : start + size]],
        }
        if start + size < len(found):
            answer["paging"] = {"next": {"after": str(start + size), "link": "https://elsewhere.example/"}}
        return JSONResponse(answer)

    async def _batch(self, request: Request) -> Response:
        asked, of_notes = await request.json(), request.path_params["kind"] == "notes"
        results, errors = [], []
        for one in (item["id"] for item in asked["inputs"]):
            if of_notes and one in self.notes:
                times = {"createdAt": "2026-11-01T00:00:00Z", "updatedAt": "2026-11-01T00:00:00Z", "archived": False}
                results.append({"id": one, "properties": {"hs_attachment_ids": self.notes[one]}, **times})
            elif not of_notes and one in self.tickets:
                results.append(self._json(one, asked["properties"]))
            else:
                errors.append(_part("OBJECT_NOT_FOUND", "Could not get some objects", one))
        return self._parts(results, errors)

    async def _links(self, request: Request) -> Response:
        results, errors = [], []
        for one in (item["id"] for item in (await request.json())["inputs"]):
            if notes := self._ticket(one).notes:
                kinds = [{"category": "HUBSPOT_DEFINED", "typeId": 227, "label": None}]
                to = [{"toObjectId": int(note), "associationTypes": kinds} for note in notes]
                results.append({"from": {"id": one}, "to": to})
            else:
                errors.append(_part("OBJECT_NOT_FOUND", f"No notes is associated with tickets {one}.", one))
        return self._parts(results, errors)

    def _parts(self, results: list[Any], errors: list[Any]) -> Response:
        if self.partial is not None:
            errors, self.partial = [*errors, _part(**self.partial, of="1")], None
        times = {"startedAt": "2026-11-12T08:00:00Z", "completedAt": "2026-11-12T08:00:00Z"}
        answer = {"status": "COMPLETE", "results": results, **times}
        if errors:
            return JSONResponse({**answer, "numErrors": len(errors), "errors": errors}, 207)
        return JSONResponse(answer)

    async def _describe(self, request: Request) -> Response:
        common = {
            "label": "x",
            "type": "string",
            "fieldType": "text",
            "description": "",
            "groupName": "x",
            "options": [],
        }
        return JSONResponse({"results": [{"name": name, **common} for name in sorted(self.known)]})

    async def _file(self, request: Request) -> Response:
        name, data = self._held_file(request)
        stem, _, extension = name.rpartition(".")
        times = {"createdAt": "2026-11-01T00:00:00Z", "updatedAt": "2026-11-01T00:00:00Z", "archived": False}
        answer = {"id": request.path_params["id"], "name": stem, "extension": extension, "size": len(data), **times}
        return JSONResponse({**answer, "access": "PRIVATE"})

    async def _sign(self, request: Request) -> Response:
        name, data = self._held_file(request)
        stem, _, extension = name.rpartition(".")
        url = f"{request.base_url}signed/{request.path_params['id']}?Signature=x"
        answer = {"name": stem, "extension": extension, "size": len(data), "type": "IMG", "url": url}
        return JSONResponse({**answer, "expiresAt": "2026-11-12T09:00:00Z"})

    def _held_file(self, request: Request) -> tuple[str, bytes]:
        if request.path_params["id"] not in self.files:
            raise Refused(404, "OBJECT_NOT_FOUND", "File not found")
        return self.files[request.path_params["id"]]

    async def _content(self, request: Request) -> Response:
        assert "authorization" not in request.headers, "the token left for another place"
        return Response(self._held_file(request)[1])


def _meets(held: Held, group: dict[str, Any]) -> bool:
    for one in group["filters"]:
        value = held.properties.get(one["propertyName"]) or None
        match one["operator"]:
            case "NOT_HAS_PROPERTY":
                met = value is None
            case "IN":
                met = value in one["values"]
            case "EQ":
                met = value == one["value"]
            case "GTE":
                at = datetime.fromtimestamp(int(one["value"]) / 1000, UTC)
                met = value is not None and datetime.fromisoformat(value) >= at
            case other:
                raise Refused(400, "VALIDATION_ERROR", f"there is no operator {other}")
        if not met:
            return False
    return True


def _part(category: str, message: str, of: str) -> dict[str, Any]:
    return {"status": "error", "category": category, "message": message, "context": {"ids": [of]}}


@dataclass
class HubSpotWorld:
    """The connector, its client unmodified but for its address, on the local server."""

    crm: HubSpotCrm
    server: HubSpotServer
    longest: int = 60_000

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
        ticket = str(next(self.server.ids))
        text = payload if payload is None or isinstance(payload, str) else json.dumps(payload)
        values = {"subject": name, "claim_oem": oem, "claim_dealer": "10234", "payload": text or ""}
        self.server.tickets[ticket] = Held()
        day = due_on.isoformat() if due_on else ""
        self.server.change(ticket, {**values, "claim_due_on": day, "claim_status": "ready"})
        if modified_at is not None:
            text = modified_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self.server.tickets[ticket].properties["hs_lastmodifieddate"] = text
        for file, _, data in files or []:
            note, file_id = str(next(self.server.ids)), str(next(self.server.ids))
            self.server.files[file_id] = (file, data)
            self.server.notes[note] = file_id
            self.server.tickets[ticket].notes.append(note)
        return ticket

    def edit(self, record_id: str, payload: dict[str, Any]) -> None:
        held = json.loads(self.server.tickets[record_id].properties["payload"])
        self.server.change(record_id, {"payload": json.dumps(held | payload)})

    def writes(self, record_id: str) -> int:
        return self.server.tickets[record_id].writes

    def small_pages(self) -> None:
        self.server.page = 3

    def break_down(self) -> None:
        self.server.down = True

    def mend(self) -> None:
        self.server.down = False


def mapping_at(url: str) -> HubSpotMapping:
    """The example of the documentation, with a payload as one property, at the local server."""
    example = read_mapping(EXAMPLE)
    assert isinstance(example, HubSpotMapping)
    data = example.model_dump()
    data["record"]["payload"] = "payload"
    return HubSpotMapping.model_validate({**data, "url": url, "private_hosts": ("127.0.0.1",)})


def account(mapping: HubSpotMapping) -> HubSpotServer:
    """An empty account with the mapping's properties."""
    known = {*mapping.record.names(), *mapping.outcome.names().values(), "subject"}
    return HubSpotServer(known=known, unique=mapping.outcome.claim_id)
