"""What recorded pages say of a portal, as places of a selector pack: by words, and only what is beyond doubt.

A locator counts only when it hits the one element on the recorded page. Where two things could be meant, nothing is
said, and `hints` tells the engineer what there is. What can't be seen on a page (how long a claim takes to show in the
list) is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ElementHandle, Frame
from pydantic import TypeAdapter

from oem_submissions.portal.contracts import LABEL, contract_of, scan
from oem_submissions.portal.locators import Locator, look_up
from oem_submissions.portal.recording import PATH, ClosedPage, PageKind, RecordedPage
from oem_submissions.portal.schema import Contract

Place = tuple[str | int, ...]
"""Where something stands in a pack: the keys that lead there."""
_LOCATOR: TypeAdapter[Locator] = TypeAdapter(Locator)
_MOST = 200
"""Characters of a name that a locator may have."""
_SHOWN = 25
"""So many things are named in a hint."""
_CONTROLS = f"""controls => {{
  const label = {LABEL};
  const words = text => (text || "").replace(/\\s+/g, " ").trim();
  const before = element => {{
    const cell = element.closest("td, dd");
    if (cell && cell.previousElementSibling) return words(cell.previousElementSibling.textContent);
    let node = element.previousSibling;
    while (node && !words(node.textContent)) node = node.previousSibling;
    return node ? words(node.textContent) : "";
  }};
  return controls.map(e => ({{
    name: e.getAttribute("name") || "", id: e.id, testid: e.dataset.testid || "", tag: e.tagName.toLowerCase(),
    type: e.tagName === "INPUT" ? e.type : "", readonly: e.readOnly === true || e.disabled,
    required: e.required || e.getAttribute("aria-required") === "true",
    label: label(e), before: before(e), hint: words(e.placeholder || e.title),
    options: e.tagName === "SELECT" ? [...e.options].map(option => words(option.label)) : [],
    form: [...document.forms].indexOf(e.form), unseen: e.style.display === "none",
  }}));
}}"""
_GROUP = """radios => {
  let group = radios[0].closest("fieldset, [role=radiogroup], [role=group]");
  if (!group || !radios.every(e => group.contains(e)))
    for (group = radios[0].parentElement; !radios.every(e => group.contains(e));) group = group.parentElement;
  return group;
}"""
_GROUP_SAID = f"""group => {{
  const label = {LABEL};
  const words = text => (text || "").replace(/\\s+/g, " ").trim();
  const legend = group.tagName === "FIELDSET" && group.querySelector(":scope > legend");
  let node = group.closest("td, dd") || group;
  while (node && !(node.previousSibling && words(node.previousSibling.textContent)) && node.tagName !== "FORM")
    node = node.previousSibling || node.parentElement;
  return {{
    role: group.tagName === "FIELDSET" ? "group" : group.getAttribute("role") || "",
    label: label(group) || (legend ? words(legend.textContent) : ""), id: group.id,
    before: node && node.previousSibling ? words(node.previousSibling.textContent) : "",
  }};
}}"""
_CLICKABLE = """all => all.map(e => ({
  role: e.tagName === "A" || e.getAttribute("role") === "link" ? "link" : "button",
  name: (e.getAttribute("aria-label") || (e.tagName === "INPUT" ? e.value : e.textContent))
    .replace(/\\s+/g, " ").trim(),
  path: e.tagName === "A" ? e.pathname : "", form: e.form ? [...document.forms].indexOf(e.form) : -1,
  sends: ["submit", "image"].includes(e.type),
  id: e.id, attribute: e.getAttribute("name") || "", value: e.getAttribute("value") || "",
}))"""
_PAIRS = """() => [...document.querySelectorAll("th + td, dt + dd")].map(e => [e.previousElementSibling, e])
  .map(pair => pair.map(e => e.textContent.replace(/\\s+/g, " ").trim()))"""
_HOLDING = """text => {
  const has = node => node.textContent.includes(text);
  let found = has(document.body) ? document.body : null;
  for (let inner = found; inner; inner = [...inner.children].find(has)) found = inner;
  return found;
}"""
_TABLES = """() => [...document.querySelectorAll("table")].map(table => {
  const words = e => e.textContent.replace(/\\s+/g, " ").trim();
  const rows = [...table.rows].map(row => [...row.cells]);
  const head = rows.find(cells => cells.length > 1 && cells.every(cell => cell.tagName === "TH")) || [];
  const data = rows.filter(cells => cells !== head && cells.length === head.length);
  return [head.map(words), data.slice(0, 50).map(cells => cells.map(words))];
})"""
_SAME = "([one, other]) => one === other"
_CANON = {
    "no": "number", "nr": "number", "num": "number", "qty": "quantity", "pieces": "quantity", "amt": "amount",
    "usd": "amount", "eur": "amount", "first": "1", "second": "2", "third": "3", "labor": "labour", "hrs": "hours",
    "program": "programme", "dlr": "dealer", "inv": "invoice", "ro": "repairorder", "op": "operation",
    "tech": "technician",
}  # fmt: skip
_SAYS_NOTHING = frozenset(
    {"number", "code", "id", "the", "of", "in", "required", "optional", "please", "enter", "mm", "dd", "yyyy", "miles"}
)
"""Beside a wording, these change nothing: an address line is no line, but a line number is one."""
_SIGN_OUT = ("sign out", "log out", "logout", "sign off", "log off", "abmelden")
_SENDS = frozenset({"submit", "send", "file", "transmit", "absenden", "senden"})
_GOES_ON = frozenset({"next", "continue", "proceed", "forward", "weiter", "on"})
_KEEPS = frozenset({"draft", "save", "later", "cancel", "reset", "back", "validate", "check", "delete", "print"})
_DEALER = ("dealer", "dealer code", "dealer number", "dealer id", "dealership", "dealership code")
_REFERENCE = re.compile(
    r"\b(claim|reference|confirmation|transaction|rma|case|report)\b.*\b(no|number|id|code)\b", re.I
)
_SENT = frozenset({"sent", "submitted", "filed", "received", "created", "submission"})
_DECISION = frozenset({"status", "decision", "disposition", "state", "result"})
_TIMES = (
    "%m/%d/%Y %I:%M %p", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%d.%m.%Y %H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S",
    "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y-%m-%d",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """A field of the claim, and what is known of how portals call it."""

    name: str
    wordings: tuple[str, ...]
    """Labels that it may have."""
    choices: Mapping[str, str]
    """Of a select: the claim's value, and the guess at the option's text."""
    critical: bool
    sensitivity: str


@dataclass(frozen=True)
class Seen:
    """A control of a recorded page."""

    handle: ElementHandle = field(repr=False)
    said: Mapping[str, Any]
    radios: tuple[Seen, ...] = ()
    """Of a group of radio buttons, those; the handle is what holds them all."""

    def __getitem__(self, key: str) -> Any:
        return self.said[key]

    @property
    def words(self) -> str:
        """What a person would call it."""
        return str(self["label"] or self["hint"] or self["before"] or self["name"] or self["id"] or self["tag"])


@dataclass
class FormStep:
    """One page of the form."""

    fields: tuple[str, ...] = ()
    """The claim's fields that go there."""
    takes_files: bool = False
    scope: str = ""
    """The CSS of the form; empty when the controls are in none."""
    button: str = ""
    """Of the button that leads on or, on the last page, files the claim."""
    contract: Contract | None = None
    shows: dict[str, str] = field(default_factory=dict)
    """The CSS of what repeats fields of earlier pages."""
    left: list[tuple[str, dict[str, Any] | None]] = field(default_factory=list)
    """Controls that no field goes to: what they are called, and how they are found."""


