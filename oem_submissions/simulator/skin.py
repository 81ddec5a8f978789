"""What all portals share: a visit to a page, the faults that bite on any page, log-in, and the filing of a claim.

A skin is one class that says everything of one portal: its pages, what it files, its references, claims to try it
with. Its pages, checks and words live in its own module; this one knows no field of any form.
"""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from oem_submissions.simulator.accounts import IDLE_SECONDS, Account, Accounts, Session
from oem_submissions.simulator.clock import Clock
from oem_submissions.simulator.connections import NoAnswer, ResetConnection, delay
from oem_submissions.simulator.database import Database
from oem_submissions.simulator.faults import Fault, Faults
from oem_submissions.simulator.journal import Journal
from oem_submissions.simulator.samples import Made
from oem_submissions.simulator.truth import Filing, NewFiling, Truth
from oem_submissions.simulator.uploads import File, read_file

HERE = Path(__file__).parent
HISTORY_ROWS = 10
WRONG_DEALER = "99999"
FORM_FAULTS = (
    "renamed_label",
    "moved_button",
    "new_required_field",
    "new_hidden_input",
    "changed_action",
    "swapped_buttons",
    "renamed_text",
    "more_rows",
    "restyled",
    "posts_twice",
    "drops_filled_value",
)


@dataclass
class World:
    """Everything that outlives a request."""

    database: Database
    clock: Clock
    truth: Truth
    accounts: Accounts
    faults: Faults
    journal: Journal


@dataclass
class Visit:
    """One request to a portal, with what the user sent and who it is."""

    skin: Skin
    request: Request
    values: dict[str, str]
    files: list[File]
    session: Session | None = None
    ended: str | None = None
    """Why there is no session any more: `idle`, `elsewhere`; nothing when there never was one."""
    fired: dict[str, Fault] = field(default_factory=dict)

    def fault(self, name: str) -> Fault | None:
        """The fault of that name, if it bites on this visit; asked twice, it bites once."""
        if name not in self.fired:
            who = [self.session.dealer, self.session.username] if self.session else []
            fault = self.skin.world.faults.take(self.skin.oem, name, [*self.values.values(), *who])
            if fault is None:
                return None
            self.fired[name] = fault
        return self.fired[name]

    def form_faults(self, *names: str) -> set[str]:
        """The faults among `names` that change how this page looks."""
        return {name for name in names if self.fault(name)}

    @property
    def who(self) -> Session:
        """The session of a visit that has one."""
        assert self.session is not None
        return self.session

    @property
    def shown(self) -> Session | None:
        """The session as the pages show it."""
        wrong = self.session is not None and self.session.stage == "in" and self.fault("wrong_dealer")
        return replace(self.session, dealer=WRONG_DEALER) if self.session and wrong else self.session

    @property
    def post_id(self) -> int | None:
        """The number of this POST among the submit posts."""
        return getattr(self.request.state, "post_id", None)


@dataclass(frozen=True)
class Outcome:
    """What became of a submit, for the portal to put on its confirmation."""

    shown: tuple[str, ...] = ()
    """The references that the page shows."""
    filings: tuple[Filing, ...] = ()
    draft: int | None = None
    duplicate_of: str | None = None
    later: bool = False
    lie: bool = False


Handler = Callable[[Visit], Awaitable[Response]]


