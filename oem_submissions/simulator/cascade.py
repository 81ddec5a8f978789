"""Cascade Automotive, "Cascade Connect": a single-page app of today for delivery reports and incentive claims.

Everything is JSON over XHR: a submission gives a ticket to poll; the reference comes at its end, or overnight.
"""

from __future__ import annotations

import json
import random
import re
import secrets
from datetime import date, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from oem_submissions.simulator import references, samples
from oem_submissions.simulator.samples import Made
from oem_submissions.simulator.skin import FORM_FAULTS, HERE, Outcome, Skin, Visit, page_of
from oem_submissions.simulator.truth import Filing, NewFiling, Received
from oem_submissions.simulator.uploads import faults_of

SALE_TYPES = {"retail": "Retail purchase", "lease": "Lease", "fleet": "Fleet"}
FIELDS = {
    "delivery_report": {
        "vin": "VIN",
        "sale_sequence": "Sale sequence",
        "sale_date": "Sale date",
        "sale_type": "Sale type",
        "salesperson": "Salesperson ID",
        "customer_name": "Customer name",
        "lender": "Lender",
    },
    "incentive": {
        "vin": "VIN",
        "programme": "Program code",
        "sale_date": "Sale date",
        "customer_name": "Customer name",
        "amount": "Amount (USD)",
    },
}
OPTIONAL = {"lender"}
STATES = {"delivery_report": ("Retailed", "RDR Rejected"), "incentive": ("Accepted", "Rejected")}
IN_PROCESS = "In process"
POLLS_IN_PROCESS = 2
_FILE_FAULTS = {
    "size": "CAS-51 File is larger than 5 MB: {}",
    "type": "CAS-52 File type is not accepted (PDF, JPG, PNG): {}",
    "name": "CAS-53 Two files have the same name: {}",
}