@dataclass
class Recognised:
    """What is known, by place in the pack, and what is known where nothing could be said."""

    said: dict[Place, Any] = field(default_factory=dict)
    steps: list[FormStep] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    """What the portal does that a pack or a plain simulated portal can't have from pages alone, a sentence each."""
    hints: dict[Place, str] = field(default_factory=dict)
    """By the place, or one that the place is below of."""
    controls: dict[str, str] = field(default_factory=dict)
    """The CSS of each matched control of the form, by the claim's field; `dealer`, too, if it is a control."""
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Texts of the options of each matched select, and of each matched group of radio buttons."""
    radios: dict[str, dict[str, str]] = field(default_factory=dict)
    """The CSS of each radio button, by the claim's field and by its text."""
    words: set[str] = field(default_factory=set)
    """What the pack says in its CSS."""
    labels: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    css: dict[str, str] = field(default_factory=dict)
    """Elements that `redrawing` has to find again: `dealer`, `login`, `reference`, `box`."""
    login_names: tuple[str, str] | None = None
    """Under which the log-in sends user and password."""
    dealer_on: int = 0
    """The number of the form's page that shows the dealer code, from zero."""
    paths: dict[str, str] = field(default_factory=dict)
    """Where pages are: `start`, `login`, `form`, `submit`, `list`; `step1` … is where the form's pages are sent."""


def recognise(
    pages: Mapping[PageKind, RecordedPage], further: Sequence[RecordedPage], around: Sequence[RecordedPage],
    typed: Collection[str], claim_type: str, wanted: Sequence[Wanted], search: str, listed: Sequence[str],
    closed: ClosedPage, reference: str | None,
) -> Recognised:  # fmt: skip
    """What the pages say.

    `further` are the form's pages behind the first, `around` are pages that hold links only; `typed` was typed on the
    way, and `reference` is the number of the confirmation.
    """
    known = Recognised()
    form: Place = ("forms", claim_type)
    if page := pages.get("login"):
        _login(_View(closed, page), known)
    views = []
    for kind in ("form", "confirmation", "refusal", "history"):
        if (page := pages.get(kind)) is None:
            continue
        if kind == "form":
            views += _form([page, *further], closed, typed, known, form, wanted)
            continue
        views.append(view := _View(closed, page))
        match kind:
            case "confirmation":
                _confirmation(view, known, form, reference)
            case "refusal":
                _refusal(view, known, form)
            case _:
                _history(view, known, form, wanted, search, listed)
    views += [_View(closed, page) for page in around]
    _links(views, pages, known, form)
    _by_script(pages, further, known, form)
    return known


