"""What every room of the desk has: its parts, and how it answers. Routes and pages are the rooms' own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from jinja2 import Environment
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from oem_submissions.desk.access import Role, User, can_sign_out, csrf_token, current_user, require_operator
from oem_submissions.desk.operating import Operating
from oem_submissions.desk.reader import DeskReader
from oem_submissions.domain.records import Claim
from oem_submissions.ports import EvidenceStore

MAX_WHY = 1000
"""Characters of a reason that a person gives."""
_CLAIM = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_FIELDS = 20


@dataclass(frozen=True)
class Addresses:
    """Where the desk's links lead."""

    dagster: str
    """Its webserver."""
    crm_record: str | None = None
    """A record's page, with `{id}` for its id."""

    def run(self, run_id: str | None) -> str | None:
        """A run's page."""
        if run_id is None or urlsplit(self.dagster).scheme not in ("http", "https"):
            return None
        return f"{self.dagster.rstrip('/')}/runs/{quote(run_id, safe='')}"

    def record(self, record_id: str) -> str | None:
        """A CRM record's page."""
        if self.crm_record is None or urlsplit(self.crm_record).scheme not in ("http", "https"):
            return None
        return self.crm_record.format(id=quote(record_id, safe=""))


@dataclass(frozen=True)
class Room:
    """A room on its parts. Handlers are plain functions: Starlette runs them in threads."""

    reader: DeskReader
    store: EvidenceStore
    addresses: Addresses
    operating: Operating
    environment: Environment

    def page(self, request: Request, template: str, status: int = 200, **context: object) -> Response:
        """The template as a page for who asks."""
        user = current_user(request) if status < 400 else visitor(request)
        operates = user is not None and user.role is Role.OPERATOR
        known = {
            "user": user,
            "operates": operates,
            "csrf_token": csrf_token(request) if operates else "",
            "can_sign_out": can_sign_out(request),
            "addresses": self.addresses,
            "path": request.url.path,
            "query": "",
        }
        text = self.environment.get_template(template).render(known | context)
        body = text.encode("utf-8", "backslashreplace")
        return HTMLResponse(body, status_code=status, headers={"Cache-Control": "no-store"})

    def known_claim(self, request: Request) -> Claim:
        """The claim that the address names. Raises `HTTPException` 404."""
        current_user(request)
        claim_id = request.path_params["claim_id"]
        claim = self.reader.claim(claim_id) if _CLAIM.fullmatch(claim_id) else None
        if claim is None:
            raise HTTPException(404, "There is no claim with this id.")
        return claim


def visitor(request: Request) -> User | None:
    """Who asks, if anybody: a refusal is shown to anybody."""
    user = getattr(request.state, "user", None)
    return user if isinstance(user, User) else None


def posting(path: str, handler: Callable[[Request, FormData, str], Response]) -> Route:
    """A route for an operator's form: `handler` gets the form and the operator's name, in a thread."""

    async def endpoint(request: Request) -> Response:
        name = require_operator(request).name
        async with request.form(max_files=1, max_fields=_FIELDS) as form:
            return await run_in_threadpool(handler, request, form, name)

    return Route(path, endpoint, methods=["POST"])


def text_field(form: FormData, name: str, longest: int = MAX_WHY) -> str:
    """A field of a form, stripped; empty when it is missing. Raises `HTTPException` 400 when it is too long."""
    value = form.get(name, "")
    text = value.strip() if isinstance(value, str) else ""
    if len(text) > longest:
        raise HTTPException(400, f"The field ‘{name}’ may have {longest} characters at most. Nothing was changed.")
    return text


def see_other(path: str, **outcome: object) -> Response:
    """See the page that says what came of it: a reload does nothing again."""
    return RedirectResponse(f"{path}?{urlencode(outcome)}" if outcome else path, status_code=303)


def outcome_in_words(request: Request, words: Mapping[str, str]) -> str:
    """What the last form did, if the address says so: only our own sentences, only with numbers put in."""
    asked = request.query_params
    numbers = {name: asked.get(name, "0") for name in ("n", "lost")}
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers.values()):
        return ""
    return words.get(asked.get("done", ""), "").format(**{name: int(number) for name, number in numbers.items()})
