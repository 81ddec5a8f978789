"""A plain portal: log in, one form, an answer, a list. `oem-submissions new-oem` starts a skin from it.

The form is on one page, or is a wizard: a page after the other, what was entered is kept in the session, and only the
last page files.

A portal that stands on it says its words and the boxes of its form; pages of its own go to `templates/<oem>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any, ClassVar

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from oem_submissions.simulator.accounts import Session
from oem_submissions.simulator.samples import Made
from oem_submissions.simulator.skin import FORM_FAULTS, Handler, Outcome, Skin, Visit, page_of
from oem_submissions.simulator.truth import NewFiling, Received
from oem_submissions.simulator.uploads import faults_of

ENDED = "Your session is over. Sign in again."
REFUSED_LOGIN = "User or password is wrong."
MAILED_CODE = "We sent a code to your phone."


@dataclass(frozen=True)
class Box:
    """One control of the form."""

    label: str
    name: str
    """Under which the form sends it."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Of a select: what is sent, and the text that shows."""
    lines: int = 1
    needed: bool = True


@dataclass(frozen=True)
class Words:
    """What the portal calls things."""

    new: str = "New claim"
    """The link to the form, and its heading."""
    files: str = "Attachments"
    send: str = "Submit claim"
    go_on: str = "Next"
    """Of a wizard's pages but the last."""
    done: str = "Claim received"
    """The heading of the confirmation."""
    number: str = "Claim number"
    filed: str = "My claims"
    """The link to the list, and its heading."""
    missing: str = "is missing"
    exists: str = "This claim exists already"
    home: str = "Home"
    sign_out: str = "Sign out"
    heading: str = ""
    """Of the list; none: as the link to it."""
    wanted: str = ""
    """The label of the list's filter; none: that of the box."""
    find: str = "Search"
    nothing: str = "Nothing was found."
    next: str = "Next page"