class _View:
    """A recorded page, shown."""

    def __init__(self, closed: ClosedPage, page: RecordedPage) -> None:
        self.page = page
        self.frame: Frame = closed.show(page.html)
        where = list(self.frame.query_selector_all("input, select, textarea"))
        said = self.frame.evaluate(_CONTROLS, where)
        silent = ("button", "submit", "reset", "image")
        both = [Seen(handle, one) for handle, one in zip(where, said, strict=True) if one["type"] not in silent]
        self.controls = self._grouped([one for one in both if one["type"] != "hidden"])
        handles = self.frame.query_selector_all(
            "a[href], button, input[type=submit], input[type=button], [role=button]"
        )
        clickable = zip(handles, self.frame.evaluate(_CLICKABLE, handles), strict=True)
        self.clickable = [Seen(handle, one) for handle, one in clickable]

    def _grouped(self, controls: list[Seen]) -> list[Seen]:
        """Radio buttons of one name as one control, which chooses among their labels."""
        groups: dict[tuple[int, str], list[Seen]] = {}
        for one in controls:
            if one["type"] == "radio":
                groups.setdefault((one["form"], one["name"]), []).append(one)
        made: list[Seen] = []
        for one in controls:
            radios = groups.get((one["form"], one["name"]), []) if one["type"] == "radio" else []
            if radios and one is radios[0]:
                group = self.frame.evaluate_handle(_GROUP, [radio.handle for radio in radios]).as_element()
                assert group is not None
                said = self.frame.evaluate(_GROUP_SAID, group)
                labels = [radio["label"] for radio in radios]
                made.append(Seen(group, {**one.said, "hint": "", **said, "options": labels}, tuple(radios)))
            elif not radios:
                made.append(one)
        return made

    def only(self, locator: Mapping[str, Any], handle: ElementHandle) -> bool:
        """Whether it hits this element, and no other."""
        names = [locator.get(key) for key in ("label", "name", "beside", "text", "testid")]
        if any(isinstance(name, str) and (not name.isprintable() or len(name) > _MOST) for name in names):
            return False
        hit = look_up(self.frame, _LOCATOR.validate_python(dict(locator))).element_handles()
        return len(hit) == 1 and bool(self.frame.evaluate(_SAME, [hit[0], handle]))

    def css(self, handle: ElementHandle) -> str:
        return str(handle.evaluate(PATH))

    def find(self, seen: Seen) -> dict[str, Any] | None:
        """The best locator of a control that is no CSS, or None."""
        if seen.radios:
            return self._find_group(seen)
        roles = {"select": "combobox", "checkbox": "checkbox", "radio": "radio"}
        role = roles.get(seen["tag"]) or roles.get(seen["type"]) or "textbox"
        ways: list[dict[str, Any]] = [{"label": seen["label"]}] if seen["label"] else []
        ways += [{"role": role, "name": seen["hint"]}] if seen["hint"] else []
        ways += [{"testid": seen["testid"]}] if seen["testid"] else []
        ways += [{"role": role, "within": {"beside": seen["before"]}}] if 0 < len(seen["before"]) <= _MOST else []
        return next((way for way in ways if self.only(way, seen.handle)), None)

    def _find_group(self, seen: Seen) -> dict[str, Any] | None:
        ways: list[dict[str, Any]] = [{"role": seen["role"], "name": seen["label"]}] if seen["role"] else []
        ways += [{"beside": seen["before"]}] if 0 < len(seen["before"]) <= _MOST else []
        return next((way for way in ways if self.only(way, seen.handle)), None)

    def find_radios(self, seen: Seen, group: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
        """How each radio button of the group is found, by its label; None unless all are."""
        found: dict[str, dict[str, Any]] = {}
        for one in seen.radios:
            ways: list[dict[str, Any]] = [{"label": one["label"]}, {"label": one["label"], "within": dict(group)}]
            where = next((way for way in ways if one["label"] and self.only(way, one.handle)), None)
            if where is None or one["label"] in found:
                return None
            found[one["label"]] = where
        return found

    def by_css(self, seen: Seen, attribute: str, because: str = "") -> dict[str, Any] | None:
        """By what the form sends it as, by its id, or by its place. `because` says it better, if it is given."""
        plain = re.compile(r"[\w.:\[\]-]+")
        sends = f'form [name="{attribute}"]' if plain.fullmatch(attribute) else ""
        ways = {sends: "the name that the form sends, in case labels are swapped"} if sends else {}
        if sends and plain.fullmatch(seen.said.get("value", "")):
            ways[f'{sends}[value="{seen["value"]}"]'] = "the name and the value that this button sends"
        if re.fullmatch(r"[A-Za-z_-]+", seen["id"]):
            ways[f"#{seen['id']}"] = "the id is the only other thing that names it"
        ways[self.css(seen.handle)] = "its place on the page is the only other thing that tells it"
        made = ({"css": way, "because": because or why} for way, why in ways.items() if len(way) <= _MOST)
        return next((way for way in made if self.only(way, seen.handle)), None)

    def headings(self, numbered: bool = False) -> list[str]:
        """The headings that name one thing of this page each; one with a number in it is another the next time.

        `numbered`: a single digit, as in "Step 2", is none.
        """
        number, found = r"\d\d" if numbered else r"\d", []
        for handle in self.frame.query_selector_all(":is(h1, h2, h3, h4)"):
            name = " ".join(handle.inner_text().split())
            if name and not re.search(number, name) and self.only({"role": "heading", "name": name}, handle):
                found.append((handle.evaluate("element => element.tagName"), name))
        return [name for _, name in sorted(found, key=lambda one: str(one[0]))]

    def heading(self) -> str | None:
        """The first of its headings."""
        return next(iter(self.headings()), None)

    def current_step(self) -> str | None:
        """The text of the step that the page says it is at."""
        said = self.frame.query_selector_all("[aria-current=step]")
        text = " ".join(said[0].inner_text().split()) if len(said) == 1 else ""
        return text if text and text.isprintable() and not re.search("['\"\\\\]", text) else None


# --- words ---


def _tokens(text: str) -> frozenset[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " ", text)
    said = re.sub(r"\b(repair order|ro)\b", "ro", re.sub(r"[\W_]+", " ", apart).casefold()).split()
    return frozenset(_CANON.get(word, word) for word in said)


def _strength(said: Mapping[str, Any], wordings: Collection[frozenset[str]]) -> int:
    """How surely a thing is called so; 0 not at all."""
    label = _tokens(said["label"] or said.get("hint") or said.get("before") or "")
    if label in wordings:
        return 4
    if any(_tokens(said[key]) in wordings for key in ("name", "id", "testid") if said.get(key)):
        return 3
    near = any(wording and wording < label and label - wording <= _SAYS_NOTHING for wording in wordings)
    return 1 if near else 0


def matched(wanted: Mapping[str, Sequence[str]], things: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """By name, the place of the thing that is called so: each is the other's best, and no other is as good."""
    sets = {name: [_tokens(text) for text in (*wordings, name)] for name, wordings in wanted.items()}
    table = {(name, at): _strength(one, sets[name]) for name in wanted for at, one in enumerate(things)}
    found = {}
    for name in wanted:
        best = max((table[name, at] for at in range(len(things))), default=0)
        places = [at for at in range(len(things)) if table[name, at] == best]
        if best and len(places) == 1:
            rivals = [other for other in wanted if other != name and table[other, places[0]] >= best]
            if not rivals:
                found[name] = places[0]
    return found


def _matched(wanted: Mapping[str, Sequence[str]], controls: Sequence[Seen]) -> dict[str, Seen]:
    return {name: controls[at] for name, at in matched(wanted, [one.said for one in controls]).items()}


def _named(texts: Iterator[str] | Sequence[str], what: str) -> str:
    """A hint: what there is."""
    names = [f"'{text[:60]}'" for text in dict.fromkeys(texts) if text and text.isprintable()]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what}: {', '.join(names[:_SHOWN])}{more}" if names else f"{what}: none"


def _button(view: _View, form: int) -> Seen | None:
    """The one button that sends the form: the only one, or the only one whose words say so."""
    sending = [one for one in view.clickable if one["form"] == form and one["sends"]]
    plain = [one for one in sending if _tokens(one["name"]) & _SENDS and not _tokens(one["name"]) & _KEEPS]
    chosen = sending if len(sending) == 1 else plain
    return chosen[0] if len(chosen) == 1 and chosen[0]["name"] else None


def _said_of(seen: Seen) -> dict[str, Any]:
    return {"role": seen["role"], "name": seen["name"]}


# --- pages ---


def _login(view: _View, known: Recognised) -> None:
    secret = [one for one in view.controls if one["type"] == "password"]
    if len(secret) != 1:
        known.hints["login",] = _named([one.words for one in view.controls], "the log-in page has the controls")
        return
    beside = [one for one in view.controls if one["form"] == secret[0]["form"] and one["type"] in ("text", "email")]
    because = "the log-in page gives this control no label"
    for key, found in (("user", beside), ("password", secret)):
        where = (view.find(found[0]) or view.by_css(found[0], found[0]["name"], because)) if len(found) == 1 else None
        if where is not None:
            known.said["login", key] = where
        else:
            known.hints["login", key] = _named([one.words for one in beside], "the log-in page has the controls")
    if len(beside) == 1:
        known.login_names = (beside[0]["name"], secret[0]["name"])
    if secret[0]["form"] >= 0:
        known.css["login"] = view.css(view.frame.query_selector_all("form")[secret[0]["form"]])
        action = view.frame.query_selector_all("form")[secret[0]["form"]].get_attribute("action")
        known.paths["login"] = _path(action, view.page) or ""
    button = _button(view, secret[0]["form"])
    if button is not None and view.only(_said_of(button), button.handle):
        known.said["login", "go"] = _said_of(button)
    else:
        known.said["login", "go"] = None
        known.hints["login", "go"] = _named([one["name"] for one in view.clickable], "the log-in page has the buttons")
    if view.page.path is not None:
        known.said["login", "path"] = known.paths["start"] = view.page.path


def _path(action: str | None, page: RecordedPage) -> str | None:
    """Where a form goes, without query; None when nobody knows."""
    if not action:
        return page.path
    if re.match(r"https?://", action) or action.startswith("/"):
        return urlsplit(action).path or "/"
    return page.path.rpartition("/")[0] + "/" + urlsplit(action).path if page.path else None


def _form(
    pages: Sequence[RecordedPage], closed: ClosedPage, typed: Collection[str], known: Recognised, form: Place,
    wanted: Sequence[Wanted],
) -> list[_View]:  # fmt: skip
    """The form's pages, in their order: what is on which, and how one gets from each to the next."""
    seen, told = [], []
    for page in pages:  # one after the other: there is one closed page
        seen.append(view := _View(closed, page))
        told.append((view.headings(numbered=len(pages) > 1), view.current_step()))
    found = _spread(seen, wanted)
    markers = _markers(told)
    for at, page in enumerate(pages):
        place: Place = (*form, "pages", at)
        view, step = _View(closed, page), FormStep()  # anew: what was shown before is gone
        known.steps.append(step)
        here = {name: view.controls[control] for name, (where, control) in found.items() if where == at}
        step.fields = tuple(one.name for one in wanted if one.name in here)
        if (marker := markers[at]) is not None:
            known.said[*place, "marker"] = marker
            known.words |= {str(told[at][1])} if "css" in marker else set()
        _controls(view, known, form, at, here, wanted)
        if len(pages) > 1:
            known.said[*place, "name"] = f"step_{at + 1}"
            known.said[*form, "dealer_page"] = f"step_{known.dealer_on + 1}"
        _sent(view, known, form, at, wanted, pages[at + 1].came_by if at + 1 < len(pages) else None)
        _files(view, known, (*place, "attachments"), step)
        _repeated(view, known, place, step, typed)
    return seen


def _form_on(view: _View) -> int:
    """The number of the form with the most controls, or with the button that goes on; -1 when there is none."""
    counts = {one["form"]: sum(other["form"] == one["form"] for other in view.controls) for one in view.controls}
    if counts:
        return max(counts, key=lambda at: (at >= 0, counts[at]))
    going = {one["form"] for one in view.clickable if one["sends"] and _tokens(one["name"]) & (_SENDS | _GOES_ON)}
    return int(going.pop()) if len(going) == 1 else -1


def _spread(views: Sequence[_View], wanted: Sequence[Wanted]) -> dict[str, tuple[int, int]]:
    """By field, its page and the number of its control there. What one page hides and another shows is the other's."""
    shown = {(one["name"], one["id"]) for view in views for one in view.controls if not one["unseen"]}
    places = [
        (page, at)
        for page, view in enumerate(views)
        for at, one in enumerate(view.controls)
        if one["form"] == _form_on(view) and one["type"] != "file"
        and not (len(views) > 1 and one["unseen"] and (one["name"], one["id"]) in shown)
    ]  # fmt: skip
    found: dict[str, tuple[int, int]] = {}
    for readonly in (False, True):  # what the page fills in by itself is a field only where no other control is
        wordings = {one.name: one.wordings for one in wanted if one.name not in found}
        these = [(page, at) for page, at in places if views[page].controls[at]["readonly"] == readonly]
        said = [views[page].controls[at].said for page, at in these]
        found |= {name: these[number] for name, number in matched(wordings, said).items()}
    return found


def _markers(told: Sequence[tuple[list[str], str | None]]) -> list[dict[str, Any] | None]:
    """What is visible on each page; of several pages, on that alone, or nobody could tell when the next is there.

    `told` are each page's headings, and the step that it says it is at.
    """
    made: list[dict[str, Any] | None] = []
    for at, (own, step) in enumerate(told):
        others = [other for number, other in enumerate(told) if number != at]
        elsewhere = {name for names, _ in others for name in names}
        alone = next((name for name in own if name not in elsewhere), None)
        by_step = {
            "css": f"[aria-current=step]:text-is('{step}')",
            "because": "the page lists all steps, and only this attribute tells which one is current",
        }
        if alone is None and (step is None or step in [other for _, other in others]):
            made.append(None)
        else:
            made.append({"role": "heading", "name": alone} if alone else by_step)
    return made


def _controls(
    view: _View, known: Recognised, form: Place, at: int, found: Mapping[str, Seen], wanted: Sequence[Wanted]
) -> None:  # fmt: skip
    """The fields of one page, the dealer code, and the controls that are left."""
    place: Place = (*form, "pages", at)
    number = _form_on(view)
    controls = [one for one in view.controls if one["form"] == number and one["type"] != "file"]
    for one in wanted:
        _field(view, known, (*place, "fields", one.name), one, found.get(one.name))
    taken = {id(seen) for seen in found.values()}
    if (*form, "dealer") not in known.said:
        _dealer(view, known, form, [one for one in controls if id(one) not in taken], taken)
        known.dealer_on = at if (*form, "dealer") in known.said else 0
    spare = [one for one in controls if id(one) not in taken and not one["unseen"] and not one["readonly"]]
    known.steps[at].left = [(_of_a_spare(one), view.find(one)) for one in spare]
    if spare or len(found) < len(wanted):
        known.hints[*place, "fields"] = _named([one.words for one in spare], "controls of the page that are left")


def _repeated(view: _View, known: Recognised, place: Place, step: FormStep, typed: Collection[str]) -> None:
    """Fields of earlier pages that this one repeats, beside the same captions, and as they were put in."""
    earlier = {_tokens(known.labels[name]): name for one in known.steps[:-1] for name in one.fields
               if name in known.labels}  # fmt: skip
    shows: dict[str, Any] = {}
    for caption, value in view.frame.evaluate(_PAIRS):
        name = earlier.get(_tokens(caption))
        if name is None or not (value in typed or value in known.options.get(name, ())):
            continue
        hit = look_up(view.frame, _LOCATOR.validate_python({"beside": caption})).element_handles()
        if len(hit) == 1 and view.only({"beside": caption}, hit[0]):
            shows[name], step.shows[name] = {"beside": caption}, view.css(hit[0])
    if shows:
        known.said[*place, "shows"] = shows


def _of_a_spare(one: Seen) -> str:
    words = f"'{one.words[:80]}'" if one.words.isprintable() else "a control whose name can't be printed"
    return f"{words}{', required' if one['required'] else ''}"


def _field(view: _View, known: Recognised, place: Place, one: Wanted, seen: Seen | None) -> None:
    if seen is None:
        return
    where, witness = view.find(seen), view.by_css(seen, seen["name"])
    radios = view.find_radios(seen, where or witness or {}) if seen.radios else None
    if seen.radios and radios is None:
        known.hints[place] = f"not each radio button of the group '{seen['name']}' has a label of its own"
        return
    if where is None and (one.critical or witness is None):
        known.hints[place] = (
            f"the page has it as '{seen.words[:60]}', without a label: it needs a locator that is no css"
        )
        return
    known.said[*place, "find"] = where or {**(witness or {}), "because": "the page gives this control no label"}
    if one.critical:
        known.said[*place, "witness"] = witness
    known.said[*place, "kind"] = _kind(seen)
    if seen["readonly"]:
        known.said[*place, "computed"] = True
        known.trouble.append(f"the page fills in '{one.name}' by itself: give the simulated portal that script")
    if radios is not None:
        known.said[*place, "options"] = radios
        known.radios[one.name] = {radio["label"]: view.css(radio.handle) for radio in seen.radios}
    known.controls[one.name] = view.css(seen.handle)
    known.labels[one.name], known.names[one.name] = seen.words, seen["name"] or seen["id"]
    if seen["tag"] == "select" or seen.radios:
        known.options[one.name] = tuple(seen["options"])


def _kind(seen: Seen) -> str | None:
    """`PageField.kind`; None for a text."""
    return "radio" if seen.radios else "select" if seen["tag"] == "select" else (
        "check" if seen["type"] == "checkbox" else None
    )  # fmt: skip


def _dealer(view: _View, known: Recognised, form: Place, controls: list[Seen], taken: set[int]) -> None:
    """A control, or a text beside a caption."""
    seen = _matched({"dealer": _DEALER}, controls).get("dealer")
    if seen is not None:
        taken.add(id(seen))
        where, witness = view.find(seen), view.by_css(seen, seen["name"])
        known.controls["dealer"] = view.css(seen.handle)
    else:
        names = [caption for caption, _ in view.frame.evaluate(_PAIRS) if _tokens(caption) in map(_tokens, _DEALER)]
        where = {"beside": names[0]} if len(names) == 1 else None
        hit = look_up(view.frame, _LOCATOR.validate_python(where)).element_handles() if where else []
        witness = {"css": view.css(hit[0]), "because": "its place on the page"} if len(hit) == 1 else None
    if where is not None and witness is not None:
        known.said[*form, "dealer"] = {"find": where, "witness": witness}
        known.css["dealer"] = witness["css"]


def _sent(
    view: _View, known: Recognised, form: Place, at: int, wanted: Sequence[Wanted], way_on: str | None
) -> None:  # fmt: skip
    """The page's contract, and the click that files or, with `way_on` (the button's name, if it is known), leads on."""
    step, number = known.steps[at], _form_on(view)
    handle = view.frame.query_selector_all("form")[number] if number >= 0 else view.frame.query_selector("body")
    assert handle is not None
    ways = [
        {"css": "form", "because": "the page has only this form"},
        {"css": view.css(handle) or "body", "because": "the form of the claim, by its place"},
    ]
    scope = next(way for way in ways if view.only(way, handle))
    step.scope = scope["css"] if number >= 0 else ""
    path = _path(handle.get_attribute("action"), view.page) if number >= 0 else None
    _contract(view, known, step, scope, path, wanted)
    if view.page.path is not None and at == 0:
        known.paths["form"] = view.page.path
    if way_on is None:
        _files_the_claim(view, known, form, number, path)
    else:
        _leads_on(view, known, (*form, "pages", at), number, path, way_on)


def _contract(
    view: _View, known: Recognised, step: FormStep, scope: Mapping[str, Any], path: str | None, wanted: Sequence[Wanted]
) -> None:  # fmt: skip
    """What the page must look like, without the options of what may hold somebody's data."""
    secret = {known.names[one.name] for one in wanted if one.name in step.fields and one.name in known.names
              and one.sensitivity != "public"}  # fmt: skip
    own = {known.names.get(name) for name in step.fields}
    where = _LOCATOR.validate_python(scope)
    contract = contract_of(scan(look_up(view.frame, where)), where)
    controls = tuple(
        c.model_copy(update={"options": None}) if c.name in secret or c.name not in own else c
        for c in contract.controls
    )
    action = _escaped(path) if path and contract.action is not None else None
    step.contract = contract.model_copy(update={"controls": controls, "action": action})


def _files_the_claim(view: _View, known: Recognised, form: Place, number: int, path: str | None) -> None:
    button = _button(view, number)
    if button is None or not view.only(_said_of(button), button.handle):
        sending = [one["name"] for one in view.clickable if one["form"] == number]
        known.hints[*form, "submit", "button"] = _named(sending, "the form has the buttons")
    else:
        known.said[*form, "submit", "button", "find"] = _said_of(button)
        known.steps[-1].button = view.css(button.handle)
        usual = {"css": "form :is(button, input[type=submit])", "because": "the form has only this button"}
        if not view.only(usual, button.handle):
            usual = view.by_css(button, button["attribute"]) or usual
        known.said[*form, "submit", "button", "witness"] = usual
    if path and button is not None:
        goes = button.handle.get_attribute("formaction")
        known.paths["submit"] = (_path(goes, view.page) if goes else None) or path
        known.said[*form, "submit", "request", "path"] = _escaped(known.paths["submit"])
        same = [at for at in range(1, len(known.steps)) if known.paths.get(f"step{at}") == known.paths["submit"]]
        if same:
            known.trouble.append(
                f"page {same[0]} of the form is sent to {known.paths['submit']}, as the claim is: the submit gate stops"
                " it; see `submit.request.previews` for what tells them apart"
            )


def _leads_on(view: _View, known: Recognised, place: Place, number: int, path: str | None, clicked: str) -> None:
    buttons = [one for one in view.clickable if one["role"] == "button" and one["name"]]
    inside = [one for one in buttons if number < 0 or one["form"] in (number, -1)]
    called = [one for one in inside if one["name"] == clicked]
    plain = [one for one in inside if _tokens(one["name"]) & _GOES_ON and not _tokens(one["name"]) & _KEEPS]
    chosen = next((found[0] for found in (called, plain, inside) if len(found) == 1), None)
    if chosen is None or not view.only(_said_of(chosen), chosen.handle):
        known.hints[*place, "next"] = _named([one["name"] for one in inside], "the page has the buttons")
        return
    known.said[*place, "next"] = {"click": _said_of(chosen)}
    known.steps[-1].button = view.css(chosen.handle)
    if number < 0 <= chosen["form"]:
        path = _path(view.frame.query_selector_all("form")[chosen["form"]].get_attribute("action"), view.page)
    goes = chosen.handle.get_attribute("formaction")
    known.paths[f"step{len(known.steps)}"] = (_path(goes, view.page) if goes else None) or path or ""
    if not chosen["sends"]:
        known.trouble.append(
            f"page {len(known.steps)} of the form is left by a script: the simulated portal sends a plain form there"
        )


def _files(view: _View, known: Recognised, place: Place, step: FormStep) -> None:
    files = [one for one in view.controls if one["type"] == "file"]
    if len(files) == 1 and "files" not in known.labels:
        where = view.find(files[0]) or view.by_css(files[0], files[0]["name"], "the page gives this control no label")
        known.said[*place, 0, "find"] = where
        known.labels["files"] = files[0].words
        step.takes_files = True
        if files[0]["form"] < 0:
            known.trouble.append(
                "the control for files is in no form, so a script sends them: say in `attachments` by `row` and `shown`"
                " how the page lists what arrived, and give the simulated portal that script"
            )
    else:
        known.hints[place] = f"the page has {len(files)} controls for files"


def _confirmation(view: _View, known: Recognised, form: Place, reference: str | None) -> None:
    place: Place = (*form, "confirmation")
    pairs = [(caption, value) for caption, value in view.frame.evaluate(_PAIRS) if re.search(r"\d", value)]
    known.hints[*place, "reference"] = _named([caption for caption, _ in pairs], "numbers stand beside")
    if (heading := view.heading()) is not None:
        known.said[*place, "marker"] = {"role": "heading", "name": heading}
    if view.page.popup:
        known.said[*place, "where"] = "popup"
    found = view.frame.evaluate_handle(_HOLDING, reference).as_element() if reference else None
    if found is None or reference is None:
        if reference:
            known.hints[*place, "reference"] += f"; the page does not show '{reference}'"
        return
    known.css["reference"] = view.css(found)
    known.said[*place, "reference", "witness"] = {"css": known.css["reference"], "because": "its place on the page"}
    caption = next((caption for caption, value in pairs if reference in value), "")
    ways: list[dict[str, Any]] = [{"beside": caption}] if caption else []
    ways += [{"role": role} for role in ("status", "alert")]
    testid = found.get_attribute("data-testid")
    ways += [{"testid": testid}] if testid else []
    if (where := next((way for way in ways if view.only(way, found)), None)) is not None:
        known.said[*place, "reference", "find"] = where
        known.labels["number"] = caption
    known.said[*place, "reference", "pattern"] = pattern_of(reference)


def pattern_of(reference: str) -> str:
    """Numbers that are written as this one is: letters before the first digit stay, digits vary.

    `E26/0004217` gives `\\b(?P<reference>E\\d{2}/\\d{7})\\b`.
    """
    made, begun = "", False
    for run in re.findall(r"\d+|[A-Z]+|[a-z]+|.", reference):
        if run.isdigit():
            made, begun = f"{made}\\d{{{len(run)}}}", True
        elif run.isalpha() and run.isascii() and begun:
            made += f"[{'A-Z' if run.isupper() else 'a-z'}]{{{len(run)}}}"
        else:
            made += _escaped(run)
    left = r"\b" if reference[:1].isalnum() else ""
    right = r"\b" if reference[-1:].isalnum() else ""
    return f"{left}(?P<reference>{made}){right}"


def _escaped(text: str) -> str:
    """For re2; as a person would write it."""
    return re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text)


