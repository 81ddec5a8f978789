"""Aurora Motors, "AuroraDealer.Net": a server-rendered portal of the early 2000s for warranty claims.

One long form, a native `confirm()`, draft buttons beside the real one, the number in a table beside others.
"""

from __future__ import annotations

import random
import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from oem_submissions.simulator import references, samples
from oem_submissions.simulator.accounts import Account, Session
from oem_submissions.simulator.samples import Made
from oem_submissions.simulator.skin import FORM_FAULTS, Outcome, Skin, Visit, page_of
from oem_submissions.simulator.truth import NewFiling
from oem_submissions.simulator.uploads import faults_of

COVERAGES = {
    "basic": "Basic (bumper to bumper)",
    "powertrain": "Powertrain",
    "campaign": "Campaign / recall",
    "goodwill": "Goodwill (policy)",
}
BASIC_MILES = 36_000
CLAIM_DAYS = 60
FIELD, FIELDS = 100, 4
"""Of the log-in's puzzle: pixels of a field's side, and how many there are."""
PUZZLE_WORD = "harbour"
RATES = (("Warranty", "01/01/2026", "132.00"), ("Campaign", "07/01/2026", "128.50"))
MORE_RATES = (("Hybrid and electric", "11/01/2026", "151.00"), ("Diagnosis", "11/15/2026", "140.00"))
REQUIRED = {
    "vin": "VIN",
    "repair_order": "Repair order number",
    "line": "Repair order line",
    "coverage": "Coverage",
    "odometer": "Odometer (miles)",
    "opened_on": "RO open date",
    "closed_on": "RO close date",
    "complaint": "Complaint",
    "cause": "Cause",
    "correction": "Correction",
    "causal_part": "Causal part number",
    "part_1_number": "Part 1 number",
    "part_1_quantity": "Part 1 quantity",
    "part_1_amount": "Part 1 amount",
    "labour_operation": "Labor operation code",
    "labour_hours": "Labor hours",
    "labour_amount": "Labor amount",
    "technician": "Technician ID",
}
FORM = (
    *REQUIRED,
    *(f"part_{n}_{what}" for n in (2, 3) for what in ("number", "quantity", "amount")),
    "your_reference",
    "claim_total",
)
_FILE_FAULTS = {
    "size": "AUR-301 File is larger than 5 MB: {}",
    "type": "AUR-302 File type is not accepted (JPG, PNG, PDF): {}",
    "name": "AUR-303 Two files have the same name: {}",
}


