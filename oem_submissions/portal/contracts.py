"""Whether a page is the one that its contract describes: form fingerprint and aria lines, differences in words.

The fingerprint sees what no reader sees: hidden inputs, where the form goes. The aria lines see what stands there to
read. What a page shows is read by `scan`; comparing is pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import re2
from playwright.sync_api import Locator as Found

from oem_submissions.domain.contracts import Change, Severity
from oem_submissions.portal import aria
from oem_submissions.portal.locators import Locator
from oem_submissions.portal.schema import Contract, Control, Form, FormPage

LABEL = """element => {
  const words = text => (text || "").replace(/\\s+/g, " ").trim();
  const own = node => {
    const copy = node.cloneNode(true);
    copy.querySelectorAll("input, select, textarea, button, script, style").forEach(inner => inner.remove());
    return words(copy.textContent);
  };
  if (element.labels && element.labels.length) return own(element.labels[0]);
  const ids = (element.getAttribute("aria-labelledby") || "").split(/\\s+/).filter(Boolean);
  const named = ids.map(id => element.ownerDocument.getElementById(id)).filter(Boolean);
  return named.length ? words(named.map(own).join(" ")) : words(element.getAttribute("aria-label"));
}"""
"""A control's label. Its text, not what CSS makes of it."""
_SCAN = f"""(scope) => {{
  const label = {LABEL};
  const silent = ["button", "submit", "reset", "image"];
  const all = scope.tagName === "FORM" ? [...scope.elements] : [...scope.querySelectorAll("input, select, textarea")];
  const words = text => (text || "").replace(/\\s+/g, " ").trim();
  return {{
    method: scope.tagName === "FORM" ? scope.method.toUpperCase() : null,
    addressed: scope.tagName === "FORM" && scope.hasAttribute("action"),
    action: scope.tagName === "FORM" ? new URL(scope.getAttribute("action") || "", document.baseURI).href : null,
    controls: all
      .filter(e => ["INPUT", "SELECT", "TEXTAREA"].includes(e.tagName) && !silent.includes(e.type))
      .map(e => ({{
        name: e.getAttribute("name") || e.id || e.dataset.testid || "",
        tag: e.tagName.toLowerCase(),
        type: e.tagName === "INPUT" ? e.type : "",
        required: e.required || e.getAttribute("aria-required") === "true",
        label: label(e),
        maxlength: e.maxLength > 0 ? e.maxLength : null,
        options: e.tagName === "SELECT" ? [...e.options].map(option => words(option.label)) : null,
      }})),
  }};
}}"""
_NAMES_IN_CSS = re.compile(r"""\[name=['"]?([\w.-]+)|#([\w-]+)""")


@dataclass(frozen=True)
class SeenControl:
    """A control as it is on the page now."""

    name: str
    tag: str
    type: str
    required: bool
    label: str
    maxlength: int | None
    """Characters; None without a limit."""
    options: tuple[str, ...] | None
    """Labels of a select's options."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is told by."""
        return self.name, self.tag, self.type

    def __str__(self) -> str:
        return f"'{self.label or self.name}'"


@dataclass(frozen=True)
class Seen:
    """What a contract's scope holds now."""

    method: str | None
    """None where the scope is no form."""
    path: str | None
    """Where the form goes, without query."""
    addressed: bool
    """Whether the form says where; if not, it goes to wherever the page is, or a script sends it."""
    controls: tuple[SeenControl, ...]
    aria: tuple[aria.Line, ...]


@dataclass(frozen=True)
class _Finding:
    severity: Severity
    words: str


def scan(scope: Found) -> Seen:
    """The page as it is now."""
    found: dict[str, Any] = scope.evaluate(_SCAN)
    controls = tuple(
        SeenControl(**{**control, "options": None if control["options"] is None else tuple(control["options"])})
        for control in found["controls"]
    )
    path = None if found["action"] is None else urlsplit(found["action"]).path
    return Seen(found["method"], path, found["addressed"], controls, aria.normalised(scope.aria_snapshot()))


def contract_of(seen: Seen, scope: Locator, action: str | None = None) -> Contract:
    """The contract that describes exactly this page; `action` if that pattern fits where the form goes."""
    named = seen.addressed or action is not None
    fits = seen.path is not None and action is not None and re2.fullmatch(action, seen.path)
    return Contract(
        scope=scope,
        method=seen.method if named else None,
        action=action if fits else re.escape(seen.path) if named and seen.path is not None else None,
        controls=tuple(_control_of(control) for control in seen.controls),
        aria=aria.written(seen.aria),
    )