def candidates(page: RecordedPage, closed: ClosedPage) -> list[tuple[str, str]]:
    """Captions of a confirmation, and the values with a number beside them; those that sound like a reference first."""
    pairs = [
        (caption, value) for caption, value in _View(closed, page).frame.evaluate(_PAIRS) if re.search(r"\d", value)
    ]
    return sorted(pairs, key=lambda pair: _REFERENCE.search(pair[0]) is None)


def _refusal(view: _View, known: Recognised, form: Place) -> None:
    place: Place = (*form, "refusals", 0)
    box = view.frame.query_selector_all("[role=alert]")
    if len(box) != 1:
        classes = view.frame.query_selector_all(":is([class*=error], [class*=alert], [class*=invalid])")
        box = [one for one in classes if one.inner_text().strip()]
        name = re.search(r"[\w-]*(?:error|alert|invalid)[\w-]*", (box[0].get_attribute("class") or "") if box else "")
        where = {"css": f".{name[0]}", "because": "the box of errors has no role"} if name and len(box) == 1 else None
        if where is None or not view.only(where, box[0]):
            known.hints[place] = _named([one.inner_text() for one in box], "boxes that may say the error")
            return
        known.said[*place, "box"] = where
    known.css["box"] = view.css(box[0])
    if (heading := view.heading()) is not None:
        known.said[*place, "marker"] = {"role": "heading", "name": heading}
    said = " ".join(box[0].inner_text().split())
    words = sorted(re.split(r"\S*\d\S*|'[^']*'|\"[^\"]*\"|[:;.]", said), key=len)[-1].strip()
    if words and words.isprintable() and len(words) <= _MOST:
        known.said[*place, "rejections", 1, "text"] = words


