"""The door before the desk's pages: who asks, may they, does it come from us; and what of it goes into the log.

Strangers get the same answer for every page, whether it exists or not: the pages are not asked before they are known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote, urlsplit

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oem_submissions.desk.access import Note, Refused, Role, Visit, Way, may_not_decide
from oem_submissions.desk.bounds import Budget
from oem_submissions.desk.forms import Forms, check_whence, read_body, replayed, sent_tokens
from oem_submissions.desk.outside import outside_page
from oem_submissions.desk.sign_in import CALLBACK, SIGN_IN, SIGN_OUT, SignIn, local_path
from oem_submissions.desk.tokens import Tokens
from oem_submissions.domain.desk_log import DeskAction, DeskEntry
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.domain.texts import visible
from oem_submissions.ports import AccessLog, LedgerUnavailable

METRICS = "/metrics"
OPEN = ("/health", "/static/")
"""For everybody: says nothing of any claim."""
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_log = logging.getLogger("oem_submissions.desk")


@dataclass(frozen=True)
class Access:
    """Who is let in, and how."""

    way: Way
    forms: Forms
    log: AccessLog
    tokens: Tokens | None = None
    sign_in: SignIn | None = None
    origin: str | None = None
    """As browsers name the desk, such as https://desk.example; None: by this machine's own names."""
    refusals: Budget = field(default_factory=lambda: Budget(20, 200))
    """How many of them are noted: strangers can't fill the log."""


