"""Dakota's portal as it should not be: it says secrets and names in every place where a page can say something.

Beside Dakota's it has two fields, Customer and PIN, and asks for an authenticator's code.
"""

from __future__ import annotations

import base64
import html
import io
import json
import random
import secrets
import shutil
import urllib.parse
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Literal

from pypdf import PdfWriter
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute

from oem_submissions.domain.claims import Code, Text
from oem_submissions.simulator.samples import Made
from oem_submissions.simulator.skin import Visit
from oem_submissions_tests.conformance.dakota.portal import Dakota, PartsReturn
from oem_submissions_tests.conformance.dakota.skin import DakotaPortal

PASSWORD = "pw &7'Mïx\"-Quartz"
TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
CUSTOMER, PIN = "Renée O'Hara-Nguyễn", "Kq7-48213-zz"
PACKS = Path(__file__).parents[1] / "conformance" / "selectors"
EXTRA_FIELDS = (
    '<p><label for="customer">Customer</label> <input id="customer" name="customer"></p>'
    '<p><label for="pin">PIN</label> <input id="pin" name="pin" type="password"></p>'
)


class GossipPortal(DakotaPortal):
    """What it told is in `told`, by kind."""

    uses_totp = True
    told: ClassVar[dict[str, set[str]]] = {}

    def routes(self) -> list[BaseRoute]:
        return [*super().routes(), self.route("/login/code", self._code, "POST", needs_session=False)]

    @classmethod
    def claim(cls, kind: str, dealer: str, chance: random.Random, today: date) -> Made:
        payload, _ = super().claim(kind, dealer, chance, today)
        return payload | {"customer": CUSTOMER, "pin": PIN}, []

    async def _login(self, visit: Visit) -> Response:
        account = self.world.accounts.check(self.oem, visit.values.get("user", ""), visit.values.get("password", ""))
        if account is None:
            return self._sign_in(visit, "User or password is wrong.")
        asks = '<h1>Code</h1><form method=post action="/dakota/login/code"><label>Code <input name=code></label>'
        answer = HTMLResponse(f"{asks}<button>Continue</button></form>")
        session = self.world.accounts.open(account, "code")
        self._tell("cookie", session.token)
        return self.enter(visit, session, answer)

    async def _code(self, visit: Visit) -> Response:
        account = self.world.accounts.find(self.oem, visit.who.username)
        assert account is not None
        assert self.world.accounts.code_is_right(account, visit.values["code"])
        visit.who.data["code"] = self._tell("code", visit.values["code"])
        visit.who.stage = "in"
        self.world.accounts.save(visit.who)
        return RedirectResponse("/dakota/home", 303)

    def _tell(self, kind: str, value: str) -> str:
        self.told.setdefault(kind, set()).add(value)
        return value

    def _form(self, visit: Visit, errors: list[str]) -> Response:
        if visit.values.get("quantity") == "888":
            errors = ["The moon is blue."]
        return super()._form(visit, [f"{error} ({self._all(visit)})" for error in errors])

    async def _submit(self, visit: Visit) -> Response:
        return self._form(visit, []) if visit.values.get("quantity") == "888" else await super()._submit(visit)

    def _all(self, visit: Visit) -> str:
        code = visit.who.data.get("code")  # of this session: one that is over is nobody's secret any more
        return f"{PASSWORD} | {code} | {visit.who.token} | {PIN} | {CUSTOMER}"

    def page(self, template: str, visit: Visit, status: int = 200, **context: Any) -> Response:
        answer = super().page(template, visit, status, **context)
        if visit.session is None or visit.session.stage != "in":
            return answer
        said, text = self._all(visit), bytes(answer.body).decode()
        text = text.replace('<p><label for="photos">', f'{EXTRA_FIELDS}<p><label for="photos">')
        text = text.replace("<title>", f"<title>{html.escape(said)} ")
        text = text.replace("</body>", _everywhere(said, self._tell("page token", secrets.token_hex(20))) + "</body>")
        remember = self._tell("cookie", secrets.token_urlsafe(32))
        headers = {"X-Debug": said.encode().hex(), "Set-Cookie": f"REMEMBER={remember}; Path=/dakota"}
        return HTMLResponse(text, answer.status_code, headers=headers)