def _history(
    view: _View, known: Recognised, form: Place, wanted: Sequence[Wanted], search: str, listed: Sequence[str]
) -> None:  # fmt: skip
    place: Place = (*form, "history")
    if (heading := view.heading()) is not None:
        known.said[*place, "marker"] = {"role": "heading", "name": heading}
    known.paths["list"] = view.page.path or ""
    wordings = {one.name: one.wordings for one in wanted}
    wordings[search] = (*wordings[search], *filter(None, [known.labels.get(search)]))
    filters = [one for one in view.controls if one["type"] in ("text", "search")]
    seen = _matched({search: wordings[search]}, filters).get(search)
    if seen is not None and (where := view.find(seen)) is not None:
        known.said[*place, "search", search] = where
        known.labels["wanted"] = seen.words
        button = _button(view, seen["form"]) or None
        known.said[*place, "go"] = _said_of(button) if button else None
        known.hints[*place, "go"] = _named([one["name"] for one in view.clickable], "the page has the buttons")
    else:
        known.hints[*place, "search"] = _named([one.words for one in filters], "the list's page has the controls")
    links = [one["name"] for one in view.clickable if one["role"] == "link"]
    known.hints[*place, "next"] = _named(links, "the page has the links")
    tables = [(head, rows) for head, rows in view.frame.evaluate(_TABLES) if head]
    if len(tables) != 1 or len(view.frame.query_selector_all("table")) != 1:
        known.said[*place, "table"] = None
        known.hints[*place, "table"] = f"the page has {len(tables)} tables with headings"
        return
    _columns(*tables[0], known, place, {name: wordings[name] for name in listed})


