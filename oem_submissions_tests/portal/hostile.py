"""Confirmation pages that lie, hide, overflow or never end, each with what a person would read; a server; a click.

By hand, many of them: `pytest oem_submissions_tests/portal/test_hostile.py --hypothesis-profile thorough`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from hypothesis import strategies as st
from playwright.sync_api import Browser

from oem_submissions.domain.needles import Needles
from oem_submissions.domain.outcomes import Answer, Outcome, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.answer import Asker, Ready
from oem_submissions.portal.gate import SubmitGate
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.schema import Form
from oem_submissions.portal.scrubbing import Scrubber
from oem_submissions.portal.steps import Limits, Walk, close
from oem_submissions.ports import Submission
from oem_submissions_tests.portal.parts import SELECTORS, warranty

LIMITS = Limits(page_seconds=5, action_seconds=2, sent_seconds=1, answer_seconds=3, silence_seconds=30)
CUSTOMER = "Marguerite Wolfeschlegelsteinhausenbergerdorff"
"""Whom the claim names: hidden in pictures, by blocks that are wider than she is."""
SEEN = "WC-2026-000007"
"""Stood on the form before the click."""
FORM = Form.model_validate(
    {
        "open": [],
        "dealer": {"find": {"testid": "dealer"}, "witness": {"text": "10234"}},
        "dealer_page": "form",
        "pages": [{"name": "form", "marker": {"role": "heading", "name": "New claim"}}],
        "submit": {
            "button": {"find": {"role": "button", "name": "Submit"}, "witness": {"testid": "go"}},
            "request": {"path": "/submit/.*"},
        },
        "confirmation": {
            "marker": {"role": "heading", "name": "Claim submitted"},
            "never": ["A draft is not a claim."],
            "wait_seconds": 1,
            "reference": {
                "kind": "claim number",
                "find": {"beside": "Claim number"},
                "witness": {"css": "#confirmation td.number", "because": "the confirmation's own table and cell"},
                "pattern": r"\b(?P<reference>WC-\d{4}-\d{6})\b",
            },
        },
        "refusals": [
            {"box": {"role": "alert"}, "marker": {"role": "heading", "name": "New claim"}, "statuses": [200],
             "rejections": [{"text": "HOS-1", "reason": "VALIDATION_REJECTED"}]}
        ],
    }
)  # fmt: skip


# --- how a number may stand there ---


@dataclass(frozen=True)
class Shown:
    """The inside of the cell, and the number that a person reads in it; None when a person reads none."""

    html: str
    truth: str | None
    plain: bool = False
    """Whether it has to be captured."""


def _wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


Show = Callable[[str, str], Shown]
PLAIN: dict[str, Show] = {
    "as it is": lambda n, _: Shown(n, n, True),
    "in bold, with words": lambda n, _: Shown(f"<b>{n}</b> (please keep it)", n, True),
    "in a sentence": lambda n, _: Shown(f"Your number is {n} from today", n, True),
    "in spans": lambda n, _: Shown("".join(f"<span>{c}</span>" for c in n), n, True),
    "full width": lambda n, _: Shown(_wide(n), n, True),
    "spaced": lambda n, _: Shown(f"<i style='letter-spacing:.1em'>&nbsp;{n}&nbsp;</i>", n, True),
    "capitals by style": lambda n, _: Shown(f"<span style='text-transform:uppercase'>{n.lower()}</span>", n, True),
    "right to left": lambda n, _: Shown(f"<div dir=rtl>{n}</div>", n, True),
    "twice the same": lambda n, _: Shown(f"{n}<br>Keep {n}.", n, True),
    "with an icon": lambda n, _: Shown(f"<style>.i::before{{content:'✓ '}}</style><span class=i>{n}</span>", n, True),
    "beside hidden words": lambda n, _: Shown(f"{n} <span style='display:none'>copied</span>", n, True),
}
HIDING = (
    "display:none", "visibility:hidden", "opacity:0", "font-size:0", "font-size:1px", "color:transparent", "color:#fff",
    "position:absolute;left:-9999px", "position:absolute;top:-999px", "display:inline-block;width:0;overflow:hidden",
    "clip-path:inset(100%);position:absolute", "transform:scale(0);display:inline-block", "filter:opacity(0)",
    "content-visibility:hidden;display:inline-block", "-webkit-text-security:disc", "color:#fefefe",
    "background:#fff;color:#fff", "text-indent:-9999px;display:inline-block",
    "mask:linear-gradient(transparent,transparent)",
)  # fmt: skip
LYING: dict[str, Show] = {
    "cyrillic before": lambda n, _: Shown("\u0410" + n, None),
    "cyrillic inside": lambda n, _: Shown("W\u0421" + n[2:], None),
    "arabic digit after": lambda n, _: Shown(n + "\u0663", None),
    "zero width after": lambda n, _: Shown(n + "\u200b9", None),
    "zero width inside": lambda n, _: Shown(n[:8] + "\u200b" + n[8:], n),
    "soft hyphen": lambda n, _: Shown(n[:8] + "\u00ad" + n[8:], n),
    "turned round": lambda n, _: Shown(f"\u202e{n}\u202c", None),
    "turned by style": lambda n, _: Shown(f"<span style='unicode-bidi:bidi-override;direction:rtl'>{n}</span>", None),
    "mirrored": lambda n, _: Shown(f"<span style='display:inline-block;transform:scaleX(-1)'>{n}</span>", None),
    "a part of more": lambda n, _: Shown(f"{n}-01", None),
    "a space that nobody sees": lambda n, _: Shown(f"7<span style='font-size:0'> </span>{n}", None),
    "more before": lambda n, _: Shown(f"X/{n}", None),
    "digits by style after": lambda n, _: Shown(f"<style>.a::after{{content:'9'}}</style><b class=a>{n}</b>", None),
    "digits by style inside": lambda n, _: Shown(
        f"<style>.j::after{{content:'77'}}</style><b class=j>{n[:8]}</b>{n[8:]}", None
    ),
    "another behind": lambda n, o: Shown(
        f"<span style='position:relative'>{o}<b style='position:absolute;inset:0;background:#fff'>{n[:9]}</b></span>",
        None,
    ),
    "covered": lambda n, _: Shown(
        f"<span style='position:relative'>{n}<i style='position:absolute;inset:-4px;background:#eee'></i></span>", None
    ),
    "two": lambda n, o: Shown(f"{n} or {o}", None),
    "too long": lambda n, _: Shown(n + " x" * 1500, None),
    "swapped digits": lambda n, _: Shown(
        f"{n[:-2]}<span style='display:inline-flex;flex-direction:row-reverse'><b>{n[-2]}</b><b>{n[-1]}</b></span>",
        None,
    ),
    "draft of before": lambda n, _: Shown(SEEN, None),
    "only a title": lambda n, _: Shown(f"<span title='{n}'>see above</span><img alt='{n}'>", None),
    "in a comment": lambda n, _: Shown(f"<!-- {n} --><noscript>{n}</noscript>pending", None),
    "in a shadow": lambda n, _: Shown(f"<div><template shadowrootmode=open>{n}</template></div>", n),
}


def _vanishes(how: str) -> bool:
    """Whether it leaves no gap where it stood."""
    return any(words in how for words in ("display:none", "position:absolute", "font-size:0", "width:0"))


def hidden(how: str, part: str) -> Show:
    inner = {
        "all": lambda n, o: Shown(f"<span style='{how}'>{n}</span>", None),
        "end": lambda n, o: Shown(f"{n[:-2]}<span style='{how}'>{n[-2:]}</span>", None),
        "decoy": lambda n, o: Shown(f"{n} <span style='{how}'>{o}</span>", n),
        "instead": lambda n, o: Shown(f"<span style='{how}'>{o}</span> pending", None),
        "glued": lambda n, o: Shown(f"{n[:10]}<span style='{how}'>00</span>{n[10:]}", n if _vanishes(how) else None),
    }
    return inner[part]


def shown() -> st.SearchStrategy[Show]:
    """Every way in which a number may stand in its cell."""
    hiding = st.builds(hidden, st.sampled_from(HIDING), st.sampled_from(["all", "end", "decoy", "instead", "glued"]))
    return st.one_of(st.sampled_from(list(PLAIN.values())), st.sampled_from(list(LYING.values())), hiding)


# --- what may stand around it ---


def _box(html: str) -> str:
    """Not all of it shows at once, so that the page does not become high: pictures of high pages take their time."""
    return f"<div style='height:90px;overflow:auto'>{html}</div>"


HIGH = "<div style='height:60000px;background:linear-gradient(#eee,#ccc)'></div>"
Around = Callable[[str, str], str]
HARMLESS: dict[str, Around] = {
    "other numbers": lambda n, o: f"<p>Batch {o}. Form WC-2026-999999.</p><footer>Rev {o}</footer>",
    "thousands of candidates": lambda n, o: _box(
        "<table>" + f"<tr><th>Batch number</th><td>{o}</td>" * 3000 + "</table>"
    ),
    "nested": lambda n, o: "<div>" * 400 + o + "</div>" * 400,
    "attributes": lambda n, o: f"<i title='{o}' data-x='{o}' aria-label='{o}'></i><!-- {o} --><noscript>{o}</noscript>",
    "frames": lambda n, o: (
        f"<iframe srcdoc='<table><tr><th>Claim number</th><td class=number>{o}</td></table>'></iframe>"
    ),
    "long": lambda n, o: _box(f"lorem {o} ipsum " * 3000),
    "redrawn": lambda n, o: "<p id=t>0</p><script>setInterval(() => t.textContent = Math.random(), 5)</script>",
    "plaintext": lambda n, o: f"<plaintext>{o}",
}
HOSTILE: dict[str, Around] = {
    "another such row": lambda n, o: f"<table><tr><th>Claim number</th><td>{o}</td></tr></table>",
    "a hidden row": lambda n, o: f"<table hidden><tr><th>Claim number</th><td>{o}</td></tr></table>",
    "many such rows": lambda n, o: _box("<table>" + f"<tr><th>Claim number</th><td>{o}</td>" * 5000 + "</table>"),
    "two confirmations": lambda n, o: f"<table id=confirmation><tr><th>Claim number</th><td class=number>{o}</table>",
    "a draft": lambda n, o: "<p>A DRAFT\u00a0is not a cl\u00adaim.</p>",
    "a draft in a shadow": lambda n, o: "<div><template shadowrootmode=open>A draft is not a claim.</template></div>",
    "a draft in a frame": lambda n, o: "<iframe srcdoc='<p>A draft is not a claim.'></iframe>",
    "a draft far below": lambda n, o: _box("x " * 600_000 + "<p>A draft is not a claim.</p>"),
    "an error": lambda n, o: "<p role=alert>HOS-1</p>",
    "busy": lambda n, o: "<p aria-busy=true>loading</p>",
    "a dialog": lambda n, o: "<script>alert('Not saved!')</script>",
    "another number soon": lambda n, o: (
        "<script>const cell = document.querySelector('td.number'); let turn = 0;"
        f"setInterval(() => cell.textContent = ['{n}', '{o}'][++turn % 2], 15)</script>"
    ),
    "moves on": lambda n, o: "<script>setTimeout(() => location = '/elsewhere', 30)</script>",
    "moves on for ever": lambda n, o: "<meta http-equiv=refresh content='0'>",
}  # fmt: skip
STILL_READABLE = {"a hidden row", "moves on", "moves on for ever"}
"""Hostile, and yet a person reads the number; all others say that it is none, or show two."""
ENDLESS = {
    "a loop": "<script>setTimeout(() => { while (true); }, 100)</script>",
    "dialogs": "<script>setTimeout(() => { while (true) alert('again'); }, 100)</script>",
    "a frame's loop": "<iframe sandbox=allow-scripts srcdoc='<script>while(true);</script>'></iframe>",
}


@dataclass(frozen=True)
class HostilePage:
    """A page after the click, and what is true of it."""

    html: str
    truths: frozenset[str]
    """What may be captured: nothing, or the one number that a person reads."""
    must: bool
    """Whether it has to be."""


def page(
    number: str, other: str, show: Show, harmless: Sequence[str] = (), hostile: str | None = None, more: str = ""
) -> HostilePage:
    """One confirmation, with these things around its number."""
    cell, around = show(number, other), [HARMLESS[name] for name in harmless]
    if hostile is not None:
        around.insert(0, HOSTILE[hostile])
    rest = "".join(each(number, other) for each in around)
    html = (
        "<!doctype html><meta charset=utf-8><title>Claim</title><style>body{background:#fff;font:16px sans-serif}"
        f"</style><h1>Claim submitted</h1><table id=confirmation><tr><th>Dealer code</th><td>10234</td></tr>"
        f"<tr><th>Claim number</th><td class=number>{cell.html}</td></tr></table>{more}{rest}"
    )
    readable = cell.truth is not None and (hostile is None or hostile in STILL_READABLE)
    return HostilePage(html, frozenset({cell.truth or ""} if readable else ()), cell.plain and hostile is None)


@st.composite
def hostile_pages(draw: st.DrawFn) -> HostilePage:
    """Any combination, seeded."""
    digits = st.integers(100, 999_999).map("WC-2026-{:06d}".format)
    number, other = draw(digits), draw(digits)
    if number == other:
        other = "WC-2025-000001"
    harmless = draw(st.lists(st.sampled_from(sorted(HARMLESS)), max_size=3, unique=True))
    harmless.sort(key=lambda name: name == "plaintext")  # nothing is a tag after it
    hostile = draw(st.none() | st.sampled_from(sorted(HOSTILE)))
    return page(number, other, draw(shown()), harmless, hostile)


# --- the click ---


@dataclass
class HostilePortal:
    """Serves a form, and after its click the page that it was given."""

    url: str = ""
    pages: dict[str, str] = field(default_factory=dict)

    def body(self, path: str) -> str:
        if path.startswith("/form/"):
            number = path.rpartition("/")[2]
            return (
                f"<h1>New claim</h1><form method=post action=/submit/{number}><input name=a><p>{SEEN}</p>"
                "<button data-testid=go>Submit</button></form>"
            )
        return self.pages.get(
            path.rpartition("/")[2], f"<h1>Claims</h1><table><tr><th>Claim number</th><td>{SEEN}</td>"
        )


@contextmanager
def hostile_portal() -> Iterator[HostilePortal]:
    """On a free port of loopback."""
    portal = HostilePortal()

    class Line(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = portal.body(self.path).encode("utf-8", "surrogatepass")
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_request(self, *said: Any) -> None:
            """Nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                pass  # the browser's context was closed

    server = ThreadingHTTPServer(("127.0.0.1", 0), Line)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    portal.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield portal
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_SUBMISSION = Submission("claim-1", warranty("RO-1"), "hostile:warranty:10234:RO-1")


