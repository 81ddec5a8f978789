"""Dakota Trucks' parts portal, simulated: server-rendered, one form, a table of returns."""

from __future__ import annotations

import random
from datetime import date

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from oem_submissions.simulator.samples import Made, file_of
from oem_submissions.simulator.seed_media import photo
from oem_submissions.simulator.skin import FORM_FAULTS, Skin, Visit, page_of
from oem_submissions.simulator.truth import NewFiling

FIELDS = {"invoice": "Invoice number", "part": "Part number", "quantity": "Quantity", "reason": "Reason"}
REASONS = {"wrong": "Wrong part shipped", "damaged": "Damaged in transit", "core": "Core return"}


class DakotaPortal(Skin):
    """Parts returns."""

    oem = "dakota"
    kinds = {"parts_return": ("dealer", "invoice", "part")}
    telltales = {"parts_return": "quantity"}
    submit_paths = ("/dakota/returns",)
    login_path = "/dakota/login"
    without = {
        "puzzle": "its log-in asks none",
        "session_elsewhere": "the portal lets an account be signed in twice",
        "stuck_in_process": "the portal answers at once",
        "swapped_buttons": "its form has one button",
        "renamed_text": "its form says nothing but labels",
        "more_rows": "its form lists nothing",
    }

    @staticmethod
    def reference(number: int, year: int, kind: str) -> str:
        return f"RMA-{year}-{number:06d}"

    @classmethod
    def claim(cls, kind: str, dealer: str, chance: random.Random, today: date) -> Made:
        part = f"DK-{chance.randint(10_000, 99_999)}-{chance.choice('ABC')}"
        payload = {
            "claim_type": kind,
            "dealer_code": dealer,
            "invoice": f"I{chance.randint(100_000, 999_999)}",
            "part": part,
            "quantity": chance.randint(1, 12),
            "reason": chance.choice(sorted(REASONS)),
        }
        return payload, [file_of("part.jpg", "photo", photo("JPEG", part, chance.random()))]

    @classmethod
    def refused(cls, made: Made, today: date) -> Made:
        return made[0] | {"quantity": 999}, made[1]

    def routes(self) -> list[BaseRoute]:
        return [
            self.route("/", self._start, needs_session=False),
            self.route("/login", self._login, "POST", needs_session=False),
            self.route("/logout", self._logout),
            self.route("/home", self._home),
            self.route("/returns/new", self._new),
            self.route("/returns", self._submit, "POST"),
            self.route("/returns/list", self._list),
        ]

    def no_session(self, visit: Visit) -> Response:
        return self._sign_in(visit, "Your session is over. Sign in again." if visit.ended else "")

    def _sign_in(self, visit: Visit, said: str) -> Response:
        return self.page("login.html", visit, said=said)

    async def _start(self, visit: Visit) -> Response:
        return RedirectResponse("/dakota/home", 303) if visit.session else self.no_session(visit)

    async def _login(self, visit: Visit) -> Response:
        account = self.world.accounts.check(self.oem, visit.values.get("user", ""), visit.values.get("password", ""))
        if account is None or visit.fault("login_refused"):
            return self._sign_in(visit, "User or password is wrong.")
        if visit.fault("mfa"):
            return self._sign_in(visit, "We sent a code to your phone.")
        return self.enter(visit, self.world.accounts.open(account, "in"), RedirectResponse("/dakota/home", 303))

    async def _logout(self, visit: Visit) -> Response:
        self.world.accounts.end(visit.who)
        visit.session = None
        return self._sign_in(visit, "")

    async def _home(self, visit: Visit) -> Response:
        return self.page("home.html", visit)

    async def _new(self, visit: Visit) -> Response:
        return self._form(visit, [])

    def _form(self, visit: Visit, errors: list[str]) -> Response:
        faults = visit.form_faults(*FORM_FAULTS)
        return self.page("form.html", visit, errors=errors, values=visit.values, reasons=REASONS, faults=faults)

    async def _submit(self, visit: Visit) -> Response:
        fields = {name: visit.values.get(name, "").strip() for name in FIELDS}
        files = tuple(file.received for file in visit.files)
        new = NewFiling(self.oem, "parts_return", visit.who.dealer, fields, files, visit.post_id)
        errors = [f"{label} is missing." for name, label in FIELDS.items() if not fields[name]]
        if fields["quantity"] == "999":
            errors.append("The quantity is more than was invoiced.")
        if not errors and (older := self.world.truth.existing(new)) and not visit.fault("no_duplicate_check"):
            errors.append(f"This part was returned already: {older.reference}")
        if errors:
            return self._form(visit, errors)
        outcome = self.submit(visit, new)
        if isinstance(outcome, Response):
            return outcome
        if outcome.duplicate_of is not None:
            return self._form(visit, [f"This part was returned already: {outcome.duplicate_of}"])
        return self.page("done.html", visit, outcome=outcome, new=new)

    async def _list(self, visit: Visit) -> Response:
        if visit.fault("history_error"):
            return self.server_error(visit)
        wanted = visit.values.get("invoice", "").strip()
        found = [filing for filing in self.history(visit) if not wanted or filing.fields["invoice"] == wanted]
        rows, number, pages = page_of(found, visit.values.get("page", "1"))
        return self.page("list.html", visit, rows=rows, number=number, pages=pages, wanted=wanted)