class Door:
    """ASGI middleware around the desk."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access
        self._unnoted = 0
        self._signing = CapacityLimiter(4)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer, if the visitor may have it; else why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request, visit = Request(scope, receive), None
        try:
            self._check_host(request)
            if request.method not in ("GET", "HEAD", "POST"):
                raise Refused(405, "This page can only be read.", {"Allow": "GET, HEAD, POST"})
            if request.method != "POST" and _is_open(scope["path"]):
                await self._app(scope, receive, send)
                return
            visit = await run_in_threadpool(self._visit, request)
            answer = await self._admit(request, visit)
        except Refused as refusal:
            answer = await self._refusal(request, visit, refusal)
        except (LedgerUnavailable, ConfigurationError) as error:
            _log.error("%s", error)
            answer = outside_page(503, f"{error} Nothing was done.")
        except ClientDisconnect:
            return
        await answer(scope, receive, send)

    # --- who ------------------------------------------------------------------------------------------------------

    def _check_host(self, request: Request) -> None:
        """A page elsewhere could point its own name at us, and read the desk through its visitor's browser."""
        own = self._access.origin
        if own is not None and request.scope["path"] == "/health":
            return  # probes of orchestrators come by address
        by_token = self._access.tokens is not None and _token_of(request) is not None
        if own is not None and by_token and request.scope["path"] == METRICS:
            return  # so does Prometheus; a page elsewhere, under whatever name, knows no token
        host = _host_of(request.headers.get("host", ""))
        names = _LOOPBACK_NAMES if own is None else {urlsplit(own).hostname}
        if host not in names:
            raise Refused(400, "The desk does not go by this name: use the address that its links have.")

    def _visit(self, request: Request) -> Visit | None:
        tokens, token = self._access.tokens, _token_of(request)
        if tokens is not None and token is not None:
            return tokens.visit(token, address_of(request))
        return self._access.way.visit(request)

    # --- may they -------------------------------------------------------------------------------------------------

    async def _admit(self, request: Request, visit: Visit | None) -> ASGIApp:
        """What answers: a page of our own, or the desk with the visitor put into the request."""
        path, reads = request.scope["path"], request.method != "POST"
        sign_in = self._access.sign_in
        if sign_in is not None and path == CALLBACK and reads:
            return await self._by_provider(sign_in.come_back, request, self._note_for(request))
        if path == SIGN_IN and reads:
            target = local_path(request.query_params.get("next"))
            if visit is not None or sign_in is None:
                return RedirectResponse(target, 303)
            return await self._by_provider(sign_in.go, target)
        if visit is None:
            return self._invite(request)
        if not reads:
            return await self._change(request, visit)
        if path == SIGN_OUT and sign_in is not None:
            return sign_in.ask(visit, self._access.forms.token(visit))
        return self._watched(self._scope_with(request, visit), request, visit)

    async def _by_provider(self, work: Callable[..., Response], *words: object) -> Response:
        """In threads that are few: a provider that does not answer must not take those of the pages."""
        return await to_thread.run_sync(partial(work, *words), limiter=self._signing)

    def _invite(self, request: Request) -> Response:
        """The same for every page, so that nobody learns from it which there are."""
        if self._access.sign_in and _shows_pages(request):
            raw = request.scope.get("raw_path", b"/").decode("latin-1")
            query = request.scope["query_string"].decode("latin-1")
            there = f"{raw}?{query}" if query else raw
            return RedirectResponse(f"{SIGN_IN}?next={quote(there, safe='')}", 303, {"Cache-Control": "no-store"})
        headers = {"WWW-Authenticate": 'Bearer realm="evidence desk"'} if self._access.tokens else {}
        text = self._access.way.invitation
        if request.method == "POST":
            text = f"Nothing was done: your sign-in has ended, or never was. {text}"
        return outside_page(401, text, link=("/", "To the desk"), headers=headers)

    async def _change(self, request: Request, visit: Visit) -> ASGIApp:
        """A form. It is in the log before anything is done, so that no crash makes a decision without a name."""
        if visit.forms:
            check_whence(request, self._access.origin or f"http://{request.headers['host']}")
        body = await read_body(request)
        if visit.forms:
            self._access.forms.check(visit, await sent_tokens(request.scope, body))
        if request.scope["path"] == SIGN_OUT and self._access.sign_in is not None:
            return await self._by_provider(self._access.sign_in.out, request, visit, self._note_for(request))
        if visit.user.role is not Role.OPERATOR:
            raise Refused(403, may_not_decide(visit.user))
        await self._note(request, DeskAction.CHANGE, visit, "begun")
        return self._watched(self._scope_with(request, visit), request, visit, replayed(body, request.receive))

    def _scope_with(self, request: Request, visit: Visit) -> Scope:
        state = {
            **request.scope.get("state", {}),
            "user": visit.user,
            "csrf": self._access.forms.token(visit),
            "can_sign_out": self._access.sign_in is not None and visit.way == self._access.way.name,
        }
        return {**request.scope, "state": state}

    # --- the log --------------------------------------------------------------------------------------------------

    def _watched(self, scope: Scope, request: Request, visit: Visit, body: Receive | None = None) -> ASGIApp:
        """The desk; what its answer is goes into the log before anybody gets it."""

        async def answer(_: Scope, receive: Receive, send: Send) -> None:
            instead = False

            async def watched(message: Message) -> None:
                nonlocal instead
                if message["type"] == "http.response.start" and not instead:
                    refusal = await self._note_answer(request, visit, message)
                    if refusal is not None:
                        instead = True
                        await refusal(scope, receive, send)
                if not instead:
                    await send(message)

            await self._app(scope, body or receive, watched)

        return answer

    async def _note_answer(self, request: Request, visit: Visit, start: Message) -> Response | None:
        """Note what is worth it. A download that can't be noted is not given; a decision was noted before it."""
        status = start["status"]
        kind = Headers(raw=start.get("headers", [])).get("content-disposition", "")
        try:
            if request.method == "POST":
                await self._note(request, DeskAction.CHANGE, visit, str(status))
            elif status == 403:
                await self._note(request, DeskAction.REFUSED, visit, str(status))
            elif request.method == "GET" and status == 200 and kind.lower().startswith("attachment"):
                await self._note(request, DeskAction.DOWNLOAD, visit, "given")
        except LedgerUnavailable as error:
            if request.method == "GET":
                return outside_page(503, f"Nothing is given out that can't be noted. {error}")
            _log.error("What %s came to (%s) could not be noted: %s", request.scope["path"], status, error)
        return None

    async def _refusal(self, request: Request, visit: Visit | None, refusal: Refused) -> Response:
        """Why not, as a page; and in the log while there are not too many of them. The others are counted there."""
        if not self._access.refusals.spend(address_of(request)):
            self._unnoted += 1
        else:
            more, self._unnoted = self._unnoted, 0
            _log.warning(
                "Refused %s %s from %s: %s", request.method, visible(request.scope["path"])[:200], address_of(request),
                visible(refusal.text)[:300],
            )  # fmt: skip
            try:
                await self._note(
                    request, DeskAction.REFUSED, visit, refusal.text + (f" ({more} more before it)" if more else "")
                )
            except LedgerUnavailable as error:
                _log.error("The refusal could not be noted: %s", error)
        return outside_page(refusal.status, refusal.text, link=("/", "To the desk"), headers=refusal.headers)

    async def _note(self, request: Request, action: DeskAction, visit: Visit | None, outcome: str) -> None:
        await run_in_threadpool(self._note_for(request), action, visit, request.scope["path"], outcome)

    def _note_for(self, request: Request) -> Note:
        """Writes a line about the request. Raises `LedgerUnavailable`."""

        def note(action: DeskAction, visit: Visit | None, target: str, outcome: str) -> None:
            who, role = (visit.user.name, visit.user.role.value) if visit else (None, None)
            way = visit.way if visit else "none"
            self._access.log.note_access(DeskEntry(action, who, role, way, target, outcome, address_of(request)))

        return note


def address_of(request: Request) -> str:
    """Whence the request comes, as the connection has it."""
    return request.client.host if request.client else "unknown"


def _token_of(request: Request) -> str | None:
    """The token that a machine shows, known or not."""
    credentials = request.headers.get("authorization", "")
    return credentials[7:].strip() if credentials[:7].lower() == "bearer " else None


def _shows_pages(request: Request) -> bool:
    """Whether a person would see a page that is answered now: not where a picture or a download was asked for."""
    accepts = "text/html" in request.headers.get("accept", "")
    return request.method != "POST" and accepts and request.headers.get("sec-fetch-dest", "document") == "document"


def _is_open(path: str) -> bool:
    return path == OPEN[0] or path.startswith(OPEN[1])


def _host_of(header: str) -> str | None:
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None
