"""What a session captures and says holds no secret and no personal value, and stays evidence all the same."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page

from oem_submissions.domain.evidence import (
    PERSONAL_PAGE,
    PERSONAL_READBACK,
    POST_CONFIRM,
    POST_CONFIRM_ARIA,
    POST_CONFIRM_MHTML,
    PRE_SUBMIT,
    READBACK,
    FieldReadback,
)
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.needles import Kind, Needles
from oem_submissions.domain.outcomes import Filed, Reference, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.evidence.leaks import leaks
from oem_submissions.portal import archive, aria, readback
from oem_submissions.portal.capture import CaptureFailed, picture
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.scrubbing import Scrubber, scrubbed
from oem_submissions.settings import EnvironmentSecrets, read_settings
from oem_submissions.simulator.server import Simulator
from oem_submissions.wiring import readback_key
from oem_submissions_tests.portal.parts import delivery, file_claim, prepare, session, warranty

PASSWORD, CUSTOMER = "secret-pw-7", "Pat O'Doe"
REFERENCE = "WC-2026-004217-K"


def scrubber() -> Scrubber:
    made = Scrubber(Needles.of(Kind.SECRET, [("password", PASSWORD)]))
    made.begin_claim([("customer_name", CUSTOMER)], [], ["10234"])
    return made


@pytest.fixture
def page(chromium: BrowserRuntime) -> Iterator[Page]:
    made = chromium.browser().new_page(viewport={"width": 700, "height": 500})
    yield made
    made.close()


# --- pictures ---

TELLING = """
<style>.said::after { content: " by {name}" } body { font: 16px monospace }</style>
<p>Thank you, {name}. Your claim number is WC-2026-004217-K.</p>
<p>Thank you, P<b>at</b>&nbsp; O’<i>DO</i>E!</p>
<table><tr><td>{first}</td><td>{last}</td></tr></table>
<input placeholder="not {name}"> <input type=button value="I am {name}"> <button>{password}</button>
<svg width=300 height=30><text y=20>{name}</text></svg>
<div id=host></div> <iframe srcdoc="<p>In a frame: {name}</p>" height=60></iframe>
<p style="width:4em;overflow:hidden;white-space:nowrap">{name}</p>
"""
SHADOW = "name => host.attachShadow({mode: 'open'}).innerHTML = `<p>In the shadow: ${name}</p>`"


def tell(page: Page, name: str, last: str, password: str) -> None:
    first = name.split()[0]
    text = TELLING.replace("P<b>at</b>&nbsp; O’<i>DO</i>E", "█<b>██</b>&nbsp; ██<i>██</i>█") if "█" in name else TELLING
    values = {"{name}": name, "{first}": first, "{last}": last, "{password}": password}
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    page.set_content(text)
    page.frame_locator("iframe").get_by_text("In a frame").wait_for()
    page.evaluate(SHADOW, name)


def test_a_picture_shows_blocks_for_what_is_hidden_and_the_reference_beside_it(page: Page) -> None:
    tell(page, "███ █████", "█████", "███████████")
    page.add_style_tag(content=".said::after { visibility: hidden }")
    wanted = picture(page, "x.webp").data
    tell(page, CUSTOMER, "O'Doe", PASSWORD)
    before = page.content()
    assert picture(page, "x.webp").data != wanted, "the test can't tell"
    assert picture(page, "x.webp", scrubber=scrubber()).data == wanted
    assert page.content().replace(' style=""', "") == before, "the page was left as it was found"
    assert REFERENCE in page.inner_text("body")


DRAWN = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'%3E%3Ctext y='20'%3EPat O%27Doe%3C/text%3E%3C/svg%3E"
)


@pytest.mark.parametrize(
    ("content", "hiding"),
    [
        ("<style>p::before { content: 'Pat O\\27 Doe' }</style><p>, thank you</p>", "p::before"),
        (
            f'<style>p::before {{ content: attr(data-who) }}</style><p data-who="{CUSTOMER}">, thank you</p>',
            "p::before",
        ),
        (f'<p>Signed</p><img src="{DRAWN}">', "img"),
        (f"<p>Signed</p><div style='height: 40px; background: url(\"{DRAWN.replace(chr(39), '%27')}\")'></div>", "div"),
    ],
)
def test_what_is_drawn_and_not_written_is_hidden_too(page: Page, content: str, hiding: str) -> None:
    page.set_content(content)
    shown = picture(page, "x.webp").data
    hidden = picture(page, "x.webp", scrubber=scrubber()).data
    page.add_style_tag(content=f"{hiding} {{ visibility: hidden }}")
    assert shown != hidden == picture(page, "x.webp").data


def test_a_page_that_puts_a_name_back_is_not_photographed(page: Page) -> None:
    page.set_content(f"<p>{CUSTOMER}</p>")
    page.evaluate("""() => {
        const text = document.querySelector("p").firstChild, said = text.data;
        new MutationObserver(() => { if (text.data !== said) text.data = said; }).observe(text, {characterData: true});
    }""")
    with pytest.raises(CaptureFailed, match="again while it was being photographed"):
        picture(page, "x.webp", scrubber=scrubber())


def test_a_public_control_that_holds_a_secret_is_masked(page: Page) -> None:
    page.set_content("<p>Comment</p><input style='width:300px'>")
    control = page.query_selector("input")
    assert control is not None
    shots = []
    for value in ("plain", f"call {PASSWORD}"):
        control.fill(value)
        shots.append(picture(page, "x.webp", {page.main_frame: [control]}, scrubber()).data)
    masked = picture(page, "x.webp", {}, scrubber()).data
    assert shots[0] != masked
    assert shots[1] == masked


MOVES = """
<p id=above style="height: 400px">Above</p><p>Customer <input value=secret></p><p style="height: 900px">Below</p>
<script>
  new MutationObserver((seen, observer) => {
    if (!seen.some(one => [...one.addedNodes].some(node => node.nodeName === "STYLE"))) return;
    above.style.height = "200px";
    if (!ALWAYS) return observer.disconnect();
    above.id = "";
    document.body.prepend(Object.assign(document.createElement("p"), {id: "above", style: "height: 400px"}));
  }).observe(document, {childList: true, subtree: true});