def _control_of(control: SeenControl) -> Control:
    return Control(
        name=control.name, tag=control.tag, type=control.type, required=control.required,
        label=control.label or None, maxlength=control.maxlength, options=control.options,
    )  # fmt: skip


def relied_on(form: Form, page: FormPage) -> frozenset[str]:
    """The labels, names and texts by which the pack finds elements of this page."""
    elements: list[Any] = [*page.fields.values(), *page.attachments]
    elements += [form.submit.button] if page is form.pages[-1] else []
    elements += [form.dealer] if page.name == form.dealer_page else []
    locators = [where for e in elements for where in (e.find, getattr(e, "witness", None)) if where]
    locators += [option for field in page.fields.values() for option in field.options.values()]
    locators += [*page.shows.values(), *([page.next.click] if page.next else [])]
    return frozenset({name for where in locators for name in _names(where)} | set(page.fields))


def _names(locator: Locator) -> Iterator[str]:
    for part in ("label", "name", "text", "testid", "beside"):
        if said := getattr(locator, part, None):
            yield said
    for found in _NAMES_IN_CSS.findall(getattr(locator, "css", "")):
        yield from filter(None, found)


def compare(
    contract: Contract, seen: Seen, form: str = "", page: str = "", relied: Iterable[str] = ()
) -> tuple[Change, ...]:
    """What the page has that the contract does not, and the other way round. `relied`: see `relied_on`. Pure."""
    names = frozenset(relied)
    told: set[str] = set()
    found = [*_target(contract, seen), *_controls(contract, seen, names, told)]
    if contract.aria is not None:
        found += _aria(aria.read(contract.aria), seen.aria, names, told)
    return tuple(Change(finding.severity, form, page, finding.words) for finding in found)


# --- where it goes ---


def _target(contract: Contract, seen: Seen) -> Iterator[_Finding]:
    if contract.method and seen.method != contract.method:
        yield _Finding(Severity.BLOCK, f"the form's method is {seen.method} instead of {contract.method}")
    if contract.action and not re2.fullmatch(contract.action, seen.path or ""):
        yield _Finding(Severity.BLOCK, f"the form goes to {seen.path} instead of {contract.action}")


# --- controls ---


def _controls(contract: Contract, seen: Seen, relied: frozenset[str], told: set[str]) -> Iterator[_Finding]:
    pairs, gone = _paired(contract, seen)
    lost = {control.name: control for control in gone}
    before = ""
    for control, known in pairs:
        if known is not None:
            yield from _changed(control, known, relied, told, in_full=contract.aria is not None)
        elif control.name in lost:
            old = lost.pop(control.name)
            told |= {control.label, old.label or ""}
            yield _Finding(Severity.BLOCK, f"{control} is {_kind(control)} now, it was {_kind(old)}")
        else:
            told.add(control.label)
            yield _new(control, before)
        before = control.label or control.name
    for old in lost.values():
        told.add(old.label or "")
        yield _Finding(Severity.BLOCK, f"{_kind(old)} '{old.label or old.name}' is gone")


def _paired(contract: Contract, seen: Seen) -> tuple[list[tuple[SeenControl, Control | None]], list[Control]]:
    """Each control of the page with the one that the contract lists for it; and those that are gone."""
    left = list(contract.controls)
    partners: dict[int, Control] = {}
    for by_label in (True, False):  # first those that are called the same: radio buttons share a name
        for number, control in enumerate(seen.controls):
            wanted = (
                known
                for known in left
                if (known.name, known.tag, known.type) == control.key and (known.label == control.label or not by_label)
            )
            if number not in partners and (known := next(wanted, None)) is not None:
                partners[number] = known
                left.remove(known)
    return [(control, partners.get(number)) for number, control in enumerate(seen.controls)], left


def _changed(
    control: SeenControl, known: Control, relied: frozenset[str], told: set[str], *, in_full: bool
) -> Iterator[_Finding]:
    if known.label is not None and known.label != control.label:
        told |= {known.label, control.label}
        severity = Severity.BLOCK if {known.label, known.name} & relied else Severity.WARN
        yield _Finding(severity, f"label '{known.label}' is now '{control.label}'")
    if control.required and not known.required:
        yield _Finding(Severity.BLOCK, f"{control} is required now")
    if known.required and not control.required:
        yield _Finding(Severity.WARN, f"{control} is no longer required")
    if in_full and control.maxlength != known.maxlength:
        yield _length(control, known.maxlength)
    if known.options is not None:
        yield from _options(control, known.options, control.options or ())