def _columns(
    head: list[str], rows: list[list[str]], known: Recognised, place: Place, wordings: Mapping[str, Sequence[str]]
) -> None:  # fmt: skip
    wanted = {name: (*said, *filter(None, [known.labels.get(name)])) for name, said in wordings.items()}
    for name, at in matched(wanted, [{"label": text} for text in head]).items():
        known.said[*place, "key", name] = head[at]
    hint = _named(head, "the columns are")
    known.hints[*place, "key"] = known.hints[*place, "reference"] = known.hints[*place, "listing"] = hint
    number = known.labels.get("number")
    called = [text for text in head if text == number] or [text for text in head if _REFERENCE.search(text)]
    if len(called) == 1:
        known.said[*place, "reference"] = called[0]
    timed = [(text, form) for at, text in enumerate(head) if (form := _time_format([row[at] for row in rows]))]
    sent = [pair for pair in timed if _tokens(pair[0]) & _SENT]
    if len(sent) == 1:
        known.said[*place, "listing", "submitted", "heading"] = sent[0][0]
        known.said[*place, "listing", "submitted", "format"] = sent[0][1]
    decision = [text for text in head if _tokens(text) & _DECISION]
    if len(decision) == 1:
        known.said[*place, "listing", "decisions", "heading"] = decision[0]