class PlainPortal(Skin):
    """Log-in, form, answer and list, with every fault of a plain form."""

    title: ClassVar[str]
    words: ClassVar[Words] = Words()
    boxes: ClassVar[Mapping[str, Box]]
    """The form's controls, by the claim's field."""
    listed: ClassVar[tuple[str, ...]]
    """The fields that the list shows, under their boxes' labels; it is filtered by the first."""
    refuses: ClassVar[tuple[str, Any, str]]
    """A field, a value of the claim that the portal refuses there, and what it says then."""
    steps: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """The fields of each page of a wizard; none: the form has one page. Its templates: `form.html`, `form_2.html` …"""
    takes_files: ClassVar[bool] = True
    paths: ClassVar[Mapping[str, str]] = {}
    """Pages that are elsewhere than below `/<oem>`, by the paths of `routes`."""
    login_names: ClassVar[tuple[str, str]] = ("user", "password")
    """Under which the log-in sends them."""
    columns: ClassVar[Mapping[str, str]] = {}
    """Headings of the list that are not those of the boxes; also of `reference`, `sent` and `decision`."""
    sent_format: ClassVar[str] = "%m/%d/%Y %I:%M %p"
    without: ClassVar[Mapping[str, str]] = {
        "puzzle": "its log-in asks none",
        "session_elsewhere": "the portal lets an account be signed in twice",
        "stuck_in_process": "the portal answers at once",
        "reference_later": "the portal gives its number at once",
    }

    @classmethod
    def refused(cls, made: Made, today: date) -> Made:
        """The claim with the value that the portal refuses."""
        name, value, _ = cls.refuses
        return made[0] | {name: value}, made[1]

    def routes(self) -> list[BaseRoute]:
        """Its pages."""
        leaves = [
            self.route(f"/claims/step/{step}", partial(self._leave, step - 1), "POST")
            for step in range(1, len(self.steps))
        ]
        return [
            *leaves,
            self.route("/", self._start, needs_session=False),
            self.route("/login", self._login, "POST", needs_session=False),
            self.route("/logout", self._logout),
            self.route("/home", self._home),
            self.route("/claims/new", self._new),
            self.route("/claims", self._submit, "POST"),
            self.route("/claims/list", self._list),
        ]

    @classmethod
    def at(cls, path: str) -> str:
        """Where a page of `routes` is."""
        return cls.paths.get(path, f"/{cls.oem}{path}")

    def route(self, path: str, handler: Handler, method: str = "GET", *, needs_session: bool = True) -> Route:
        """A page at `at(path)`."""
        usual = super().route(path, handler, method, needs_session=needs_session)
        return Route(self.at(path), usual.endpoint, methods=[method])

    def enter(self, visit: Visit, session: Session, answer: Response) -> Response:
        """Gives the browser its session, for all of the portal's paths."""
        answer = super().enter(visit, session, answer)
        if self.paths:
            answer.set_cookie(self.cookie, session.token, path="/", httponly=True, samesite="lax")
        return answer

    def page(self, template: str, visit: Visit, status: int = 200, **context: Any) -> Response:
        """A page, with what every page shows."""
        return super().page(template, visit, status, portal=self, words=self.words, **context)

    def no_session(self, visit: Visit) -> Response:
        """The log-in page."""
        return self._sign_in(visit, ENDED if visit.ended else "")

    def _sign_in(self, visit: Visit, said: str) -> Response:
        return self.page("login.html", visit, said=said)

    async def _start(self, visit: Visit) -> Response:
        return RedirectResponse(self.at("/home"), 303) if visit.session else self.no_session(visit)

    async def _login(self, visit: Visit) -> Response:
        user, password = (visit.values.get(name, "") for name in self.login_names)
        account = self.world.accounts.check(self.oem, user, password)
        if account is None or visit.fault("login_refused"):
            return self._sign_in(visit, REFUSED_LOGIN)
        if visit.fault("mfa"):
            return self._sign_in(visit, MAILED_CODE)
        home = RedirectResponse(self.at("/home"), 303)
        return self.enter(visit, self.world.accounts.open(account, "in"), home)

    async def _logout(self, visit: Visit) -> Response:
        self.world.accounts.end(visit.who)
        visit.session = None
        return self._sign_in(visit, "")

    async def _home(self, visit: Visit) -> Response:
        return self.page("home.html", visit)

    async def _new(self, visit: Visit) -> Response:
        visit.who.data["entered"], visit.who.data["files"] = {}, []
        self.world.accounts.save(visit.who)
        return self._form(visit, [])

    def _form(self, visit: Visit, errors: list[str], step: int = 0) -> Response:
        """A page of the form, with what was entered so far. The last page's faults are those of the submission."""
        last = max(len(self.steps) - 1, 0)
        submission = {"moved_button", "changed_action", "posts_twice"}
        names = [
            name for name in FORM_FAULTS
            if (name in submission and step == last) or (name not in submission and step == 0)
        ]  # fmt: skip
        entered = {self.boxes[name].name: value for name, value in visit.who.data.get("entered", {}).items()}
        template = self._pages.select_template([f"form_{step + 1}.html", "form.html"]).name
        assert template is not None
        return self.page(
            template, visit, errors=errors, values=entered | visit.values, faults=visit.form_faults(*names), step=step,
            boxes={name: self.boxes[name] for name in self._fields_of(step)}, last=step == last,
        )  # fmt: skip

    def _fields_of(self, step: int) -> tuple[str, ...]:
        return self.steps[step] if self.steps else tuple(self.boxes)

    def _sent(self, visit: Visit, step: int) -> dict[str, str]:
        return {name: visit.values.get(self.boxes[name].name, "").strip() for name in self._fields_of(step)}

    async def _leave(self, step: int, visit: Visit) -> Response:
        """From a page of the wizard to the next."""
        fields, data = self._sent(visit, step), visit.who.data
        if errors := self.errors(visit, fields):
            return self._form(visit, errors, step)
        data["entered"] = data.get("entered", {}) | fields
        data["files"] = data.get("files", []) + [file.received.as_json() for file in visit.files]
        self.world.accounts.save(visit.who)
        return self._form(visit, [], step + 1)

    async def _submit(self, visit: Visit) -> Response:
        last, data = max(len(self.steps) - 1, 0), visit.who.data
        entered = dict.fromkeys(self.boxes, "") | data.get("entered", {}) if self.steps else {}
        fields = entered | self._sent(visit, last)
        (kind,) = self.kinds
        kept = [Received(**one) for one in data.get("files", [])] if self.steps else []
        files = (*kept, *(file.received for file in visit.files))
        visit.values.update(entered)  # what was entered before is part of what is submitted: faults may match it
        new = NewFiling(self.oem, kind, visit.who.dealer, fields, files, visit.post_id)
        errors = self.errors(visit, fields)
        if not errors and (older := self.world.truth.existing(new)) and not visit.fault("no_duplicate_check"):
            errors = [f"{self.words.exists}: {older.reference}"]
        if errors:
            return self._form(visit, errors, last)
        outcome = self.submit(visit, new)
        return outcome if isinstance(outcome, Response) else self._answer(visit, new, outcome)

    def errors(self, visit: Visit, fields: Mapping[str, str]) -> list[str]:
        """What the portal has against the entries, a sentence each; a portal of its own has more.

        `fields` are those of one page of a wizard, or all.
        """
        missing = [self.boxes[name].label for name, value in fields.items() if self.boxes[name].needed and not value]
        errors = [f"{label} {self.words.missing}." for label in missing]
        errors += [f"The file's {what} is not taken: {name}" for what, name in faults_of(visit.files)]
        name, value, says = self.refuses
        return [*errors, says] if fields.get(name) == str(value) else errors

    def _answer(self, visit: Visit, new: NewFiling, outcome: Outcome) -> Response:
        if outcome.duplicate_of is not None:
            return self._form(visit, [f"{self.words.exists}: {outcome.duplicate_of}"], max(len(self.steps) - 1, 0))
        return self.page("done.html", visit, outcome=outcome, new=new)

    async def _list(self, visit: Visit) -> Response:
        if visit.fault("history_error"):
            return self.server_error(visit)
        first, wanted = self.listed[0], visit.values.get("wanted", "").strip()
        found = [filing for filing in self.history(visit) if wanted in ("", filing.fields[first])]
        rows, number, pages = page_of(found, visit.values.get("page", "1"))
        return self.page("list.html", visit, rows=rows, total=len(found), number=number, pages=pages, wanted=wanted)

    def column(self, name: str) -> str:
        """The heading of the list's column of a field."""
        return self.columns.get(name) or self.boxes[name].label

    def shown(self, name: str, value: str) -> str:
        """A field's value as the list shows it."""
        return self.boxes[name].options.get(value, value)


def number_of(prefix: str, number: int, year: int) -> str:
    """A plain reference: `PL-2026-004217`."""
    return f"{prefix}-{year}-{number:06d}"