class Skin:
    """A portal. Everything that others must know of it is said by the class; an object of it answers requests."""

    oem: ClassVar[str]
    """Names the portal, its paths, its cookie, and the folder `templates/<oem>` beside its module (or its base's)."""
    kinds: ClassVar[Mapping[str, tuple[str, ...]]]
    """The claim types that it takes, each with its business key: `dealer`, and fields called as in the claim."""
    telltales: ClassVar[Mapping[str, str]]
    """By claim type, a field outside of the business key that the history shows: by it another's claim is told."""
    submit_paths: ClassVar[tuple[str, ...]]
    """The only paths whose POST files something."""
    login_path: ClassVar[str]
    """Where user and password are sent."""
    uses_totp: ClassVar[bool] = False
    without: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """The faults that make no sense here, each with the reason, as the end of a sentence."""

    @staticmethod
    def username(dealer: str) -> str:
        """Whom the fault suite signs in as. Portals that know no dealer code show this name in its place."""
        return f"claims{dealer.lower()}"

    def __init__(self, world: World) -> None:
        self.world = world
        own = [one for one in type(self).__mro__ if issubclass(one, Skin) and one is not Skin]
        folders = [Path(inspect.getfile(one)).parent / "templates" / self.oem for one in own]
        loader = FileSystemLoader([*folders, HERE / "templates" / "plain"])
        self._pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
        self._pages.filters["us_time"] = lambda at: f"{at:%m/%d/%Y %I:%M %p}"

    def routes(self) -> list[BaseRoute]:
        """Its pages."""
        raise NotImplementedError

    @staticmethod
    def reference(number: int, year: int, kind: str) -> str:
        """A reference in the portal's format, another one for every number."""
        raise NotImplementedError

    @classmethod
    def claim(cls, kind: str, dealer: str, chance: random.Random, today: date) -> Made:
        """A claim that the portal takes, as the CRM has it; another one at every call."""
        raise NotImplementedError

    @classmethod
    def refused(cls, made: Made, today: date) -> Made | None:
        """The claim, changed so that the portal refuses it; None when it takes everything."""
        return None

    @property
    def cookie(self) -> str:
        """The name of the session cookie."""
        return f"{self.oem.upper()}_SESSION"

    def page(self, template: str, visit: Visit, status: int = 200, **context: Any) -> Response:
        """A page of the portal."""
        text = self._pages.get_template(template).render(session=visit.shown, now=self.world.clock.now(), **context)
        return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})

    def route(self, path: str, handler: Handler, method: str = "GET", *, needs_session: bool = True) -> Route:
        """A page or call at `/<oem><path>`, behind the faults that may bite anywhere and, mostly, behind the log-in."""

        async def endpoint(request: Request) -> Response:
            visit = await self._visit(request)
            if slow := visit.fault("slow"):
                await delay(request, slow.duration)
            if visit.fault("maintenance"):
                return self.maintenance(visit)
            if needs_session and (visit.session is None or visit.session.stage != "in"):
                return self.no_session(visit)
            if visit.session is not None:
                self.world.accounts.touch(visit.session)
            answer = await handler(visit)
            if visit.fault("closes_connections"):
                answer.headers["Connection"] = "close"
            return answer

        return Route(f"/{self.oem}{path}", endpoint, methods=[method])

    async def _visit(self, request: Request) -> Visit:
        values = {k: str(v) for k, v in request.query_params.items()}
        files: list[File] = []
        content_type = request.headers.get("content-type", "")
        if content_type.startswith("application/json"):
            received = json.loads(await request.body() or b"{}")
            values.update({k: _text(v) for k, v in received.items()} if isinstance(received, dict) else {})
        elif request.method == "POST":
            async with request.form() as form:
                for name, value in form.multi_items():
                    if not isinstance(value, UploadFile):
                        values[name] = value.replace("\r\n", "\n")
                    elif value.filename:
                        files.append(await read_file(name, value))
        visit = Visit(self, request, values, files)
        self._find_session(visit)
        return visit

    def _find_session(self, visit: Visit) -> None:
        accounts = self.world.accounts
        session = accounts.session(self.oem, visit.request.cookies.get(self.cookie))
        if session is None:
            return
        if session.stage == "ended":
            visit.ended = "elsewhere"
            accounts.end(session)
            return
        visit.session = session
        if session.stage == "in" and visit.fault("ended_elsewhere"):
            visit.ended, visit.session = "elsewhere", None
            accounts.end(session)
            return
        limit = IDLE_SECONDS
        if visit.request.url.path in self.submit_paths and visit.fault("expired_at_submit"):
            limit = -1.0
        if session.stage == "in" and (expired := visit.fault("session_expired")):
            limit = expired.seconds if expired.seconds is not None else -1.0
        if accounts.idle(session, limit):
            visit.ended = "idle"
            visit.session = None
            accounts.end(session)

    def enter(self, visit: Visit, session: Session, answer: Response) -> Response:
        """Gives the browser its session."""
        visit.session = session
        answer.set_cookie(self.cookie, session.token, path=f"/{self.oem}", httponly=True, samesite="lax")
        return answer

    def stage_after_password(self, visit: Visit, account: Account) -> str:
        """What comes after the right password."""
        if visit.fault("mfa"):
            return "mailed"
        if visit.fault("puzzle"):
            return "puzzle"
        return "code" if account.totp_secret else "in"

    def maintenance(self, visit: Visit) -> Response:
        """The portal is down on purpose."""
        return self.page("maintenance.html", visit, 503)

    def no_session(self, visit: Visit) -> Response:
        """The visitor has to log in, first or again."""
        raise NotImplementedError

    def server_error(self, visit: Visit) -> Response:
        """The portal broke."""
        return self.page("error.html", visit, 500)

    def submit(self, visit: Visit, new: NewFiling) -> Outcome | Response:
        """Files a claim that passed the portal's checks, through the faults that may bite at a submit.

        Runs without awaiting: two submits at the same time are filed one after the other.
        """
        truth = self.world.truth
        if visit.fault("error_before_filing"):
            return self.server_error(visit)
        if visit.fault("reset_before_filing"):
            return ResetConnection()
        if visit.fault("duplicate_refused"):
            return Outcome(duplicate_of=truth.unused_reference(self.oem, new.kind))
        if visit.fault("lying_success"):
            return Outcome(shown=(truth.unused_reference(self.oem, new.kind),), lie=True)
        if visit.fault("draft_number"):
            return Outcome(draft=truth.draft_number(self.oem))
        later = bool(visit.fault("stuck_in_process") or visit.fault("reference_later"))
        filings = truth.file(new, reference_later=later, copies=2 if visit.fault("double_processing") else 1)
        if visit.fault("error_after_filing"):
            return self.server_error(visit)
        if visit.fault("reset_after_filing"):
            return ResetConnection()
        if lost := visit.fault("lost_response"):
            return NoAnswer(lost.duration)
        if visit.fault("duplicate_answer"):
            return Outcome(duplicate_of=filings[0].reference or "", filings=tuple(filings))
        shown = [f.reference for f in filings[:1] if f.reference]
        if visit.fault("reference_missing"):
            shown = []
        if another := self._anothers_reference(visit):
            shown = [another]
        if visit.fault("two_references"):
            shown.append(truth.unused_reference(self.oem, new.kind))
        return Outcome(tuple(shown), tuple(filings), later=later)

    def history(self, visit: Visit) -> list[Filing]:
        """The dealer's filings as the history page shows them, newest first."""
        if visit.fault("history_empty"):
            return []
        filings = self.world.truth.find(self.oem, visit.who.dealer)
        if late := visit.fault("history_late"):
            now: datetime = self.world.clock.now()
            filings = [f for f in filings if (now - f.filed_at).total_seconds() >= late.duration]
        if another := self._anothers_reference(visit):
            filings = [replace(f, reference=another) for f in filings]
        if visit.fault("history_foreign"):
            filings = [replace(f, fields=f.fields | self._of_another(f)) for f in filings]
        if visit.fault("history_twice"):
            unused = self.world.truth.unused_reference
            filings = [one for f in filings for one in (f, replace(f, reference=unused(self.oem, f.kind)))]
        return filings

    def _anothers_reference(self, visit: Visit) -> str | None:
        if not visit.fault("reference_reused"):
            return None
        filings = self.world.truth.find(self.oem)
        return next((f.reference for f in filings if f.dealer != visit.who.dealer and f.reference), None)

    def _of_another(self, filing: Filing) -> dict[str, str]:
        name = self.telltales[filing.kind]
        value = filing.fields[name]
        return {name: value[:-1] + ("1" if value[-1:] != "1" else "2")}


def page_of(rows: list[Any], wanted: str) -> tuple[list[Any], int, int]:
    """The rows of a page of a list, the page's number and how many pages there are."""
    pages = max(1, -(-len(rows) // HISTORY_ROWS))
    number = min(max(1, int(wanted) if wanted.isdigit() else 1), pages)
    return rows[(number - 1) * HISTORY_ROWS : number * HISTORY_ROWS], number, pages


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