def _time_format(cells: Sequence[str]) -> str | None:
    """The one format in which all of them are times; None when there is none, or more than one."""
    fitting = [form for form in _TIMES if cells and all(_is_time(cell, form) for cell in cells)]
    return fitting[0] if len(fitting) == 1 else None


def _is_time(cell: str, form: str) -> bool:
    try:
        datetime.strptime(cell, form)  # noqa: DTZ007 - only whether it can be read
    except ValueError:
        return False
    return True


def _links(views: Sequence[_View], pages: Mapping[PageKind, RecordedPage], known: Recognised, form: Place) -> None:
    """The way to the form and to the list, and the way out."""
    links = {
        one["name"]: one["path"] for view in views for one in view.clickable if one["role"] == "link" and one["name"]
    }
    hint = _named(list(links), "the pages have the links")
    places: dict[PageKind, list[Place]] = {
        "form": [(*form, "open", 0, "click")],
        "history": [(*form, "history", "open", 0, "click"), (*form, "history", "listing", "open", 1, "click")],
    }
    for kind, where in places.items():
        heading = known.said.get((*form, *(("pages", 0) if kind == "form" else ("history",)), "marker"), {}).get("name")
        name = _link_to(pages.get(kind), heading, links)
        for place in where:
            known.hints[place] = hint
            if name is not None:
                known.said[place] = {"role": "link", "name": name}
    out = [one for view in views for one in view.clickable if one["name"].casefold() in _SIGN_OUT]
    ways = {(one["role"], one["name"]) for one in out}
    said = dict(zip(("role", "name"), ways.pop(), strict=True)) if len(ways) == 1 else None
    home = [name for name in links if name.casefold() in ("home", "start", "dashboard", "overview", "main menu")]
    for place, value in (
        (("login", "signed_in"), said),
        (("login", "sign_out"), said),
        (
            (*form, "history", "listing", "open", 0, "click"),
            {"role": "link", "name": home[0]} if len(home) == 1 else None,
        ),
    ):
        known.said[place], known.hints[place] = value, hint