class Aurora(Skin):
    """Warranty claims. Every link into the claim pages carries the session's page token."""

    oem = "aurora"
    kinds = {"warranty": ("dealer", "repair_order", "line", "coverage")}
    telltales = {"warranty": "vin"}
    submit_paths = ("/aurora/claims",)
    login_path = "/aurora/login"
    reference = staticmethod(references.aurora)
    without = {
        "session_elsewhere": "the portal lets an account be signed in twice",
        "stuck_in_process": "the portal answers at once",
    }

    @classmethod
    def claim(cls, kind: str, dealer: str, chance: random.Random, today: date) -> Made:
        """A repair of few miles, which any coverage covers."""
        payload, files = samples.warranty(chance, dealer, today, chance.choice(samples.REPAIRS))
        return payload | {"odometer": chance.randint(1_200, BASIC_MILES)}, files

    @classmethod
    def refused(cls, made: Made, today: date) -> Made:
        """AUR-417."""
        return samples.too_old(made, today)

    def routes(self) -> list[BaseRoute]:
        """Its pages."""
        return [
            self.route("/", self._start, needs_session=False),
            self.route("/login", self._login, "POST", needs_session=False),
            self.route("/login/code", self._code, "POST", needs_session=False),
            self.route("/login/puzzle", self._puzzle, "POST", needs_session=False),
            self.route("/login/puzzle.svg", self._puzzle_picture, needs_session=False),
            self.route("/logout", self._logout),
            self.route("/home", self._home),
            self.route("/bulletins", self._bulletins),
            self.route("/claims/new", self._new),
            self.route("/claims", self._submit, "POST"),
            self.route("/drafts", self._draft, "POST"),
            self.route("/claims/history", self._history),
        ]

    def no_session(self, visit: Visit) -> Response:
        """The log-in page, HTTP 200, whatever was asked for."""
        expired = "Your session has expired. Please sign in again." if visit.ended else ""
        return self.page("login.html", visit, error="", notice=expired)

    async def _start(self, visit: Visit) -> Response:
        if visit.session and visit.session.stage == "in":
            return RedirectResponse("/aurora/home", 303)
        return self.no_session(visit)

    async def _login(self, visit: Visit) -> Response:
        user, password = visit.values.get("userid", "").strip(), visit.values.get("password", "")
        account = self.world.accounts.check(self.oem, user, password)
        if account is None or visit.fault("login_refused"):
            refusal = "AUR-001 The User ID or password is incorrect."
            return self.page("login.html", visit, error=refusal, notice="")
        stage = self.stage_after_password(visit, account)
        session = self.world.accounts.open(account, stage)
        if stage == "in":
            answer: Response = RedirectResponse("/aurora/home", 303)
        elif stage == "puzzle":
            answer = self._ask_puzzle(visit, found=False, error="")
        else:
            answer = self._ask_code(visit, account, stage, "")
        return self.enter(visit, session, answer)

    def _ask_puzzle(self, visit: Visit, *, found: bool, error: str) -> Response:
        return self.page("puzzle.html", visit, found=found, error=error)

    async def _puzzle(self, visit: Visit) -> Response:
        """First the red field is clicked, then the word typed that is shown instead of it."""
        session = visit.session
        if session is None or session.stage != "puzzle":
            return self.no_session(visit)
        if "field.x" in visit.values:
            session.data["found"] = int(visit.values["field.x"]) // FIELD == _red_field(session)
            self.world.accounts.save(session)
            error = "" if session.data["found"] else "AUR-003 That was not the red field."
            return self._ask_puzzle(visit, found=session.data["found"], error=error)
        if not session.data.get("found") or visit.values.get("word", "").strip() != PUZZLE_WORD:
            return self._ask_puzzle(visit, found=bool(session.data.get("found")), error="AUR-004 That is not the word.")
        session.stage = "in"
        self.world.accounts.save(session)
        return RedirectResponse("/aurora/home", 303)

    async def _puzzle_picture(self, visit: Visit) -> Response:
        session = visit.session
        if session is None or session.stage != "puzzle":
            return self.no_session(visit)
        colours = ["#1f6fb2"] * FIELDS
        colours[_red_field(session)] = "#d0021b"
        shapes = [
            f'<rect x="{FIELD * n}" width="{FIELD}" height="{FIELD}" fill="{colour}"/>'
            for n, colour in enumerate(colours)
        ]
        if session.data.get("found"):
            shapes = [f'<text x="20" y="62" font-size="42" font-family="serif" rotate="12">{PUZZLE_WORD}</text>']
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{FIELD * FIELDS}" height="{FIELD}">{"".join(shapes)}</svg>'
        )
        return Response(svg, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})

    def _ask_code(self, visit: Visit, account: Account, stage: str, error: str) -> Response:
        return self.page("code.html", visit, mailed=stage == "mailed", error=error)

    async def _code(self, visit: Visit) -> Response:
        session = visit.session
        account = self.world.accounts.find(self.oem, session.username) if session else None
        if session is None or account is None:
            return self.no_session(visit)
        code = visit.values.get("code", "")
        if session.stage != "code" or not self.world.accounts.code_is_right(account, code):
            return self._ask_code(visit, account, session.stage, "AUR-002 The code is not valid.")
        session.stage = "in"
        self.world.accounts.save(session)
        return RedirectResponse("/aurora/home", 303)

    async def _logout(self, visit: Visit) -> Response:
        self.world.accounts.end(visit.who)
        visit.session = None
        return self.page("login.html", visit, error="", notice="You have been signed out.")

    async def _home(self, visit: Visit) -> Response:
        return self.page("home.html", visit, recent=len(self.history(visit)))

    async def _bulletins(self, visit: Visit) -> Response:
        return self.page("bulletins.html", visit)

    def _token_is_wrong(self, visit: Visit) -> bool:
        return visit.values.get("_ssid") != visit.who.page_token

    async def _new(self, visit: Visit) -> Response:
        if self._token_is_wrong(visit):
            return self.page("forgery.html", visit)
        return self._form(visit, {}, [])

    def _form(self, visit: Visit, values: dict[str, str], errors: list[str], notice: str = "") -> Response:
        return self.page(
            "claim.html", visit, values=values, errors=errors, notice=notice,
            coverages=COVERAGES, faults=visit.form_faults(*FORM_FAULTS), had_files=bool(visit.files),
            rates=RATES + (MORE_RATES if visit.fault("more_rows") else ()),
        )  # fmt: skip

    async def _draft(self, visit: Visit) -> Response:
        if self._token_is_wrong(visit):
            return self.page("forgery.html", visit)
        number = self.world.truth.draft_number(self.oem)
        later = " It will be kept for later submission." if visit.values.get("later") else ""
        return self._form(visit, visit.values, [], f"Draft D-{number} saved. A draft is not a claim.{later}")

    async def _submit(self, visit: Visit) -> Response:
        if self._token_is_wrong(visit):
            return self.page("forgery.html", visit)
        errors = self._errors(visit)
        fields = {name: visit.values.get(name, "").strip() for name in FORM}
        fields |= {k: v for k, v in visit.values.items() if k == "tax_jurisdiction"}
        new = NewFiling(
            self.oem, "warranty", visit.who.dealer, fields, tuple(f.received for f in visit.files), visit.post_id
        )
        if not errors and (older := self.world.truth.existing(new)) and not visit.fault("no_duplicate_check"):
            errors = [_duplicate(older.reference)]
        if errors:
            return self._form(visit, visit.values, errors)
        outcome = self.submit(visit, new)
        if isinstance(outcome, Response):
            return outcome
        return self._answer(visit, new, outcome)

    def _answer(self, visit: Visit, new: NewFiling, outcome: Outcome) -> Response:
        if outcome.duplicate_of is not None:
            return self._form(visit, visit.values, [_duplicate(outcome.duplicate_of)])
        now = self.world.clock.now()
        return self.page(
            "confirmation.html", visit, claim=new, outcome=outcome, batch=f"WB-{now:%Y-%j}-{visit.post_id or 0:03d}",
        )  # fmt: skip

    def _errors(self, visit: Visit) -> list[str]:
        values = {k: v.strip() for k, v in visit.values.items()}
        required = dict(REQUIRED)
        if "tax_jurisdiction" in values or visit.fault("new_required_field"):
            required["tax_jurisdiction"] = "Tax jurisdiction"
        errors = [f"AUR-100 {label} is required" for name, label in required.items() if not values.get(name)]
        errors += [_FILE_FAULTS[what].format(name) for what, name in faults_of(visit.files)]
        return errors or self._wrong_values(values)

    def _wrong_values(self, values: dict[str, str]) -> list[str]:
        errors = []
        opened, closed = _us_date(values["opened_on"]), _us_date(values["closed_on"])
        if not re.fullmatch(r"[A-HJ-NPR-Z0-9]{17}", values["vin"]):
            errors.append("AUR-120 VIN is not valid")
        if values["coverage"] not in COVERAGES:
            errors.append("AUR-101 Coverage is not valid")
        errors += [
            f"AUR-101 {REQUIRED[name]} must be MM/DD/YYYY"
            for name, day in (("opened_on", opened), ("closed_on", closed))
            if day is None
        ]
        errors += [
            f"AUR-101 {REQUIRED[name]} must be a whole number"
            for name in ("line", "odometer", "part_1_quantity")
            if not values[name].isdigit()
        ]
        errors += [
            f"AUR-110 {REQUIRED[name]} must be in capital letters"
            for name in ("complaint", "cause", "correction")
            if values[name] != values[name].upper()
        ]
        amounts = [_money(values.get(n) or "0.00") for n in _AMOUNTS]
        if any(amount is None for amount in amounts) or _money(values["labour_hours"], places=1) is None:
            errors.append("AUR-102 Amounts must have two decimals and labor hours one")
        elif values.get("claim_total") != f"{sum(a for a in amounts if a is not None):.2f}":
            errors.append("AUR-150 Claim total does not match parts and labor")
        if values["odometer"].isdigit() and values["coverage"] == "basic" and int(values["odometer"]) > BASIC_MILES:
            errors.append("AUR-203 Odometer exceeds basic coverage")
        if closed and (self.world.clock.now().date() - closed).days > CLAIM_DAYS:
            errors.append("AUR-417 Repair order closed more than 60 days before submission")
        return errors

    async def _history(self, visit: Visit) -> Response:
        if self._token_is_wrong(visit):
            return self.page("forgery.html", visit)
        if visit.fault("history_error"):
            return self.server_error(visit)
        order, reference = (visit.values.get(name, "").strip() for name in ("ro", "ref"))
        found = [
            filing
            for filing in self.history(visit)
            if (not order or filing.fields["repair_order"].upper() == order.upper())
            and (not reference or filing.fields["your_reference"].upper() == reference.upper())
        ]
        rows, number, pages = page_of(found, visit.values.get("page", "1"))
        return self.page(
            "history.html", visit, rows=rows, total=len(found), number=number, pages=pages, ro=order, ref=reference,
            coverages=COVERAGES,
        )  # fmt: skip


_AMOUNTS = ("part_1_amount", "part_2_amount", "part_3_amount", "labour_amount")


def _duplicate(reference: str | None) -> str:
    return f"AUR-409 A claim for this repair order line already exists: {reference or 'number pending'}"


def _us_date(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%m/%d/%Y").date()  # noqa: DTZ007  a calendar day has no time zone
    except ValueError:
        return None


def _money(text: str, places: int = 2) -> Decimal | None:
    try:
        return Decimal(text) if re.fullmatch(rf"\d+\.\d{{{places}}}", text) else None
    except InvalidOperation:
        return None


def _red_field(session: Session) -> int:
    return int(session.token, 16) % FIELDS