def _length(control: SeenControl, before: int | None) -> _Finding:
    now = control.maxlength
    takes = f"{control} takes {now} characters" if now is not None else f"{control} takes any number of characters"
    shorter = now is not None and (before is None or now < before)
    return _Finding(
        Severity.WARN if shorter else Severity.NOTE, f"{takes} instead of {'any number' if before is None else before}"
    )


def _options(control: SeenControl, before: tuple[str, ...], now: tuple[str, ...]) -> Iterator[_Finding]:
    gone = [option for option in before if option not in now]
    added = [option for option in now if option not in before]
    for old in gone:
        if (new := _at_the_place_of(old, before, now)) in added:
            added.remove(new)
            yield _Finding(Severity.WARN, f"option '{old}' of {control} is now '{new}'")
        else:
            yield _Finding(Severity.WARN, f"option '{old}' of {control} is gone")
    yield from (_Finding(Severity.NOTE, f"{control} has a new option '{new}'") for new in added)


def _at_the_place_of(old: str, before: tuple[str, ...], now: tuple[str, ...]) -> str:
    place = before.index(old)
    return now[place] if len(before) == len(now) else ""


def _new(control: SeenControl, before: str) -> _Finding:
    hidden = control.type == "hidden"
    what = "required field" if control.required else "hidden input" if hidden else "optional field"
    severity = Severity.BLOCK if control.required or hidden else Severity.WARN
    return _Finding(severity, f"new {what} {control}" + (f" after '{before}'" if before else ""))


def _kind(control: SeenControl | Control) -> str:
    return " ".join(filter(None, ("the", control.tag, control.type)))


# --- what it says ---


def _aria(
    before: tuple[aria.Line, ...], now: tuple[aria.Line, ...], relied: frozenset[str], told: set[str]
) -> Iterator[_Finding]:
    """What the fingerprint has not told of already."""
    known = ({aria.masked(name) for name in told} | told) - {""}
    needed = {aria.masked(name) for name in relied} | relied
    still_there = {(line.role, line.name) for line in now}
    moved = []
    for one in aria.differences(before, now):
        if _is_told(one, known):
            continue
        if one.kind is aria.Kind.MOVED:
            assert one.new is not None
            moved.append(one.new)
        else:
            lost = one.old is not None and one.old.name in needed and (one.old.role, one.old.name) not in still_there
            yield _Finding(Severity.BLOCK if lost else Severity.WARN, _in_words(one))
    if moved:
        yield _Finding(Severity.NOTE, _moved(moved))


def _is_told(one: aria.Difference, known: Collection[str]) -> bool:
    """Whether nothing is left of the difference without labels that changed; texts side by side are one text."""
    left = [_without(line.name, known) for line in (one.old, one.new) if line is not None]
    same_kind = one.old is None or one.new is None or one.old.role == one.new.role
    if one.kind is aria.Kind.RENAMED and same_kind and left[0] == left[1]:
        return one.old is not None and one.new is not None and one.old.hint == one.new.hint
    return not any(left)


def _without(text: str, labels: Collection[str]) -> str:
    for label in sorted(labels, key=len, reverse=True):
        if text == label or text.startswith(f"{label} ") or text.endswith(f" {label}"):
            text = text.removeprefix(label).removesuffix(label).strip()
    return text


def _in_words(one: aria.Difference) -> str:
    match one:
        case aria.Difference(_, None, aria.Line() as new):
            return f"new {new.in_words()}"
        case aria.Difference(_, aria.Line() as old, None):
            return f"{old.in_words()} is gone"
        case aria.Difference(_, aria.Line() as old, aria.Line() as new) if replace(old, hint="") == replace(
            new, hint=""
        ):
            return f"the hint of {new.in_words()} is now '{new.hint}', it was '{old.hint}'"
        case aria.Difference(_, aria.Line() as old, aria.Line() as new) if old.role == new.role:
            return f"{old.in_words()} is now '{new.name}'"
        case _:
            assert one.old is not None
            assert one.new is not None
            return f"{one.old.in_words()} is now {one.new.in_words()}"


def _moved(lines: list[aria.Line]) -> str:
    names = list(dict.fromkeys(line.in_words() for line in lines))
    said = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{said} {'stands' if len(names) == 1 else 'stand'} at another place"
