"""Writes down what a probe saw as the next version of a pack: a candidate, for a person to review. It applies nothing.

Contracts become what the pages show now. A locator that hits nothing any more is replaced where its element is beyond
doubt: its witness hits it, or a control has its name, or something of its role stands at its place.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator as Found
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import LiteralScalarString

from oem_submissions.domain.evidence import Artifact
from oem_submissions.portal import aria, contracts
from oem_submissions.portal.contracts import Seen, contract_of, scan
from oem_submissions.portal.locators import ByLabel, ByRole, Element, Locator, look_up
from oem_submissions.portal.packs import Pack
from oem_submissions.portal.probe import OnView
from oem_submissions.portal.schema import Contract, FormPage

CANDIDATE = ".candidate.yaml"
"""Instead of `.yaml`: such a file is no version, and nothing loads it."""
_SAME = "([one, other]) => one === other"


@dataclass(frozen=True)
class _ProposedPage:
    """What the next version should say of a page."""

    claim_type: str
    page: str
    contract: Contract | None
    found: Mapping[tuple[str | int, ...], Locator]
    """New locators by their place, below the page or, for those of the form, below `..`."""


@dataclass(frozen=True)
class Proposal:
    """The files that were written."""

    candidate: Path
    diff: Path
    pictures: tuple[Path, ...]
    text: str
    """The difference itself; empty when the pack already says what the pages show."""


@dataclass
class Proposer:
    """Looks at the pages of a probe while they show (`OnView`), and writes the candidate afterwards."""

    _pages: list[_ProposedPage] = field(default_factory=list)
    _pictures: list[Artifact] = field(default_factory=list)

    @property
    def has_pages(self) -> bool:
        """Whether there is anything to write down."""
        return bool(self._pages)

    def look(self, view: OnView) -> None:
        """What the page shows, and where elements are that the pack does not hit."""
        shot = view.photograph()
        self._pictures += [shot] if shot else []
        contract, found = view.page.contract, {}
        if contract is not None and (scope := look_up(view.frame, contract.scope)).count() == 1:
            seen = scan(scope)
            found = dict(_new_locators(view, seen))
            contract = contract_of(seen, contract.scope, contract.action)
        self._pages.append(_ProposedPage(view.claim_type, view.page.name, contract, found))

    def write(self, pack: Pack, folder: Path, why: str, today: date) -> Proposal:
        """The candidate, its difference from the pack, and the pictures. `why` stands in the candidate."""
        before = pack.path.read_text(encoding="utf-8")
        version = f"v{int(pack.version[1:]) + 1:04d}"
        after = _as_candidate(before, self._pages, version, why, today)
        folder.mkdir(parents=True, exist_ok=True)
        candidate, diff = folder / f"{version}{CANDIDATE}", folder / f"{version}.diff"
        lines = difflib.unified_diff(
            before.splitlines(True),
            after.splitlines(True),
            f"{pack.oem}/{pack.path.name}",
            f"{pack.oem}/{version}.yaml",
        )
        text = "".join(lines)
        candidate.write_text(after, encoding="utf-8")
        diff.write_text(text, encoding="utf-8")
        pictures = tuple(folder / f"{version}-{shot.name}" for shot in self._pictures)
        for path, shot in zip(pictures, self._pictures, strict=True):
            path.write_bytes(shot.data)
        return Proposal(candidate, diff, pictures, text)


# --- elements that moved ---


def _new_locators(view: OnView, seen: Seen) -> Iterator[tuple[tuple[str | int, ...], Locator]]:
    """By place: what hits the element now whose locator hits nothing."""
    for place, element, key in _elements(view):
        if look_up(view.frame, element.find).count() == 0:
            new = _found_again(view, element, key, seen)
            if new is not None and new != element.find and look_up(view.frame, new).count() == 1:
                yield place, new


def _elements(view: OnView) -> Iterator[tuple[tuple[str | int, ...], Element, str]]:
    """Every element of the page, with its place and the name that its control may have."""
    page, form = view.page, view.form
    for name, control in page.fields.items():
        yield ("fields", name, "find"), control, name
    for number, rule in enumerate(page.attachments):
        yield ("attachments", number, "find"), Element(find=rule.find), ""
    if page.next is not None:
        yield ("next", "click"), Element(find=page.next.click), ""
    if page.name == form.dealer_page:
        yield ("..", "dealer", "find"), form.dealer, ""
    if page is form.pages[-1]:
        yield ("..", "submit", "button", "find"), form.submit.button, ""


def _found_again(view: OnView, element: Element, key: str, seen: Seen) -> Locator | None:
    if element.witness is not None:
        hit = look_up(view.frame, element.witness)
        return _described(hit, element.find) if hit.count() == 1 else None
    match element.find:
        case ByLabel(label=label):
            name = _label_by_control_name(view.page, label, key, seen)
        case ByRole(role=role, name=str(old)):
            name = _name_at_the_same_place(view.page, role, old, seen)
        case _:
            name = None
    return _renamed(element.find, name) if name else None


def _described(hit: Found, like: Locator) -> Locator | None:
    """The element in the pack's words, by the same means as before."""
    match like:
        case ByLabel():
            return _renamed(like, str(hit.evaluate(contracts.LABEL)))
        case ByRole(role=role):
            lines = aria.normalised(hit.aria_snapshot())
            return _renamed(like, lines[0].name) if lines and lines[0].role == role else None
        case _:
            return None


