"""Pages of a portal that nobody has a pack for yet: as an engineer shows them in a browser, or as they were saved.

What is kept of a page is its structure and its words, without scripts and without what stands in its controls; what
is made of it, `recognition` and `redrawing` say. Recording clicks nothing, types nothing and sends nothing. Saved
pages are another's: they are opened without scripts and without a network.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Frame, Page, Request, Route, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.portal.browser import find_browser, launch, launch_headed
from oem_submissions.portal.locators import is_leaving

PageKind = Literal["login", "form", "confirmation", "refusal", "history"]
KINDS: tuple[PageKind, ...] = get_args(PageKind)
MAX_BYTES = 5_000_000
"""Of a saved page, and of what is kept of any page."""
MOST_PAGES = 20
"""Of one form."""
NOWHERE = "https://recorded.invalid"
"""Where a saved page is that does not say where it was saved from."""
_NO_PROXY = "http://127.0.0.1:9"
"""Nobody listens there: what gets past the route does not get out."""
_CLOSED = "sandbox allow-same-origin; default-src 'none'; style-src 'self' 'unsafe-inline'"
"""The content security policy of a saved page: no scripts, no forms, no refresh, nothing loaded but its own styles."""
_SAVED_FROM = re.compile(rb"<!--\s*saved from url=\(\d+\)(https?://[\w.-]+(?::\d+)?/[!-~]{0,2000}?)\s*-->")
_PUMP_MS = 50
_BINDING = "__oem_submissions_recorded"
_LISTEN = f"""() => {{
  const told = (kind, text) => window.{_BINDING}(kind, String(text).slice(0, 500));
  const chosen = ["submit", "button", "reset", "radio", "checkbox"];
  const secret = e => ["INPUT", "TEXTAREA"].includes(e.tagName) && !chosen.includes(e.type);
  const typed = e => secret(e) && e.value && told("typed", e.value);
  addEventListener("change", event => typed(event.target), true);
  addEventListener("submit", event => [...event.target.elements].forEach(typed), true);
  addEventListener("click", event => {{
    const way = event.target.closest && event.target.closest("a[href], button, [type=submit], [type=button]");
    const name = way && (way.getAttribute("aria-label") || (way.tagName === "INPUT" ? way.value : way.textContent));
    if (way) told("clicked", name.replace(/\\s+/g, " ").trim());
  }}, true);
}}"""
PATH = """element => {
  const steps = [];
  for (let node = element; node && node.tagName !== "BODY"; node = node.parentElement) {
    const tag = node.tagName.toLowerCase();
    if (node.id && !/\\d/.test(node.id)) { steps.unshift(`${tag}#${CSS.escape(node.id)}`); break; }
    const alike = [...node.parentElement.children].filter(other => other.tagName === node.tagName);
    steps.unshift(alike.length > 1 ? `${tag}:nth-of-type(${alike.indexOf(node) + 1})` : tag);
  }
  return steps.join(" > ");
}"""
"""An element's place as CSS."""
_SNAPSHOT = """() => {
  const typed = [];
  const dropped = new Set(["script", "style", "link", "meta", "base", "noscript", "template", "iframe", "frame",
                           "object", "embed", "svg", "canvas", "video", "audio", "img", "head", "datalist"]);
  const kept = new Set(["id", "class", "name", "for", "type", "role", "method", "action", "enctype", "href", "required",
                        "readonly", "disabled", "multiple", "maxlength", "rows", "cols", "colspan", "rowspan", "scope",
                        "placeholder", "title", "aria-label", "aria-labelledby", "aria-required", "aria-level",
                        "aria-current", "data-testid", "formaction", "form"]);
  const captions = ["button", "submit", "reset"];
  const escaped = text => text.replace(/[&<>"]/g, one => `&#${one.charCodeAt(0)};`);
  const tag = (node, name, more) => {
    const said = [...node.attributes].filter(a => kept.has(a.name)).map(a => ` ${a.name}="${escaped(a.value)}"`);
    return `<${name}${said.join("")}${more}>`;
  };
  const draw = (node, hidden) => {
    if (node.nodeType === Node.TEXT_NODE) return hidden ? "" : escaped(node.data);
    if (node.nodeType !== Node.ELEMENT_NODE) return "";
    const name = node.tagName.toLowerCase();
    if (dropped.has(name)) return "";
    const look = getComputedStyle(node);
    const unseen = hidden || look.display === "none" || look.visibility !== "visible";
    const style = unseen && !hidden ? ' style="display: none"' : "";
    if (unseen && !node.matches("input, select, textarea") && !node.querySelector("input, select, textarea")) return "";
    if (name === "input") {
      if (captions.includes(node.type)) return tag(node, name, ` value="${escaped(node.value)}"`);
      if (node.value && !["checkbox", "radio", "file", "hidden"].includes(node.type)) typed.push(node.value);
      const choice = node.type === "radio" ? ` value="${escaped(node.value)}"` : "";
      return tag(node, name, choice + style);
    }
    if (name === "textarea" || node.isContentEditable) {
      typed.push(node.value ?? node.textContent);
      return `${tag(node, name, style)}</${name}>`;
    }
    if (name === "option") return `<option value="${escaped(node.value)}">${escaped(node.label)}</option>`;
    const sent = name === "button" && node.value ? ` value="${escaped(node.value)}"` : "";
    const inside = [...node.childNodes].map(child => draw(child, unseen)).join("");
    if (["br", "hr", "wbr", "col"].includes(name)) return tag(node, name, "");
    return `${tag(node, name, sent + style)}${inside}</${name}>`;
  };
  return [document.body ? draw(document.body, false) : "", typed, location.href, document.title];
}"""


