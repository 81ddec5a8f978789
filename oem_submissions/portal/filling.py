"""Puts values into a form's controls and reads back what they hold. It knows controls, not portals.

Plain controls are set by one script, with the events that typing fires; what does not read back equal is typed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import re2
from playwright.sync_api import ElementHandle, Frame
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from oem_submissions.portal.locators import Element, find_together, in_words, look_up
from oem_submissions.portal.schema import PageField

_SET = """(items) => {
  const native = (element, property, value) => {
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(element), property).set.call(element, value);
    element.dispatchEvent(new Event("input", {bubbles: true}));
    element.dispatchEvent(new Event("change", {bubbles: true}));
  };
  for (const [element, kind, value] of items) {
    element.focus();
    if (kind === "text") native(element, "value", value);
    else if (kind === "select") {
      const option = [...element.options].find(o => o.label.trim() === value || (value === "" && o.value === ""));
      if (option) native(element, "value", option.value);
    } else if (kind === "check" && element.checked !== (value === "yes")) element.click();
    element.blur();
  }
}"""
_READ = """(items) => items.map(([element, kind]) => {
  if (!element.isConnected) return null;
  if (kind === "select") {
    const option = element.selectedOptions[0];
    return !option || option.value === "" ? "" : option.label.trim();
  }
  if (kind === "check") return element.checked ? "yes" : "no";
  return element.value;
})"""
_BUTTON = """([one, other]) =>
  [one === other, one.hasAttribute("formaction") ? new URL(one.formAction).pathname : null]"""
_SAME = "(pairs) => pairs.map(([one, other]) => one === other)"


_COVERED = """(elements) => {
  const [x, y] = [scrollX, scrollY];
  const covered = elements.map(element => {
    element.scrollIntoView({block: "center", behavior: "instant"});
    const {left, top, width, height} = element.getBoundingClientRect();
    const hit = document.elementFromPoint(left + width / 2, top + height / 2);
    return hit !== null && hit !== element && !element.contains(hit) && !hit.contains(element);
  });
  scrollTo({left: x, top: y, behavior: "instant"});
  return covered;
}"""


class ElementNotFound(Exception):
    """An element of the pack is not there, is there twice, or its witness points elsewhere: one sentence."""


@dataclass(frozen=True)
class Control:
    """A field's control on the page as it is now."""

    name: str
    field: PageField
    handle: ElementHandle


HITS_ANOTHER = "the locator and its witness hit different elements"


def button_trouble(scope: Frame, button: Element, path: str) -> str | None:
    """What is wrong with a button that should send its form to this path; None when nothing is, or it is not there.

    `path` is a pattern for the whole path. Waits for nothing.
    """
    assert button.witness is not None
    if at_once := find_together(scope, [button.find], {0: button.witness}):
        found = [at_once, at_once]
    else:
        found = [look_up(scope, where).element_handles() for where in (button.find, button.witness)]
    if [len(handles) for handles in found] != [1, 1]:
        return None
    same, goes = scope.evaluate(_BUTTON, [handles[0] for handles in found])
    if not same:
        return HITS_ANOTHER
    return f"it goes to {goes} instead of {path}" if goes and not re2.fullmatch(path, goes) else None


def find_element(scope: Frame, element: Element, what: str, wait_ms: float) -> ElementHandle:
    """The one element that both locators hit. Raises `ElementNotFound`."""
    return find_elements(scope, {what: element}, wait_ms)[what]


def find_elements(scope: Frame, elements: Mapping[str, Element], wait_ms: float) -> dict[str, ElementHandle]:
    """The elements, each by both its locators, found by as few calls as possible. Raises `ElementNotFound`."""
    wanted = list(elements.values())
    pairs_of = {at: element.witness for at, element in enumerate(wanted) if element.witness is not None}
    if at_once := wanted and find_together(scope, [element.find for element in wanted], pairs_of):
        return dict(zip(elements, at_once, strict=True))
    return _find_one_by_one(scope, elements, wait_ms)


