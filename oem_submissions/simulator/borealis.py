"""Borealis Vehicles, "Borealis MarketFund": a corporate portal of the 2010s for co-op advertising claims.

A wizard of four steps inside an iframe, Validate beside Next, uploads by XHR, and a popup that alone shows the number.
"""

from __future__ import annotations

import random
import re
import secrets
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute

from oem_submissions.simulator import references, samples
from oem_submissions.simulator.accounts import Account, Session
from oem_submissions.simulator.samples import Made
from oem_submissions.simulator.skin import Outcome, Skin, Visit, page_of
from oem_submissions.simulator.truth import NewFiling, Received
from oem_submissions.simulator.uploads import faults_of

STEPS = ("fund", "vendor", "documents", "review")
STEP_NAMES = {
    "fund": "Fund & activity",
    "vendor": "Vendor & cost",
    "documents": "Documents",
    "review": "Review",
}
FUNDS = ("2023", "2024", "2025", "2026")
OPEN_SINCE = 2026
ACTIVITIES = {"digital": "Digital advertising", "print": "Print advertising", "radio": "Radio", "event": "Event"}
FIELDS = {
    "fund": {
        "fund": "Fund",
        "activity": "Activity type",
        "activity_date": "Activity date",
        "pre_approval": "Pre-approval number",
    },
    "vendor": {
        "vendor": "Vendor name",
        "vendor_invoice": "Vendor invoice number",
        "cost": "Total cost (USD)",
        "claimed_percent": "Claimed percentage",
    },
    "documents": {},
    "review": {},
}
MOST_DOCUMENTS = 4
_FILE_FAULTS = {
    "size": "BOR-31 File is larger than 5 MB: {}",
    "type": "BOR-32 File type is not accepted (PDF, JPG, PNG): {}",
    "name": "BOR-33 A document with this name is already attached: {}",
}
_INSIDE = ("/borealis/wizard/", "/borealis/claims/submit")