def _label_by_control_name(page: FormPage, label: str, key: str, seen: Seen) -> str | None:
    """The label now of the control that had this one, or that is called as the field is."""
    assert page.contract is not None
    had = [control.name for control in page.contract.controls if control.label == label]
    named = [control.label for control in seen.controls if control.name == (had[0] if len(had) == 1 else key)]
    return named[0] if len(named) == 1 else None


def _name_at_the_same_place(page: FormPage, role: str, old: str, seen: Seen) -> str | None:
    assert page.contract is not None
    if page.contract.aria is None:
        return None
    renamed = [
        one.new.name
        for one in aria.differences(aria.read(page.contract.aria), seen.aria)
        if one.old is not None and one.new is not None and one.kind is aria.Kind.RENAMED
        if (one.old.role, one.old.name, one.new.role) == (role, aria.masked(old), role)
    ]
    return renamed[0] if len(renamed) == 1 else None


def _renamed(locator: Locator, name: str) -> Locator | None:
    if not name:
        return None
    match locator:
        case ByLabel():
            return locator.model_copy(update={"label": name})
        case ByRole():
            return locator.model_copy(update={"name": name})
        case _:
            return None


# --- the file ---


def _as_candidate(before: str, pages: list[_ProposedPage], version: str, why: str, today: date) -> str:
    """The pack's text with what is proposed; comments, anchors and layout stay."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    root = yaml.load(before)
    root["version"], root["released"], root["why"] = version, today, why
    for proposed in pages:
        form = root["forms"][proposed.claim_type]
        page = next(page for page in form["pages"] if page["name"] == proposed.page)
        if proposed.contract is not None:
            put_contract(page["contract"], proposed.contract)
        for place, locator in proposed.found.items():
            _put_locator(form if place[0] == ".." else page, place[1:] if place[0] == ".." else place, locator)
    text = io.StringIO()
    yaml.dump(root, text)
    return text.getvalue()


def put_contract(section: CommentedMap, contract: Contract) -> None:
    """Write the contract in the place of the one that is there."""
    for key in ("method", "action"):
        if (value := getattr(contract, key)) is not None:
            section[key] = value
        else:
            section.pop(key, None)
    controls = CommentedSeq()
    for control in contract.controls:
        said = control.model_dump(mode="json", exclude_defaults=True)
        controls.append(in_one_line({"name": control.name, "tag": control.tag} | said))
    section["controls"] = controls
    section["aria"] = LiteralScalarString(contract.aria or "")


def _put_locator(node: Any, place: tuple[str | int, ...], locator: Locator) -> None:
    for part in place[:-1]:
        node = node[part]
    said = locator.model_dump(mode="json", exclude_none=True)
    node[place[-1]] = in_one_line(said)


def in_one_line(value: Any) -> Any:
    """The value as YAML writes it on one line."""
    match value:
        case dict():
            made = CommentedMap((key, in_one_line(item)) for key, item in value.items())
            made.fa.set_flow_style()
            return made
        case list():
            items = CommentedSeq(in_one_line(item) for item in value)
            items.fa.set_flow_style()
            return items
        case _:
            return value