class Cascade(Skin):
    """Delivery reports and incentive claims."""

    oem = "cascade"
    kinds = {"delivery_report": ("vin", "sale_sequence"), "incentive": ("vin", "programme")}
    telltales = {"delivery_report": "sale_date", "incentive": "sale_date"}
    submit_paths = ("/cascade/api/submissions",)
    login_path = "/cascade/api/login"
    reference = staticmethod(references.cascade)
    without = {
        "puzzle": "its log-in asks none",
        "session_elsewhere": "the portal lets an account be signed in twice",
        "no_duplicate_check": "the portal never checks for duplicates",
        "more_rows": "its form lists nothing",
        "changed_action": "the form has no address: a script sends what is in it",
    }

    @classmethod
    def claim(cls, kind: str, dealer: str, chance: random.Random, today: date) -> Made:
        """A sale, the first or a later one of its vehicle; or the incentive for it."""
        report = samples.delivery(chance, dealer, chance.choice(samples.CUSTOMERS), today)
        if kind == "incentive":
            return samples.incentive(chance, report)
        return report | {"sale_sequence": chance.randint(1, 3)}, []

    @classmethod
    def refused(cls, made: Made, today: date) -> Made:
        """CAS-31: a VIN of another dealer's."""
        vin = samples.vin_of(made[0]["vin"][:8], int("9" + made[0]["vin"][-5:]))
        return made[0] | {"vin": vin}, made[1]

    def routes(self) -> list[BaseRoute]:
        """The page, its script and style, and the calls that the script makes."""
        return [
            self.route("/", self._shell, needs_session=False),
            Route("/cascade/app.js", _static("app.js", "text/javascript")),
            Route("/cascade/app.css", _static("app.css", "text/css")),
            self.route("/api/session", self._session),
            self.route("/api/login", self._login, "POST", needs_session=False),
            self.route("/api/login/code", self._code, "POST", needs_session=False),
            self.route("/api/logout", self._logout, "POST"),
            self.route("/api/form", self._form),
            self.route("/api/checks", self._check, "POST"),
            self.route("/api/saved", self._save, "POST"),
            self.route("/api/files", self._upload, "POST"),
            self.route("/api/submissions", self._submit, "POST"),
            self.route("/api/submissions/{ticket}", self._ticket),
            self.route("/api/history", self._history),
        ]

    def no_session(self, visit: Visit) -> Response:
        """JSON 401: the script then shows the log-in form."""
        return JSONResponse({"error": "CAS-03 Your session has expired." if visit.ended else ""}, 401)

    def server_error(self, visit: Visit) -> Response:
        """JSON 500."""
        return JSONResponse({"error": "CAS-99 Unexpected error, trace 7f3a-0b21"}, 500)

    async def _shell(self, visit: Visit) -> Response:
        return self.page("index.html", visit)

    async def _session(self, visit: Visit) -> Response:
        who = visit.shown or visit.who
        return JSONResponse({"dealer": who.dealer, "dealer_name": who.dealer_name, "username": who.username})

    async def _login(self, visit: Visit) -> Response:
        user, password = visit.values.get("username", "").strip(), visit.values.get("password", "")
        account = self.world.accounts.check(self.oem, user, password)
        if account is None or visit.fault("login_refused"):
            return JSONResponse({"error": "CAS-01 Username or password is wrong."}, 401)
        stage = self.stage_after_password(visit, account)
        session = self.world.accounts.open(account, stage)
        return self.enter(visit, session, JSONResponse({"next": stage}))

    async def _code(self, visit: Visit) -> Response:
        session = visit.session
        account = self.world.accounts.find(self.oem, session.username) if session else None
        if session is None or account is None:
            return self.no_session(visit)
        if session.stage != "code" or not self.world.accounts.code_is_right(account, visit.values.get("code", "")):
            return JSONResponse({"error": "CAS-02 The code is not valid."}, 401)
        session.stage = "in"
        self.world.accounts.save(session)
        return JSONResponse({"next": "in"})

    async def _logout(self, visit: Visit) -> Response:
        self.world.accounts.end(visit.who)
        return JSONResponse({})

    async def _form(self, visit: Visit) -> Response:
        kind = visit.values.get("kind", "delivery_report")
        quirks = sorted(visit.form_faults(*FORM_FAULTS))
        return JSONResponse({"fields": FIELDS.get(kind, {}), "sale_types": SALE_TYPES, "quirks": quirks})

    async def _check(self, visit: Visit) -> Response:
        known = re.fullmatch(r"[A-HJ-NPR-Z0-9]{17}", visit.values.get("vin", ""))
        return JSONResponse({"message": "VIN found in vehicle master" if known else "VIN not found"})

    async def _save(self, visit: Visit) -> Response:
        return JSONResponse({"draft": f"SV-{self.world.truth.draft_number(self.oem)}"})

    async def _upload(self, visit: Visit) -> Response:
        faults = [_FILE_FAULTS[what].format(name) for what, name in faults_of(visit.files)]
        if faults or not visit.files:
            return JSONResponse({"errors": faults or ["CAS-50 No file arrived"]}, 422)
        token, file = "file_" + secrets.token_hex(8), visit.files[0].received
        self.world.database.write(
            "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?)",
            token, visit.who.token, file.name, file.size, file.sha256, file.media_type,
        )  # fmt: skip
        return JSONResponse({"token": token, "name": file.name, "size": file.size})

    async def _submit(self, visit: Visit) -> Response:
        values = {k: v.strip() for k, v in visit.values.items()}
        kind = values.get("kind", "")
        if kind not in FIELDS:
            return JSONResponse({"errors": ["CAS-05 Unknown kind of submission"]}, 422)
        if errors := _errors(kind, values):
            return JSONResponse({"errors": errors}, 422)
        fields = {n: values.get(n, "") for n in (*FIELDS[kind], "mileage") if n in FIELDS[kind] or n in values}
        new = NewFiling(self.oem, kind, visit.who.dealer, fields, self._files(visit), visit.post_id)
        if reason := self._rejection(values):
            return self._accepted(new, {"state": STATES[kind][1], "reason": reason})
        outcome = self.submit(visit, new)
        if isinstance(outcome, Response):
            return outcome
        if outcome.lie:
            return JSONResponse({"state": STATES[kind][0], "reference": outcome.shown[0]}, 500)
        if outcome.duplicate_of is not None:
            number = outcome.duplicate_of or "reference pending"
            return JSONResponse({"errors": [f"CAS-09 Already reported: {number}"]}, 409)
        return self._accepted(new, _ending(new, outcome, stuck="stuck_in_process" in visit.fired))

    def _accepted(self, new: NewFiling, ending: dict[str, Any]) -> Response:
        ticket = secrets.token_hex(8)
        work = f"WT-{self.world.truth.draft_number(self.oem) + 412_000}"
        self.world.database.write(
            "INSERT INTO tickets VALUES (?, ?, ?, ?, ?, 0, ?)",
            ticket, new.dealer, new.kind, new.fields["vin"], self.world.clock.now().isoformat(),
            json.dumps({**ending, "work_ticket": work, "fields": new.fields}),
        )  # fmt: skip
        return JSONResponse({"ticket": ticket, "work_ticket": work, "state": "in process"}, 202)

    def _files(self, visit: Visit) -> tuple[Received, ...]:
        tokens = json.loads(visit.values.get("files") or "[]")
        rows = [
            self.world.database.row("SELECT * FROM uploads WHERE token = ? AND session = ?", t, visit.who.token)
            for t in tokens
        ]
        return tuple(Received(r["name"], r["size"], r["sha256"], r["media_type"]) for r in rows if r)

    def _rejection(self, values: dict[str, str]) -> str | None:
        if values["vin"][-6] == "9":
            return "CAS-31 VIN not allocated to this dealer"
        sold = _day(values["sale_date"])
        if sold and sold > self.world.clock.now().date():
            return "CAS-40 Sale date in the future"
        return None

    async def _ticket(self, visit: Visit) -> Response:
        wanted = (visit.request.path_params["ticket"], visit.who.dealer)
        self.world.database.write("UPDATE tickets SET polls = polls + 1 WHERE ticket = ? AND dealer = ?", *wanted)
        row = self.world.database.row("SELECT * FROM tickets WHERE ticket = ? AND dealer = ?", *wanted)
        if row is None:
            return JSONResponse({"error": "CAS-06 Unknown ticket"}, 404)
        ending = json.loads(row["answer"])
        work = {"work_ticket": ending["work_ticket"], "vin": row["vin"]}
        filing = self.world.truth.by_id(ending["filing"]) if ending.get("filing") else None
        stuck = ending.get("stuck") and filing is not None and filing.reference is None
        if row["polls"] <= POLLS_IN_PROCESS or stuck:
            return JSONResponse({"state": "in process", **work})
        shown = ("state", "references", "draft", "reason", "later")
        return JSONResponse({**work, **{k: ending[k] for k in shown if k in ending}})

    async def _history(self, visit: Visit) -> Response:
        if visit.fault("history_error"):
            return self.server_error(visit)
        vin = visit.values.get("vin", "").strip().upper()
        filings = self.history(visit)
        rows = [_row(filing) for filing in filings]
        if "history_empty" not in visit.fired:
            rows += self._rejected(visit)
        found = sorted(
            (row for row in rows if not vin or row["vin"] == vin), key=lambda row: row["submitted"], reverse=True
        )
        shown, number, pages = page_of(found, visit.values.get("page", "1"))
        return JSONResponse({"rows": shown, "page": number, "pages": pages, "total": len(found)})

    def _rejected(self, visit: Visit) -> list[dict[str, str]]:
        rows = self.world.database.rows("SELECT * FROM tickets WHERE dealer = ?", visit.who.dealer)
        endings = [(row, json.loads(row["answer"])) for row in rows]
        return [
            {
                "reference": "",
                "kind": row["kind"],
                "vin": row["vin"],
                "detail": ending["fields"].get("sale_sequence") or ending["fields"].get("programme", ""),
                "sale_date": ending["fields"]["sale_date"],
                "submitted": row["created"],
                "state": f"{ending['state']}: {ending['reason']}",
                "disposition": "",
            }
            for row, ending in endings
            if ending.get("reason")
        ]