def _everywhere(said: str, token: str) -> str:
    """All places of a page that come to mind."""
    escaped, quoted = html.escape(said), urllib.parse.quote(said)
    query, script = urllib.parse.urlencode({"who": said, "t": token}), json.dumps(said)
    coded = base64.b64encode(said.encode()).decode()
    return f"""
<p>You are {escaped}</p><p>{coded}</p><p>{said.encode().hex()}</p><p>{escaped.upper()}</p>
<input type=hidden name=t value="{token}"><input type=hidden name=u value="{escaped}">
<input disabled aria-label="{escaped}" placeholder="{escaped}"><input type=button value="{escaped}">
<img alt="{escaped}" title="{escaped}" src="data:image/svg+xml,%3Csvg%3E%3Ctext%3E{quoted}%3C/text%3E%3C/svg%3E">
<svg><title>{escaped}</title><text y=20>{escaped}</text></svg>
<style>.said::after {{ content: {_css(said)} }}</style><i class=said data-who="{escaped}"></i>
<a href="/dakota/home?{query}">profile</a> <a href="data:application/pdf;base64,{_pdf(said)}">PDF</a>
<a href="mailto:x@dakota.invalid?subject={quoted}">mail</a><!-- {escaped} -->
<iframe srcdoc="{html.escape(f"<p>{escaped}</p>")}"></iframe><template><p>{escaped}</p></template>
<noscript>{escaped}</noscript><div id=host></div><script type="application/json">{_safe(script)}</script>
<script>
  const said = {_safe(script)};
  console.error(said);
  host.attachShadow({{mode: "open"}}).textContent = said;
  history.replaceState(null, "", location.pathname + "?{query}");
  document.getElementById("part")?.addEventListener("input", e => {{ if (e.target.value.endsWith("Z")) alert(said); }});
</script>"""


def _safe(script: str) -> str:
    return script.replace("<", "\\u003c")


def _css(said: str) -> str:
    return '"' + "".join(f"\\{ord(c):06x}" if not c.isalnum() else c for c in said) + '"'


def _pdf(said: str) -> str:
    writer, buffer = PdfWriter(), io.BytesIO()
    writer.add_blank_page(50, 50)
    writer.add_metadata({"/Title": said})
    writer.write(buffer)
    return base64.b64encode(buffer.getvalue()).decode()


class Return(PartsReturn):
    """A part that a customer brought back."""

    claim_type: Literal["parts_return"] = "parts_return"
    personal_fields: ClassVar = ("customer", "pin")
    customer: Text
    pin: Code


class Gossip(Dakota):
    """Files them."""

    claim_model = Return

    def form_values(self, claim: Return) -> dict[str, str]:  # type: ignore[override]
        return {**super().form_values(claim), "customer": claim.customer, "pin": claim.pin}


def packs(folder: Path) -> Path:
    """Dakota's pack with the two fields: one is personal, of the other nothing is said, so that it is secret."""
    selectors = Path(shutil.copytree(PACKS, folder / "selectors"))
    path = selectors / "dakota" / "v0001.yaml"
    text = path.read_text()
    for after, more in (
        ("kind: select, sensitivity: public}\n", "          customer: {find: {label: Customer}, sensitivity: pii}\n"
         "          pin: {find: {label: PIN}}\n"),
        ("{name: reason, tag: select}\n", "            - {name: customer, tag: input, type: text}\n"
         "            - {name: pin, tag: input, type: password}\n"),
        ('go: {role: button, name: Sign in}\n', "  totp: {find: {label: Code}, go: {role: button, name: Continue}}\n"),
    ):  # fmt: skip
        assert after in text
        text = text.replace(after, after + more, 1)
    path.write_text(text)
    return selectors
