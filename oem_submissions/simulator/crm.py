"""The simulated CRM over HTTP: the part of Salesforce's REST API that our client uses, admin routes, a page per record.

`crm_store.py` keeps the records, `crm_soql.py` reads queries, `crm_schema.py` knows objects and fields.
"""

from __future__ import annotations

import asyncio
import html
import json
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from oem_submissions.simulator.crm_schema import CLAIM, VERSION, ApiError, checked, fields_of
from oem_submissions.simulator.crm_store import CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME, CrmTruth

__all__ = ["CrmTruth", "routes"]

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FAULTS = {
    "outage": "every request answers 503 SERVER_UNAVAILABLE, the log-in too",
    "slow": "every request of the API waits `seconds` first",
    "read_only": "every write answers 403 INSUFFICIENT_ACCESS_OR_READONLY",
    "session_expired": "every request answers 401 INVALID_SESSION_ID, with any token",
    "rate_limit": "every request answers 403 REQUEST_LIMIT_EXCEEDED",
    "drop_write": "a write answers as always and changes nothing",
    "lose_answer": "a write is done and yet answers 500",
    "forget_token": "all tokens end at once; a new log-in helps",
}
_ANSWERS = {
    "outage": ApiError(503, "SERVER_UNAVAILABLE", "The server is temporarily unavailable. Please try again."),
    "read_only": ApiError(403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights: read-only mode"),
    "session_expired": ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid"),
    "rate_limit": ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    "lose_answer": ApiError(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred."),
}

Handler = Callable[[Request], Awaitable[Response]]


class _Faults:
    """The faults that are set, and the counters of requests. In memory: a restart takes them away."""

    def __init__(self) -> None:
        self._set: list[dict[str, Any]] = []
        self.requests: Counter[str] = Counter()

    def set(self, fault: str, times: int | None, seconds: float | None) -> None:
        until = time.monotonic() + seconds if seconds is not None and fault != "slow" else None
        self._set.append({"fault": fault, "times": times, "seconds": seconds, "until": until, "fired": 0})

    def take(self, fault: str) -> dict[str, Any] | None:
        for one in self._set:
            used_up = one["times"] is not None and one["fired"] >= one["times"]
            over = one["until"] is not None and time.monotonic() > one["until"]
            if one["fault"] == fault and not used_up and not over:
                one["fired"] += 1
                return one
        return None

    def all(self) -> list[dict[str, Any]]:
        return [{key: one[key] for key in ("fault", "times", "seconds", "fired")} for one in self._set]

    def clear(self) -> None:
        self._set.clear()


def routes(crm: CrmTruth) -> list[BaseRoute]:
    """Everything the CRM answers to, to be mounted at the root."""
    faults = _Faults()
    return [*_Api(crm, faults).routes(), *_Admin(crm, faults).routes(), *_pages(crm)]


class _Api:
    """Salesforce's REST API, as far as we use it."""

    def __init__(self, crm: CrmTruth, faults: _Faults) -> None:
        self._crm = crm
        self._faults = faults

    def routes(self) -> list[BaseRoute]:
        data = "/services/data/v{version}"
        record = data + "/sobjects/{object}/{id}"
        by_external = data + "/sobjects/{object}/{field}/{value}"
        table = (
            ("POST", data + "/sobjects/{object}", "create", self._create),
            ("POST", data + "/sobjects/{object}/", "create", self._create),
            ("GET", data + "/sobjects/{object}/describe", "describe", self._describe),
            ("GET", data + f"/sobjects/{VERSION}/{{id}}/VersionData", "download", self._download),
            ("GET", record, "read", self._read),
            ("PATCH", record, "write", self._update),
            ("GET", by_external, "read", self._read_external),
            ("PATCH", by_external, "write", self._upsert),
            ("GET", data + "/query", "query", self._query),
            ("GET", data + "/query/", "query", self._query),
            ("GET", data + "/query/{page}", "query_more", self._query_more),
        )
        token = Route("/services/oauth2/token", self._guarded("token", self._token), methods=["POST"])
        return [token, *(Route(p, self._guarded(kind, do), methods=[verb]) for verb, p, kind, do in table)]

    def _guarded(self, kind: str, handler: Handler) -> Handler:
        async def endpoint(request: Request) -> Response:
            self._faults.requests[kind] += 1
            try:
                await self._meet_faults(kind, request)
                response = await handler(request)
                if kind in ("write", "create") and self._faults.take("lose_answer"):
                    raise _ANSWERS["lose_answer"]
            except ApiError as error:
                return JSONResponse([{"message": error.message, "errorCode": error.code}], error.status)
            response.headers["Sforce-Limit-Info"] = f"api-usage={self._faults.requests.total()}/100000"
            return response

        return endpoint

    async def _meet_faults(self, kind: str, request: Request) -> None:
        if slow := self._faults.take("slow"):
            await asyncio.sleep(slow["seconds"] or 0.0)
        if self._faults.take("outage"):
            raise _ANSWERS["outage"]
        if kind == "token":
            return
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._faults.take("session_expired") or not self._crm.knows_token(token):
            raise _ANSWERS["session_expired"]
        if self._faults.take("rate_limit"):
            raise _ANSWERS["rate_limit"]
        if kind in ("write", "create") and self._faults.take("read_only"):
            raise _ANSWERS["read_only"]

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        given = {name: str(value) for name, value in form.items()}
        problem = _log_in_problem(given, self._crm.certificate)
        if problem:
            return JSONResponse({"error": problem[0], "error_description": problem[1]}, 400)
        instance = f"{request.url.scheme}://{request.headers.get('host', '')}"
        identity = f"{instance}/id/00D000000000001AAA/005000000000001AAA"
        answer = {"access_token": self._crm.new_token(), "instance_url": instance, "id": identity}
        return JSONResponse(answer | {"token_type": "Bearer", "issued_at": str(int(time.time() * 1000))})

    async def _query(self, request: Request) -> Response:
        total, rows, following = self._crm.query(request.query_params.get("q", ""))
        return self._page(request, total, rows, following)

    async def _query_more(self, request: Request) -> Response:
        rows, following = self._crm.page(request.path_params["page"])
        return self._page(request, None, rows, following)

    @staticmethod
    def _page(request: Request, total: int | None, rows: list[dict[str, Any]], following: str | None) -> Response:
        data = f"/services/data/v{request.path_params['version']}"
        answer: dict[str, Any] = {"totalSize": len(rows) if total is None else total, "done": following is None}
        if following:
            answer["nextRecordsUrl"] = f"{data}/query/{following}"
        answer["records"] = [{"attributes": {"type": "sObject"}, **row} for row in rows]
        return JSONResponse(answer)

    async def _describe(self, request: Request) -> Response:
        name = request.path_params["object"]
        fields = [field.as_json() for field in fields_of(name).values()]
        return JSONResponse({"name": name, "label": name, "queryable": True, "updateable": True, "fields": fields})

    async def _read(self, request: Request) -> Response:
        return self._record(request, "Id", request.path_params["id"])

    async def _read_external(self, request: Request) -> Response:
        return self._record(request, request.path_params["field"], request.path_params["value"])

    def _record(self, request: Request, by: str, value: str) -> Response:
        name = request.path_params["object"]
        row = self._crm.row(name, by, value)
        wanted = request.query_params.get("fields")
        names = wanted.split(",") if wanted else list(row)
        if unknown := next((n for n in names if n not in row), None):
            raise ApiError(400, "INVALID_FIELD", f"No such column '{unknown}' on sobject of type {name}")
        url = f"/services/data/v{request.path_params['version']}/sobjects/{name}/{row['Id']}"
        return JSONResponse({"attributes": {"type": name, "url": url}} | {n: row[n] for n in names} | {"Id": row["Id"]})

    async def _download(self, request: Request) -> Response:
        return Response(self._crm.content(request.path_params["id"]), media_type="application/octet-stream")

    async def _create(self, request: Request) -> Response:
        values = await _writing(request)
        record_id = make_dropped_id() if self._faults.take("drop_write") else self._crm.create(values)
        return JSONResponse({"id": record_id, "success": True, "errors": []}, 201)

    async def _update(self, request: Request) -> Response:
        values = await _writing(request)
        since = request.headers.get("if-unmodified-since")
        try:
            unchanged_since = parsedate_to_datetime(since) if since else None
        except ValueError as error:
            raise ApiError(400, "INVALID_HEADER", "If-Unmodified-Since is no date") from error
        if self._faults.take("drop_write"):
            self._crm.row(CLAIM, "Id", request.path_params["id"])
            checked(CLAIM, values)
        else:
            self._crm.update(request.path_params["id"], values, unchanged_since)
        return Response(status_code=204)

    async def _upsert(self, request: Request) -> Response:
        values = await _writing(request)
        name, value = request.path_params["field"], request.path_params["value"]
        try:
            row = self._crm.row(CLAIM, name, value)
        except ApiError:
            if name != "Submission_Claim_Id__c":
                raise
            made = make_dropped_id() if self._faults.take("drop_write") else self._crm.create(values | {name: value})
            return JSONResponse({"id": made, "success": True, "errors": [], "created": True}, 201)
        if not self._faults.take("drop_write"):
            self._crm.update(row["Id"], values)
        return JSONResponse({"id": row["Id"], "success": True, "errors": [], "created": False}, 200)


def make_dropped_id() -> str:
    """The id of a record that was promised and is not there."""
    return "a0X" + secrets.token_hex(6) + "AAA"


def _log_in_problem(given: dict[str, str], certificate: str | None) -> tuple[str, str] | None:
    if given.get("grant_type") == JWT_BEARER:
        return _assertion_problem(given.get("assertion", ""), certificate)
    if given.get("grant_type") not in ("client_credentials", "password"):
        return "unsupported_grant_type", "grant type not supported"
    if given.get("client_id") != CLIENT_ID:
        return "invalid_client_id", "client identifier invalid"
    if given.get("client_secret") != CLIENT_SECRET:
        return "invalid_client", "invalid client credentials"
    if given["grant_type"] == "password" and (given.get("username"), given.get("password")) != (USERNAME, PASSWORD):
        return "invalid_grant", "authentication failure"
    return None


def _assertion_problem(assertion: str, certificate: str | None) -> tuple[str, str] | None:
    """Signed by the connected app's key, of the app, for its user, for this audience, and not over."""
    try:
        if certificate is None:
            raise ValueError("no certificate was uploaded")
        claims = jwt.decode(assertion, RSAKey.import_key(certificate), algorithms=["RS256"]).claims
        wanted = {"iss": CLIENT_ID, "sub": USERNAME, "aud": "https://login.salesforce.com"}
        if any(claims.get(name) != value for name, value in wanted.items()) or claims["exp"] < time.time():
            raise ValueError("not for this")
    except (JoseError, KeyError, ValueError):
        return "invalid_grant", "invalid assertion"
    return None


async def _writing(request: Request) -> dict[str, Any]:
    """The body of a write to the one object that can be written. Raises `ApiError`."""
    name = request.path_params["object"]
    fields_of(name)
    if name != CLAIM:
        raise ApiError(403, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type {name} can not be written here")
    return await _json_object(request)


async def _json_object(request: Request) -> dict[str, Any]:
    try:
        values = json.loads(await request.body())
    except ValueError as error:
        raise ApiError(400, "JSON_PARSER_ERROR", f"Unexpected character: {error}") from error
    if not isinstance(values, dict):
        raise ApiError(400, "JSON_PARSER_ERROR", "the body is no JSON object")
    return values


class _Admin:
    """What scripts and tests do beside the API: seed, edit, look, break."""

    def __init__(self, crm: CrmTruth, faults: _Faults) -> None:
        self._crm = crm
        self._faults = faults

    def routes(self) -> list[BaseRoute]:
        table = (
            ("PUT", "/records", self._seed),
            ("GET", "/records", self._records),
            ("POST", "/records/{id}", self._edit),
            ("POST", "/faults", self._set_fault),
            ("GET", "/faults", self._get_faults),
            ("DELETE", "/faults", self._clear_faults),
            ("POST", "/settings", self._settings),
            ("GET", "/requests", self._requests),
            ("POST", "/reset", self._reset),
        )
        return [Route(f"/admin/crm{path}", _answering(call), methods=[verb]) for verb, path, call in table]

    async def _seed(self, request: Request) -> Any:
        records = (await _json_object(request)).get("records", [])
        made = [self._crm.seed(record) for record in records]
        return {"ids": [record_id for record_id, _ in made], "created": sum(new for _, new in made)}

    async def _records(self, request: Request) -> Any:
        return {"records": self._crm.everything()}

    async def _edit(self, request: Request) -> Any:
        self._crm.edit(request.path_params["id"], await _json_object(request))
        return {}

    async def _set_fault(self, request: Request) -> Any:
        wanted = await _json_object(request)
        if wanted.get("fault") not in FAULTS:
            raise ApiError(422, "UNKNOWN_FAULT", f"there is no fault {wanted.get('fault')!r}; {', '.join(FAULTS)}")
        if wanted["fault"] == "forget_token":
            self._crm.forget_tokens()
        else:
            self._faults.set(wanted["fault"], wanted.get("times"), wanted.get("seconds"))
        return {}

    async def _get_faults(self, request: Request) -> Any:
        return {"faults": self._faults.all(), "kinds": FAULTS}

    async def _clear_faults(self, request: Request) -> Any:
        self._faults.clear()
        return {}

    async def _settings(self, request: Request) -> Any:
        given = await _json_object(request)
        if "certificate" in given:
            self._crm.certificate = given["certificate"]
        if "page_size" in given:
            self._crm.page_size = max(1, int(given["page_size"]))
        return {}

    async def _requests(self, request: Request) -> Any:
        return dict(self._faults.requests)

    async def _reset(self, request: Request) -> Any:
        self._crm.forget()
        self._faults.clear()
        self._faults.requests.clear()
        return {}


def _answering(call: Callable[[Request], Awaitable[Any]]) -> Handler:
    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(await call(request))
        except ApiError as error:
            return JSONResponse({"error": error.message}, error.status if error.status != 400 else 422)
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"error": f"the request is malformed: {error!r}"}, 422)

    return endpoint


def _pages(crm: CrmTruth) -> list[BaseRoute]:
    """What a person sees of a record, and the list of all."""

    async def record(request: Request) -> Response:
        try:
            row = crm.row(CLAIM, "Id", request.path_params["id"])
        except ApiError as error:
            return HTMLResponse(f"<h1>{html.escape(error.message)}</h1>", error.status)
        lines = "".join(f"<tr><th>{html.escape(k)}<td>{_shown(v)}" for k, v in row.items())
        return HTMLResponse(_PAGE.format(title=html.escape(str(row["Name"])), body=f"<table>{lines}</table>"))

    async def listed(request: Request) -> Response:
        names = ("Name", "OEM__c", "Dealer_Code__c", "Claim_Type__c", "Due_On__c", "Submission_Status__c",
                 "Submission_Reference__c")  # fmt: skip
        head = "".join(f"<th>{name}" for name in names)
        lines = []
        for row in crm.rows(CLAIM):
            cells = "".join(f"<td>{_shown(row[name])}" for name in names)
            lines.append(f'<tr>{cells}<td><a href="/lightning/r/{CLAIM}/{row["Id"]}/view">open</a>')
        return HTMLResponse(_PAGE.format(title="OEM claims", body=f"<table><tr>{head}{''.join(lines)}</table>"))

    return [Route(f"/lightning/r/{CLAIM}/{{id}}/view", record), Route(f"/lightning/o/{CLAIM}/list", listed)]


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} | CRM</title>
<style>body{{font:14px sans-serif;margin:2em}}th,td{{text-align:left;vertical-align:top;padding:.2em .8em;
border-bottom:1px solid #ddd;overflow-wrap:anywhere}}</style><h1>{title}</h1>{body}"""


def _shown(value: Any) -> str:
    text = html.escape("" if value is None else str(value))
    return f'<a href="{text}">{text}</a>' if text.startswith(("http://", "https://")) else text