class RecordingRefused(ConfigurationError):
    """A page can't be read: one sentence."""


@dataclass(frozen=True)
class RecordedPage:
    """What is kept of a page. It stays in memory: what is written of it is redrawn."""

    url: str
    html: str = field(repr=False)
    """Its body, without scripts, styles and values."""
    typed: tuple[str, ...] = field(default=(), repr=False)
    """What stood in its controls: nothing that is written may hold it."""
    title: str = field(default="", repr=False)
    """As the browser's tab shows it: for the person, and for no file."""
    came_by: str = ""
    """The link or button that was clicked to get there; empty when nobody knows."""
    sent: tuple[str, str] | None = None
    """Method and path of what was sent to the portal last, before it showed; None when nobody knows."""
    popup: bool = False
    """Whether it is a window that another page has opened."""
    frame: str = ""
    """The CSS of the frame that shows it; empty for a page of its own."""

    @property
    def controls(self) -> int:
        """How many it has."""
        return len(re.findall("<(?:input|select|textarea)", self.html))

    @property
    def path(self) -> str | None:
        """Where it is, without query; None when nobody knows."""
        return None if self.url.startswith(NOWHERE) else urlsplit(self.url).path or "/"


class ClosedPage:
    """A page without scripts and without a network. What it shows is given to it."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._body, self._due = "", False
        self._folder: Path | None = None
        page.context.route("**/*", self._answer)

    def show(self, html: str, url: str = NOWHERE, folder: Path | None = None) -> Frame:
        """The page with this text; its style sheets come out of the folder, if there is one, and nothing else does."""
        self._body, self._folder, self._due = html, folder, True
        self._page.goto(url, wait_until="domcontentloaded")
        return self._page.main_frame

    def _answer(self, route: Route) -> None:
        asked = route.request
        if self._due and asked.is_navigation_request():
            self._due = False  # what the page itself wants to open is not due
            headers = {"Content-Security-Policy": _CLOSED}
            route.fulfill(status=200, content_type="text/html; charset=utf-8", headers=headers, body=self._body)
        elif asked.resource_type == "stylesheet" and (styles := self._styles(asked.url)) is not None:
            route.fulfill(status=200, content_type="text/css", body=styles)
        else:
            route.abort()

    def _styles(self, url: str) -> bytes | None:
        """As a browser saves them: in a folder beside the page."""
        if self._folder is None:
            return None
        path = self._folder.joinpath(*Path(urlsplit(url).path).parts[-2:])
        inside = path.resolve().is_relative_to(self._folder.resolve())
        fits = inside and path.suffix == ".css" and path.is_file() and path.stat().st_size <= MAX_BYTES
        return path.read_bytes() if fits else None


@contextmanager
def closed_page(browser: Browser) -> Iterator[ClosedPage]:
    """A `ClosedPage`, gone at the end."""
    with _context(
        browser, java_script_enabled=False, service_workers="block", accept_downloads=False, proxy={"server": _NO_PROXY}
    ) as context:
        yield ClosedPage(context.new_page())


@contextmanager
def _context(browser: Browser, **options: Any) -> Iterator[BrowserContext]:
    """A context of its own, of which nothing stays. The person, or Ctrl-C, may have closed it before."""
    context = browser.new_context(**options)
    try:
        yield context
    finally:
        with suppress(PlaywrightError):
            context.close()


# --- saved ---


def saved_pages(folder: Path, closed: ClosedPage) -> dict[PageKind, RecordedPage]:
    """The pages in a folder: `login.html`, `form.html` …, as a browser saves them. Raises `RecordingRefused`."""
    found: dict[PageKind, RecordedPage] = {}
    for kind in KINDS:
        path = next((folder / f"{kind}{end}" for end in (".html", ".htm") if (folder / f"{kind}{end}").is_file()), None)
        if path is not None:
            found[kind] = saved_page(path, closed)
    if "form" not in found:
        raise RecordingRefused(
            f"There is no form.html in {folder}: save the empty form there with the browser, and what else you have of"
            f" {', '.join(f'{kind}.html' for kind in KINDS if kind != 'form')}."
        )
    return found


def further_pages(folder: Path, closed: ClosedPage) -> tuple[RecordedPage, ...]:
    """Of a form of several pages, those behind the first: `form-2.html`, `form-3.html` …. Raises `RecordingRefused`."""
    numbered = (folder / f"form-{number}.html" for number in range(2, MOST_PAGES + 1))
    return tuple(saved_page(path, closed) for path in takewhile(Path.is_file, numbered))


def saved_page(path: Path, closed: ClosedPage) -> RecordedPage:
    """One saved page. Raises `RecordingRefused`."""
    if not path.is_file():
        raise RecordingRefused(f"There is no file {path}: save the page with the browser, as HTML.")
    if path.stat().st_size > MAX_BYTES:
        raise RecordingRefused(f"{path} is larger than {MAX_BYTES // 1_000_000} MB: save the page alone, as HTML.")
    data = path.read_bytes()
    where = _SAVED_FROM.search(data[:4096])
    url = where[1].decode("ascii", "replace") if where else f"{NOWHERE}/{path.stem}"
    frame = closed.show(data.decode("utf-8", "replace"), url, path.parent)
    return snapshot(frame, url)


def snapshot(frame: Frame, url: str | None = None) -> RecordedPage:
    """What the frame shows now. Raises `RecordingRefused`, `PlaywrightError`."""
    html, typed, here, title = frame.evaluate(_SNAPSHOT)
    if len(html) > MAX_BYTES:
        raise RecordingRefused("The page holds more than can be read: show a smaller one.")
    return RecordedPage(url or here, html, tuple(typed), title)


# --- live ---


class Recorder:
    """A browser in which the engineer walks, and that looks on. It never clicks, types or sends anything itself."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        """Raises `RecordingRefused` when the portal can't be reached."""
        self._context, self._url = context, url
        self.typed: set[str] = set()
        self._clicked = ""
        self._sent: tuple[str, str] | None = None
        context.expose_binding(_BINDING, self._told)
        context.add_init_script(f"({_LISTEN})()")
        context.on("request", self._leaves)
        self._open()

    def _open(self) -> None:
        try:
            self._context.new_page().goto(self._url)
        except PlaywrightError as error:
            why = str(error).splitlines()[0]
            raise RecordingRefused(f"The browser can't open {self._url}, or is gone: {why}. Begin again.") from error

    def _told(self, source: Mapping[str, Any], kind: str, text: str) -> None:
        if kind == "typed":
            self.typed.add(str(text))
        elif kind == "clicked":
            self._clicked = str(text)

    def _leaves(self, request: Request) -> None:
        if request.method not in ("GET", "HEAD", "OPTIONS") and urlsplit(request.url).netloc == self._netloc:
            self._sent = (request.method, urlsplit(request.url).path or "/")

    @property
    def _netloc(self) -> str:
        return urlsplit(self._url).netloc

    def waiting_for(self, answer: Callable[[], str], say: Callable[[str], None]) -> str:
        """What the person at the terminal answers; meanwhile the browser goes on. Raises what `answer` raises.

        A window that was closed is opened again, in the same session: what was recorded so far is not lost.
        """
        given: list[str | BaseException] = []

        def wait() -> None:
            try:
                given.append(answer())
            except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
                given.append(error)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        while thread.is_alive():
            if not self._context.pages:
                self._open()
                say(f"The window was closed, and is open again at {self._url}. Ctrl-C ends the recording.")
            try:
                self._context.pages[-1].wait_for_timeout(_PUMP_MS)
            except PlaywrightError:
                if self._context.pages:
                    raise
        if isinstance(given[0], BaseException):
            raise given[0]
        return given[0]

    def look(self) -> list[RecordedPage]:
        """What the newest page shows now, and then its frames. Raises `RecordingRefused`."""
        if not self._context.pages:
            raise RecordingRefused("There is no window to read.")
        page, came_by, sent = self._context.pages[-1], self._clicked, self._sent
        page.wait_for_load_state("domcontentloaded")
        self._clicked, self._sent = "", None
        seen = []
        for frame in page.frames:
            try:
                where = str(frame.frame_element().evaluate(PATH)) if frame.parent_frame else ""
                shown = replace(snapshot(frame), came_by=came_by, sent=sent, popup=page.opener() is not None)
                seen.append(replace(shown, frame=where))
            except PlaywrightError as error:
                if not is_leaving(error):
                    raise
        if not seen:
            raise RecordingRefused("The page went away while it was read: wait until it stands still.")
        self.typed.update(text for one in seen for text in one.typed)
        return seen


@contextmanager
def recorder(browser: Browser, url: str) -> Iterator[Recorder]:
    """A recorder in a context of its own, of which nothing stays."""
    with _context(browser, no_viewport=True) as context:
        yield Recorder(context, url)


@contextmanager
def recording_of(url: str) -> Iterator[tuple[Recorder, ClosedPage]]:
    """A browser with a window at the portal, and a closed page in one without. Raises `ConfigurationError`.

    Two browsers: a second page in the first would be a second window, and lie over the portal's.
    """
    with sync_playwright() as playwright, ExitStack() as opened:
        shown = opened.enter_context(launch_headed(playwright))
        unseen = opened.enter_context(launch(playwright, find_browser()))
        recording = opened.enter_context(recorder(shown, url))
        yield recording, opened.enter_context(closed_page(unseen))