def _by_script(
    pages: Mapping[PageKind, RecordedPage], further: Sequence[RecordedPage], known: Recognised, form: Place
) -> None:  # fmt: skip
    """What a script sends, where no form says it: as it was seen on the wire."""
    confirmation, last = pages.get("confirmation"), known.steps[-1] if known.steps else None
    sends = last is not None and last.contract is not None and last.contract.action is not None
    if last is None or sends:
        return
    if confirmation is not None and confirmation.sent is not None:
        method, path = confirmation.sent
        known.said[*form, "submit", "request", "path"] = _escaped(path)
        known.said[*form, "submit", "request", "method"] = method
    known.trouble.append(
        "the claim is sent by a script, and no form says where to: check `submit.request` against the browser's network"
        " panel, set `confirmation.in_process` if the answer takes its time, and give the simulated portal that script:"
        " it has plain forms"
    )


def _link_to(page: RecordedPage | None, heading: str | None, links: Mapping[str, str]) -> str | None:
    """The link that was clicked, or the only one that leads to the page, or that is called as the page is."""
    if page is None:
        return None
    if page.came_by in links:
        return page.came_by
    leading = [name for name, path in links.items() if page.path is not None and path == page.path]
    called = [name for name in links if name == heading]
    return next((found[0] for found in (called, leading) if len(found) == 1), None)


Clean = Callable[[str], bool]


def without(known: Recognised, typed: Clean) -> None:
    """Take out what holds something that was typed, or characters that don't show: nothing of it may be written."""

    def holds(text: str) -> bool:
        return typed(text) or not text.replace("\n", "").isprintable()

    for place, value in list(known.said.items()):
        if any(holds(text) for text in _texts(value)):
            known.said[place] = None
    for place, hint in list(known.hints.items()):
        if holds(hint):
            known.hints[place] = "what the page has there can't be told here, since it holds what was typed"
    known.labels = {name: text for name, text in known.labels.items() if not holds(text)}
    known.options = {name: found for name, found in known.options.items() if not any(map(holds, found))}
    known.radios = {name: found for name, found in known.radios.items() if name in known.options}
    known.words = {text for text in known.words if not holds(text)}
    for step in known.steps:
        step.left = [one for one in step.left if not any(holds(text) for text in _texts(list(one)))]
        if step.contract is not None:
            step.contract = _contract_without(step.contract, holds)


def _contract_without(contract: Contract, holds: Clean) -> Contract | None:
    if any(holds(one.name) for one in contract.controls):
        return None
    controls = [
        one.model_copy(update={"options": None if any(map(holds, one.options or ())) else one.options,
                               "label": None if holds(one.label or "") else one.label})
        for one in contract.controls
    ]  # fmt: skip
    aria = None if holds(contract.aria or "") else contract.aria
    return contract.model_copy(update={"controls": tuple(controls), "aria": aria})


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _texts(inner)
        case list() | tuple():
            for inner in value:
                yield from _texts(inner)