def _ending(new: NewFiling, outcome: Outcome, *, stuck: bool) -> dict[str, Any]:
    if outcome.draft:
        return {"state": "Saved for later", "draft": f"SV-{outcome.draft}"}
    return {
        "state": STATES[new.kind][0],
        "references": list(outcome.shown),
        "later": outcome.later,
        "filing": outcome.filings[0].id,
        "stuck": stuck,
    }


def _row(filing: Filing) -> dict[str, str]:
    return {
        "reference": filing.reference or "",
        "kind": filing.kind,
        "vin": filing.fields["vin"].upper(),
        "detail": filing.fields.get("sale_sequence") or filing.fields.get("programme", ""),
        "sale_date": filing.fields["sale_date"],
        "submitted": filing.filed_at.isoformat(),
        "state": STATES[filing.kind][0] if filing.reference else IN_PROCESS,
        "disposition": filing.disposition.capitalize(),
    }


def _errors(kind: str, values: dict[str, str]) -> list[str]:
    labels = dict(FIELDS[kind])
    if "mileage" in values:
        labels["mileage"] = "Mileage at delivery"
    missing = [f"CAS-10 {label} is required" for n, label in labels.items() if not values.get(n) and n not in OPTIONAL]
    if missing:
        return missing
    errors = []
    if not re.fullmatch(r"[A-HJ-NPR-Z0-9]{17}", values["vin"]):
        errors.append("CAS-11 VIN must have 17 capital letters and digits")
    if _day(values["sale_date"]) is None:
        errors.append("CAS-12 Sale date must be YYYY-MM-DD")
    if kind == "incentive" and not re.fullmatch(r"\d+\.\d{2}", values["amount"]):
        errors.append("CAS-13 Amount must have two decimals")
    if kind == "delivery_report" and values["sale_type"] not in SALE_TYPES:
        errors.append("CAS-14 Sale type is not known")
    if kind == "delivery_report" and not re.fullmatch(r"[1-9]", values["sale_sequence"]):
        errors.append("CAS-15 Sale sequence must be 1 to 9")
    return errors


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  a calendar day has no time zone
    except ValueError:
        return None


def _static(name: str, media_type: str) -> Any:
    async def endpoint(request: Request) -> Response:
        return Response((HERE / "templates" / "cascade" / name).read_bytes(), media_type=media_type)

    return endpoint
