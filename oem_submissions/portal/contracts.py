"""Whether a form is the one that its contract describes: fingerprint, and differences in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import re2
from playwright.sync_api import Locator as Found

from oem_submissions.portal.schema import Contract, Control

_SCAN = """(scope) => {
  const silent = ["button", "submit", "reset", "image"];
  const all = scope.tagName === "FORM" ? [...scope.elements] : [...scope.querySelectorAll("input, select, textarea")];
  const words = text => (text || "").replace(/\\s+/g, " ").trim();
  return {
    tag: scope.tagName.toLowerCase(),
    method: scope.tagName === "FORM" ? scope.method.toUpperCase() : null,
    action: scope.tagName === "FORM" ? new URL(scope.getAttribute("action") || "", document.baseURI).href : null,
    controls: all
      .filter(e => ["INPUT", "SELECT", "TEXTAREA"].includes(e.tagName) && !silent.includes(e.type))
      .map(e => ({
        name: e.getAttribute("name") || e.id || e.dataset.testid || "",
        tag: e.tagName.toLowerCase(),
        type: e.tagName === "INPUT" ? e.type : "",
        required: e.required || e.getAttribute("aria-required") === "true",
        label: words(e.labels && e.labels.length ? e.labels[0].innerText : e.getAttribute("aria-label")),
      })),
  };
}"""


@dataclass(frozen=True)
class Differences:
    """What is not as the contract says, in words. `breaking` stops the run; `harmless` makes it unclean."""

    breaking: tuple[str, ...]
    harmless: tuple[str, ...]


def scan(scope: Found) -> dict[str, Any]:
    """The form as it is now."""
    result: dict[str, Any] = scope.evaluate(_SCAN)
    return result


def compare(contract: Contract, found: dict[str, Any]) -> Differences:
    """What the form has that the contract does not, and the other way round. Pure."""
    breaking: list[str] = []
    harmless: list[str] = []
    if contract.method and found["method"] != contract.method:
        breaking.append(f"the form's method is {found['method']}, not {contract.method}")
    if contract.action and not re2.fullmatch(contract.action, urlsplit(found["action"] or "").path):
        breaking.append(f"the form goes to {urlsplit(found['action'] or '').path}")
    expected = Counter((control.name, control.tag, control.type) for control in contract.controls)
    required = {control.name: control.required for control in contract.controls}
    before = ""
    for control in found["controls"]:
        key = (control["name"], control["tag"], control["type"])
        if expected[key] > 0:
            expected[key] -= 1
            if control["required"] and not required[control["name"]]:
                breaking.append(f"{_called(control)} is required now")
            elif required[control["name"]] and not control["required"]:
                harmless.append(f"{_called(control)} is no longer required")
        else:
            (breaking if control["required"] or control["type"] == "hidden" else harmless).append(_new(control, before))
        before = control["label"] or control["name"]
    breaking += [
        f"the {' '.join(filter(None, (tag, type_)))} '{name}' is gone" for (name, tag, type_) in expected.elements()
    ]
    return Differences(tuple(breaking), tuple(harmless))


def controls_of(found: dict[str, Any]) -> tuple[Control, ...]:
    """What a contract for this form would list: for authors of packs."""
    return tuple(
        Control(**{key: control[key] for key in ("name", "tag", "type", "required")}) for control in found["controls"]
    )


def _called(control: dict[str, Any]) -> str:
    return f"'{control['label'] or control['name']}'"


def _new(control: dict[str, Any], before: str) -> str:
    what = (
        "required field" if control["required"] else "hidden input" if control["type"] == "hidden" else "optional field"
    )
    return f"there is a new {what} {_called(control)}" + (f" after '{before}'" if before else "")