class Clicker:
    """Clicks in one context, as a session does: one that hung, or whose outcome is unknown, is thrown away."""

    def __init__(self, browser: Browser, portal: HostilePortal, limits: Limits = LIMITS) -> None:
        self._browser, self._portal, self._limits = browser, portal, limits
        self._walk: Walk | None = None
        self._gate = SubmitGate((FORM.submit.request,), 30.0)

    def click(self, html: str) -> Answer:
        """What comes of the click that this page answers."""
        number = str(len(self._portal.pages))
        self._portal.pages[number] = html
        if self._walk is None:
            context = self._browser.new_context(viewport={"width": 1000, "height": 700})
            self._gate.install(context, None)
            pack = load_pack(SELECTORS, "aurora")
            scrubber = Scrubber(Needles())
            scrubber.begin_claim([("customer_name", CUSTOMER)], [], ["10234"])
            self._walk = Walk(context, context.new_page(), pack, "10234", self._limits, {}, scrubber)
        walk = self._walk
        self._gate.close()
        walk.page.goto(f"{self._portal.url}/form/{number}")
        ready = Ready(FORM, walk.page.main_frame, {}, frozenset({SEEN}), b"", _SUBMISSION)
        asker = Asker(walk, self._gate, _AnyNumber(), ready)  # type: ignore[arg-type]
        outcome: Outcome
        try:
            outcome = asker.ask(lambda wire: None)
        except Exception as error:  # noqa: BLE001 - as the session does
            outcome = Unknown(ReasonCode.OUTCOME_UNKNOWN, walk.silence or str(error))
        finally:
            walk.watch.rest()
            self._gate.spend()
        if isinstance(outcome, Unknown):
            self.close()
        return asker.answer(outcome)

    def close(self) -> None:
        if self._walk is not None:
            close(self._walk.context)
            self._walk = None


class _AnyNumber:
    """An adapter without check digits."""

    def reference_is_plausible(self, value: str) -> bool:
        return True