class Borealis(Skin):
    """Co-op claims. What was entered lives in the session, and dies with it."""

    oem = "borealis"
    kinds = {"coop": ("dealer", "fund", "vendor", "vendor_invoice", "activity")}
    telltales = {"coop": "claimed_amount"}
    submit_paths = ("/borealis/claims/submit",)
    login_path = "/borealis/login"
    uses_totp = True
    reference = staticmethod(references.borealis)
    without = {
        "puzzle": "its log-in asks none",
        "no_duplicate_check": "the portal never checks for duplicates",
        "more_rows": "its form lists nothing but the claim's own documents",
        "stuck_in_process": "the portal answers at once",
    }

    @classmethod
    def claim(cls, kind: str, dealer: str, chance: random.Random, today: date) -> Made:
        """An advertisement of the open fund."""
        return samples.coop(chance, dealer, today, *chance.choice(samples.VENDORS))

    @classmethod
    def refused(cls, made: Made, today: date) -> Made:
        """BOR-21."""
        return samples.closed_fund(made)

    def routes(self) -> list[BaseRoute]:
        """Its pages."""
        steps = [self.route(f"/wizard/{step}", self._step) for step in STEPS]
        leaves = [self.route(f"/wizard/{step}", self._leave, "POST") for step in STEPS]
        return [
            *steps,
            *leaves,
            self.route("/", self._start, needs_session=False),
            self.route("/login", self._login, "POST", needs_session=False),
            self.route("/login/code", self._code, "POST", needs_session=False),
            self.route("/login/continue", self._continue, "POST", needs_session=False),
            self.route("/logout", self._logout),
            self.route("/dashboard", self._dashboard),
            self.route("/balances", self._balances),
            self.route("/claims/new", self._new),
            self.route("/documents", self._upload, "POST"),
            self.route("/documents/remove", self._remove, "POST"),
            self.route("/claims/submit", self._submit, "POST"),
            self.route("/claims", self._history),
        ]

    def no_session(self, visit: Visit) -> Response:
        """The log-in page; inside the frame or the popup a page that says so; for an upload, JSON."""
        reasons = {
            "idle": "Your session has timed out.",
            "elsewhere": "Your session was ended because you signed in elsewhere.",
            None: "Please sign in.",
        }
        path = visit.request.url.path
        if path.startswith("/borealis/documents"):
            return JSONResponse({"error": f"BOR-03 {reasons[visit.ended]}"}, 401)
        if path.startswith(_INSIDE):
            return self.page("ended.html", visit, reason=reasons[visit.ended])
        return self.page("login.html", visit, error="", notice=reasons[visit.ended] if visit.ended else "")

    async def _start(self, visit: Visit) -> Response:
        if visit.session and visit.session.stage == "in":
            return RedirectResponse("/borealis/dashboard", 303)
        return self.no_session(visit)

    async def _login(self, visit: Visit) -> Response:
        user, password = visit.values.get("username", "").strip(), visit.values.get("password", "")
        account = self.world.accounts.check(self.oem, user, password)
        if account is None or visit.fault("login_refused"):
            return self.page("login.html", visit, error="BOR-01 User name or password is not correct.", notice="")
        stage = self.stage_after_password(visit, account)
        session = self.world.accounts.open(account, "password" if stage == "in" else stage)
        if stage == "in":
            return self.enter(visit, session, self._welcome(visit, account, session))
        return self.enter(visit, session, self._ask_code(visit, stage, ""))

    def _ask_code(self, visit: Visit, stage: str, error: str) -> Response:
        return self.page("code.html", visit, mailed=stage == "mailed", error=error)

    async def _code(self, visit: Visit) -> Response:
        session = visit.session
        account = self.world.accounts.find(self.oem, session.username) if session else None
        if session is None or account is None:
            return self.no_session(visit)
        code = visit.values.get("code", "")
        if session.stage != "code" or not self.world.accounts.code_is_right(account, code):
            return self._ask_code(visit, session.stage, "BOR-02 The verification code is not valid.")
        return self._welcome(visit, account, session)

    def _welcome(self, visit: Visit, account: Account, session: Session) -> Response:
        elsewhere = self.world.accounts.others(account, session.token) or visit.fault("session_elsewhere")
        session.stage = "elsewhere" if elsewhere else "in"
        self.world.accounts.save(session)
        if elsewhere:
            return self.page("elsewhere.html", visit, username=account.username)
        return RedirectResponse("/borealis/dashboard", 303)

    async def _continue(self, visit: Visit) -> Response:
        session = visit.session
        account = self.world.accounts.find(self.oem, session.username) if session else None
        if session is None or account is None or session.stage != "elsewhere":
            return self.no_session(visit)
        for other in self.world.accounts.others(account, session.token):
            other.stage = "ended"
            self.world.accounts.save(other)
        session.stage = "in"
        self.world.accounts.save(session)
        return RedirectResponse("/borealis/dashboard", 303)

    async def _logout(self, visit: Visit) -> Response:
        self.world.accounts.end(visit.who)
        visit.session = None
        return self.page("login.html", visit, error="", notice="You are signed out.")

    async def _dashboard(self, visit: Visit) -> Response:
        return self.page("dashboard.html", visit, claims=len(self.history(visit)))

    async def _balances(self, visit: Visit) -> Response:
        return self.page("balances.html", visit)

    async def _new(self, visit: Visit) -> Response:
        draft = self.world.truth.draft_number(self.oem)
        visit.who.data["wizard"] = {"draft": f"T-{draft}", "fields": {}, "documents": []}
        self.world.accounts.save(visit.who)
        return self.page("claim.html", visit)

    def _wizard(self, visit: Visit) -> dict[str, Any]:
        wizard: dict[str, Any] = visit.who.data.setdefault("wizard", {"draft": "T-0", "fields": {}, "documents": []})
        return wizard

    async def _step(self, visit: Visit) -> Response:
        return self._show(visit, _step_of(visit), self._wizard(visit)["fields"], [], "")

    def _show(self, visit: Visit, step: str, values: dict[str, str], errors: list[str], notice: str) -> Response:
        wizard = self._wizard(visit)
        wanted = {
            "fund": ("renamed_text",),
            "vendor": ("renamed_label", "new_required_field", "new_hidden_input", "drops_filled_value", "restyled"),
            "review": ("moved_button", "posts_twice", "changed_action", "swapped_buttons"),
        }
        return self.page(
            f"{step}.html", visit, wizard=wizard, values=values, errors=errors, notice=notice, step=step,
            steps=STEP_NAMES, funds=FUNDS, activities=ACTIVITIES, claimed=_claimed(wizard["fields"]),
            faults=visit.form_faults(*wanted.get(step, ())),
        )  # fmt: skip

    async def _leave(self, visit: Visit) -> Response:
        step, action, wizard = _step_of(visit), visit.values.get("action", ""), self._wizard(visit)
        position = STEPS.index(step)
        if action == "back":
            return RedirectResponse(f"/borealis/wizard/{STEPS[max(0, position - 1)]}", 303)
        own = {n: visit.values.get(n, "").strip() for n in (*FIELDS[step], "campaign_code") if n in visit.values}
        errors = self._errors(step, {**dict.fromkeys(FIELDS[step], ""), **own}, wizard["documents"])
        if action != "next" or errors:
            valid = "No errors found. Validation does not save or submit your claim." if not errors else ""
            return self._show(visit, step, {**wizard["fields"], **own}, errors, valid)
        wizard["fields"].update(own)
        self.world.accounts.save(visit.who)
        return RedirectResponse(f"/borealis/wizard/{STEPS[min(position + 1, len(STEPS) - 1)]}", 303)

    async def _upload(self, visit: Visit) -> Response:
        wizard = self._wizard(visit)
        taken = {document["name"] for document in wizard["documents"]}
        faults = [_FILE_FAULTS[what].format(name) for what, name in faults_of(visit.files, taken)]
        if not visit.files:
            faults = ["BOR-34 At least one document is required"]
        if len(wizard["documents"]) + len(visit.files) > MOST_DOCUMENTS:
            faults.append("BOR-35 At most four documents may be attached")
        if faults:
            return JSONResponse({"error": faults[0]}, 422)
        for file in visit.files:
            token = "doc_" + secrets.token_hex(8)
            wizard["documents"].append({"token": token, **file.received.as_json()})
        self.world.accounts.save(visit.who)
        return JSONResponse({"documents": [{k: d[k] for k in ("token", "name", "size")} for d in wizard["documents"]]})

    async def _remove(self, visit: Visit) -> Response:
        wizard = self._wizard(visit)
        wizard["documents"] = [d for d in wizard["documents"] if d["token"] != visit.values.get("token")]
        self.world.accounts.save(visit.who)
        return JSONResponse({"documents": [{k: d[k] for k in ("token", "name", "size")} for d in wizard["documents"]]})

    async def _submit(self, visit: Visit) -> Response:
        wizard = self._wizard(visit)
        fields = {name: wizard["fields"].get(name, "") for step in STEPS for name in FIELDS[step]}
        if visit.values.get("draft") != wizard["draft"]:
            return self._popup(visit, None, Outcome(), ["BOR-90 This claim form is no longer active"])
        errors = [e for step in STEPS for e in self._errors(step, fields, wizard["documents"])]
        if visit.values.get("certify") != "yes":
            errors.append("BOR-40 The certification must be accepted")
        new = NewFiling(
            self.oem, "coop", visit.who.dealer,
            {**fields, **{k: v for k, v in wizard["fields"].items() if k == "campaign_code"},
             "claimed_amount": _claimed(fields)},
            tuple(Received(**{k: v for k, v in d.items() if k != "token"}) for d in wizard["documents"]), visit.post_id,
        )  # fmt: skip
        if errors:
            return self._popup(visit, new, Outcome(), errors)
        visit.values.update(fields)  # the wizard's earlier steps are part of what is submitted: faults may match them
        outcome = self.submit(visit, new)
        if isinstance(outcome, Response):
            return outcome
        if outcome.duplicate_of is not None:
            number = outcome.duplicate_of or "number pending"
            refusal = f"BOR-409 A claim for this vendor invoice was already received: transaction {number}"
            return self._popup(visit, new, Outcome(), [refusal])
        return self._popup(visit, new, outcome, [])

    def _popup(self, visit: Visit, new: NewFiling | None, outcome: Outcome, errors: list[str]) -> Response:
        return self.page("popup.html", visit, claim=new, outcome=outcome, errors=errors, activities=ACTIVITIES)

    def _errors(self, step: str, values: dict[str, str], documents: list[dict[str, Any]]) -> list[str]:
        missing = [f"BOR-10 {label} is required" for name, label in FIELDS[step].items() if not values.get(name)]
        if values.get("campaign_code") == "" and step == "vendor":
            missing.append("BOR-10 Campaign code is required")
        if missing:
            return missing
        match step:
            case "fund":
                return self._fund_errors(values)
            case "vendor":
                return _vendor_errors(values)
            case "documents" if not documents:
                return ["BOR-34 At least one document is required"]
            case _:
                return []

    def _fund_errors(self, values: dict[str, str]) -> list[str]:
        errors = []
        if values["fund"] not in FUNDS:
            errors.append("BOR-20 Fund is not known")
        elif int(values["fund"]) < OPEN_SINCE:
            errors.append(f"BOR-21 Fund {values['fund']} is closed")
        day = _day(values["activity_date"])
        if day is None:
            errors.append("BOR-11 Activity date must be YYYY/MM/DD")
        elif day > self.world.clock.now().date():
            errors.append("BOR-12 Activity date is in the future")
        if not re.fullmatch(r"PA-\d{5}", values["pre_approval"]):
            errors.append("BOR-14 Pre-approval number must be PA- and five digits")
        return errors

    async def _history(self, visit: Visit) -> Response:
        if visit.fault("history_error"):
            return self.server_error(visit)
        invoice, start = (visit.values.get(name, "").strip() for name in ("invoice", "from"))
        found = [f for f in self.history(visit) if not invoice or f.fields["vendor_invoice"].upper() == invoice.upper()]
        if (day := _day(start)) is not None:
            found = [f for f in found if f.filed_at.date() >= day]
        rows, number, pages = page_of(found, visit.values.get("page", "1"))
        return self.page(
            "history.html", visit, rows=rows, total=len(found), number=number, pages=pages, invoice=invoice,
            start=start, activities=ACTIVITIES,
        )  # fmt: skip


def _step_of(visit: Visit) -> str:
    return visit.request.url.path.rpartition("/")[2]


def _vendor_errors(values: dict[str, str]) -> list[str]:
    errors = []
    if not re.fullmatch(r"\d+\.\d{2}", values["cost"]):
        errors.append("BOR-13 Total cost must have two decimals and no separators")
    if not values["claimed_percent"].isdigit() or not 1 <= int(values["claimed_percent"]) <= 100:
        errors.append("BOR-15 Claimed percentage must be between 1 and 100")
    return errors


def _claimed(fields: dict[str, str]) -> str:
    if not {"cost", "claimed_percent"} <= set(fields) or _vendor_errors(fields):
        return ""
    return (
        f"{(Decimal(fields['cost']) * int(fields['claimed_percent']) / 100).quantize(Decimal('0.01'), ROUND_HALF_UP)}"
    )


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y/%m/%d").date()  # noqa: DTZ007  a calendar day has no time zone
    except ValueError:
        return None