</script>"""
"""A page that sees that it is photographed, by the style that hides, and moves then."""


def test_a_page_that_moves_as_it_is_photographed_first_is_photographed_again(page: Page) -> None:
    page.set_content(MOVES.replace("ALWAYS", "false"))
    tries: list[float] = []
    picture(page, "x.webp", meanwhile=lambda: tries.append(page.locator("input").bounding_box()["y"]))  # type: ignore[index]
    assert len(tries) == 2
    assert tries[0] - tries[1] == 200


def test_a_page_that_always_moves_is_not_photographed(page: Page) -> None:
    page.set_content(MOVES.replace("ALWAYS", "true"))
    with pytest.raises(CaptureFailed, match="could not be masked"):
        picture(page, "x.webp")


def test_the_values_never_enter_the_page(page: Page) -> None:
    page.set_content(f"<p>{REFERENCE}</p>")
    page.evaluate("""() => {
        window.heard = [];
        for (const name of ["includes", "indexOf", "replace", "match", "search", "split"]) {
            const real = String.prototype[name];
            String.prototype[name] = function (...given) { heard.push(String(this), ...given.map(String));
                return real.apply(this, given); };
        }
        const json = JSON.parse;
        JSON.parse = function (text) { heard.push(text); return json(text); };
    }""")
    picture(page, "x.webp", scrubber=scrubber())
    heard = " ".join(page.evaluate("window.heard"))
    assert PASSWORD not in heard
    assert CUSTOMER not in heard


def test_a_log_in_page_is_never_photographed(chromium: BrowserRuntime, simulator: Simulator) -> None:
    simulator.client.set_fault("aurora", "expired_at_submit")
    with session(chromium, simulator, "aurora") as opened:
        answer = file_claim(opened, warranty("RO-1"))
    assert isinstance(answer.outcome, Unknown)
    assert "session" in answer.outcome.text
    assert POST_CONFIRM not in {artifact.name for artifact in answer.artifacts}


# --- the archive ---

PAGE = f"""<!DOCTYPE html><title>For {CUSTOMER}</title><style>p::after {{ content: "{CUSTOMER}" }}</style>
<body data-who="{CUSTOMER}"><h1>Claim submitted</h1><p>Thank you, {CUSTOMER}. Claim number <b>{REFERENCE}</b></p>
<form action="/next?who=Pat+O%27Doe&pw=secret%2Dpw%2D7"><input name=a value="typed in"><input type=hidden value="tok">
<input type=submit value="Print"><textarea>typed as well</textarea>
<select><option value=1>chosen<option value=2 selected>other</select><input type=checkbox checked></form>
<img alt="{CUSTOMER}" src="data:image/svg+xml,%3Csvg%3E%3Ctext y='9'%3E{PASSWORD}%3C/text%3E%3C/svg%3E">
<p>{PASSWORD}</p><iframe srcdoc="<p>in a frame, {CUSTOMER}</p><input value='typed in'>"></iframe></body>"""


def test_an_archive_opens_in_chromium_and_holds_nothing_that_it_must_not(page: Page, tmp_path: Path) -> None:
    page.set_content(PAGE)
    whole, clean = archive.snapshot(page), scrubber()
    assert {leak.what for leak in leaks("whole", whole, clean.needles)} == {"password", "customer_name"}
    public = archive.rewritten(whole, clean.text)
    apart = archive.rewritten(whole, lambda text: clean.text(text, Kind.SECRET))
    assert leaks("public", archive.packed(public), clean.needles) == []
    assert {leak.what for leak in leaks("apart", archive.packed(apart), clean.needles)} == {"customer_name"}
    assert archive.packed(public) == archive.packed(public)

    path = tmp_path / "page.mhtml"
    path.write_bytes(public)
    page.goto(path.as_uri())
    said = page.inner_text("body")
    assert f"Thank you, [personal]. Claim number {REFERENCE}" in said
    assert page.frames[-1].inner_text("p") == "in a frame, [personal]"
    assert page.locator("input[type=submit]").get_attribute("value") == "Print"
    for frame in page.frames:
        values = frame.evaluate("() => [...document.querySelectorAll('input, textarea')].map(e => e.value)")
        assert set(values) <= {"", "Print", "on"}
    assert page.locator("option").all_inner_texts() == ["", ""]
    assert page.locator("[checked]").count() == 0


def test_an_archive_that_is_none_is_refused() -> None:
    for data in (b"", b"<html>", b"x" * (archive.MAX_BYTES + 1)):
        with pytest.raises(archive.ArchiveRefused):
            archive.rewritten(data, str)


def test_the_outline_keeps_what_a_page_says_and_not_what_was_typed(page: Page) -> None:
    page.set_content(
        f"""<h1>Done</h1><p>Claim number {REFERENCE}</p><label>User <input value="typed in"></label>
        <label>Word <input type=password value="hush"></label><a href="/x?token=1">Print</a>
        <label>Way <select><option selected>one</option><option>two</option></select></label>"""
    )
    said = aria.stripped(page.locator("body").aria_snapshot())
    assert said.splitlines() == [
        '- heading "Done"', f'- paragraph: "Claim number {REFERENCE}"', '- text: "User"', '- textbox "User"',
        '- text: "Word"', '- textbox "Word"', '- link "Print"', '- text: "Way"', '- combobox "Way"',
    ]  # fmt: skip


def test_a_filing_leaves_an_archive_an_outline_and_what_is_personal_apart(
    chromium: BrowserRuntime, simulator: Simulator
) -> None:
    with session(chromium, simulator, "cascade") as opened:
        ready = prepare(opened, delivery(1))
        answer = opened.submit(lambda wire: None)
        needles = opened.needles
    assert isinstance(answer.outcome, Filed)
    kept = {artifact.name: artifact.data for artifact in (*ready.artifacts, *answer.artifacts)}
    assert kept.keys() >= {
        PRE_SUBMIT, READBACK, PERSONAL_READBACK, POST_CONFIRM, POST_CONFIRM_MHTML, POST_CONFIRM_ARIA, PERSONAL_PAGE,
    }  # fmt: skip
    reference = answer.outcome.reference.value
    assert reference.encode() in gzip.decompress(kept[POST_CONFIRM_MHTML]).replace(b"=\r\n", b"")
    assert reference in kept[POST_CONFIRM_ARIA].decode()
    assert answer.warnings == ()
    for name, data in kept.items():
        looked_for = needles.only(Kind.SECRET) if name.startswith("personal") else needles
        assert leaks(name, data, looked_for) == []
    assert {needle.name for needle in needles.all} >= {"password", "customer_name", "the cookie CASCADE_SESSION"}
    assert CUSTOMER in kept[PERSONAL_READBACK].decode()


def test_an_archive_that_fails_costs_a_warning_and_no_filing(
    chromium: BrowserRuntime, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles: list[Exception] = [PlaywrightError("Protocol error"), AssertionError("we should not get here!")]

    def fail(page: Page) -> bytes:
        raise troubles[0]

    monkeypatch.setattr(archive, "snapshot", fail)
    with session(chromium, simulator, "aurora") as opened:
        while troubles:
            answer = file_claim(opened, warranty(f"RO-{len(troubles)}"))
            assert isinstance(answer.outcome, Filed)
            assert answer.warnings == (f"The page after the click was not archived: {str(troubles[0]).rstrip('.')}.",)
            troubles.pop(0)


# --- what was read back ---


def test_equal_personal_values_are_provably_equal_and_nothing_else_is() -> None:
    def fingerprint(name: str, value: str, key: bytes = b"tenant") -> Any:
        item = FieldReadback(name, name, value, value, "pii")
        (field,) = json.loads(readback.artifact([item], key).data)["fields"]
        return field["value"]

    first = fingerprint("customer", CUSTOMER)
    assert first == fingerprint("customer", CUSTOMER)
    assert (first["redacted"], len(bytes.fromhex(first["hmac"]))) == ("pii", 32)
    others = [fingerprint("customer", "Pat Odoe"), fingerprint("lender", CUSTOMER)]
    others.append(fingerprint("customer", CUSTOMER, b"other tenant"))
    assert len({first["hmac"], *(other["hmac"] for other in others)}) == 4


def test_the_key_is_the_tenants_secret_or_this_machines_own_and_stays(tmp_path: Path) -> None:
    settings = replace(read_settings({}), home=tmp_path)
    secret = EnvironmentSecrets({"OEM_SUBMISSIONS_SECRET_EVIDENCE_HMAC_KEY": "tenant"})
    assert readback_key(settings, secret) == b"tenant"
    assert list(tmp_path.iterdir()) == []
    own = readback_key(settings, EnvironmentSecrets({}))
    assert len(own) == 32
    assert readback_key(settings, EnvironmentSecrets({})) == own
    assert (tmp_path / "keys" / "readback-hmac.key").stat().st_mode & 0o777 == 0o600


# --- texts ---


def test_texts_logs_and_exceptions_of_a_session_hold_no_secret(
    chromium: BrowserRuntime, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "oem_submissions")
    complaint = "whines since Mrs. Doe's trip"
    with session(chromium, simulator, "aurora") as opened:
        prepare(opened, warranty("RO-1", complaint=complaint))
        cookie = next(c["value"] for c in opened._walk.context.cookies() if c["name"] == "AURORA_SESSION")  # type: ignore[union-attr]
        said = f"AUR-777 {PASSWORD} {cookie} {complaint.upper()}"
        body = f"<h1>New warranty claim</h1><div role=alert>{said}</div>"
        simulator.client.set_route("POST", "/aurora/claims", 200, body)
        answer = opened.submit(lambda wire: None)
        simulator.client.clear_routes()
        with pytest.raises(StepFailed, match="dealer code '10234', the claim is for '.secret.'") as caught:
            prepare(opened, warranty("RO-2", complaint=complaint, dealer_code=PASSWORD))
    assert isinstance(answer.outcome, Unknown)
    assert "AUR-777 [secret] [secret] [personal]" in answer.outcome.text
    assert "AUR-777 [secret] [secret] [personal]" in answer.text
    link: BaseException | None = caught.value
    texts = [caplog.text, repr(answer), *(str(vars(record)) for record in caplog.records)]
    while link is not None:
        texts.append(f"{link} {link.args}")
        link = link.__cause__ or link.__context__
    for text in texts:
        for hidden in (PASSWORD, cookie, complaint, complaint.upper()):
            assert hidden not in text


def test_a_reference_keeps_its_place_and_one_that_holds_a_secret_is_none() -> None:
    def answered(raw: str, value: str) -> Any:
        reference = Reference(value, "claim number", raw, (raw.index(value), raw.index(value) + len(value)))
        return scrubbed(Filed(reference), scrubber())

    kept = answered(f"{CUSTOMER}, number {REFERENCE} for {CUSTOMER}", REFERENCE)
    assert kept.reference.raw_text == f"[personal], number {REFERENCE} for [personal]"
    start, end = kept.reference.span
    assert kept.reference.raw_text[start:end] == REFERENCE
    lost = answered(f"number {PASSWORD}", PASSWORD)
    assert isinstance(lost, Unknown)
    assert (lost.reason, PASSWORD in lost.text) == (ReasonCode.SECRET_IN_ARTIFACT, False)


def test_what_the_claim_says_aloud_is_left_where_it_stands() -> None:
    made = Scrubber(Needles.of(Kind.SECRET, [("password", PASSWORD)]))
    made.begin_claim([("technician", "T77"), ("customer", CUSTOMER)], [("the field 'pin'", "4711")], ["RO-T77-1"])
    assert made.text("RO-T77-1, T77, Pat O&#39;Doe, 4711, 147112, pin%204711") == (
        "RO-T77-1, T77, [personal], [secret], 147112, pin%20[secret]"
    )
    made.begin_claim([], [], [])
    assert made.text(f"{CUSTOMER} 4711 {PASSWORD}") == f"{CUSTOMER} 4711 [secret]"


def test_tokens_are_forgotten_in_the_end_and_what_is_seen_again_is_not() -> None:
    made = Scrubber(Needles.of(Kind.SECRET, [("password", PASSWORD)]))
    tokens = [f"{number:04d}a8f3c1e9b7d25604" for number in range(100)]
    for token in tokens:
        made.learn("the cookie S", ["c0ffee12-stays"])
        made.learn("a token of the page", [token])
    assert made.text(f"{tokens[-1]} c0ffee12-stays {PASSWORD}") == "[secret] [secret] [secret]"
    assert len(made.needles.all) < 40