def _find_one_by_one(scope: Frame, elements: Mapping[str, Element], wait_ms: float) -> dict[str, ElementHandle]:
    """As `find_elements`: waits for what is not there yet, and says what is wrong."""
    found: dict[str, ElementHandle] = {}
    witnesses: dict[str, ElementHandle] = {}
    for what, element in elements.items():
        found[what] = _only_one(scope, element, what, wait_ms)
        if element.witness is not None:
            witnesses[what] = _only_one(scope, Element(find=element.witness), f"{what} (witness)", wait_ms)
    pairs = [[found[what], witness] for what, witness in witnesses.items()]
    if pairs:
        for what, same in zip(witnesses, scope.evaluate(_SAME, pairs), strict=True):
            if not same:
                raise ElementNotFound(f"{what}: {HITS_ANOTHER}")
    return found


def _only_one(scope: Frame, element: Element, what: str, wait_ms: float) -> ElementHandle:
    locator = look_up(scope, element.find)
    handles = locator.element_handles()
    if not handles:
        try:
            locator.first.wait_for(state="attached", timeout=wait_ms)
        except PlaywrightTimeout:
            raise ElementNotFound(f"{what}: {in_words(element.find)} is not on the page") from None
        handles = locator.element_handles()
    if len(handles) != 1:
        raise ElementNotFound(f"{what}: {in_words(element.find)} is on the page {len(handles)} times")
    return handles[0]


def find_controls(scope: Frame, fields: Mapping[str, PageField], wait_ms: float) -> list[Control]:
    """The controls of these fields. Raises `ElementNotFound`."""
    handles = find_elements(scope, {f"field '{name}'": field for name, field in fields.items()}, wait_ms)
    return [Control(name, field, handles[f"field '{name}'"]) for name, field in fields.items()]


def fill(scope: Frame, controls: Iterable[Control], values: Mapping[str, str]) -> None:
    """Set every control that is not computed by the page; a field without a value is left or made empty."""
    settable = [control for control in controls if not control.field.computed]
    current = read(scope, settable)
    todo = [c for c in settable if current[c.name] != expected(c.field, values.get(c.name))]
    at_once = [c for c in todo if c.field.how == "script" and c.field.kind != "radio"]
    if at_once:
        scope.evaluate(_SET, [[c.handle, c.field.kind, expected(c.field, values.get(c.name))] for c in at_once])
    held = read(scope, todo) if todo else {}
    for control in todo:
        wanted = expected(control.field, values.get(control.name))
        if held[control.name] != wanted:
            _by_hand(scope, control, wanted)
        if control.field.escape:
            control.handle.press("Escape")


def _by_hand(scope: Frame, control: Control, wanted: str) -> None:
    """As a person does it: what scripts and `fill` can't do, keys can."""
    match control.field.kind:
        case "text":
            control.handle.click()
            control.handle.press("ControlOrMeta+A")
            control.handle.press("Backspace")
            control.handle.type(wanted)
            control.handle.evaluate("element => element.blur()")
        case "check":
            control.handle.set_checked(wanted == "yes")
        case "radio" if wanted in control.field.options:
            look_up(scope, control.field.options[wanted]).check()
        case _:
            pass  # an option that the list does not have: read-back says so, with both values


def read(scope: Frame, controls: Iterable[Control]) -> dict[str, str | None]:
    """What the controls hold now; None for one that is no longer part of the page."""
    controls = list(controls)
    plain = [control for control in controls if control.field.kind != "radio"]
    values = scope.evaluate(_READ, [[c.handle, c.field.kind] for c in plain]) if plain else []
    held: dict[str, str | None] = {c.name: value for c, value in zip(plain, values, strict=True)}
    for control in controls:
        if control.field.kind == "radio":
            chosen = [value for value, at in control.field.options.items() if look_up(scope, at).is_checked()]
            held[control.name] = chosen[0] if len(chosen) == 1 else ""
    return held


def covered(scope: Frame, handles: Mapping[str, ElementHandle]) -> list[str]:
    """The names of those that lie under something else: a reader does not see what they hold."""
    under: list[bool] = scope.evaluate(_COVERED, list(handles.values())) if handles else []
    return [name for name, is_under in zip(handles, under, strict=True) if is_under]


def expected(field: PageField, value: str | None) -> str:
    """What the control must hold for this value of the claim; none means empty, or not ticked."""
    if value is None:
        return "no" if field.kind == "check" else ""
    return value.replace("\r\n", "\n")
