"""`oem-submissions new-oem`: adapter, pack, golden pages, skin and tests of a new OEM, from `adapters/_template`.

It writes all of it or nothing. What is written is complete but for the places that say FILL IN.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.text import Text
from ruamel.yaml import YAML

from adapters.registry import adapter
from oem_submissions.cli import recording
from oem_submissions.cli.errors import NotSo, terminal
from oem_submissions.cli.recording import Draft
from oem_submissions.portal.recording import ClosedPage, closed_page, recording_of
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.settings import PREFIX, PROJECT

TEMPLATE = PROJECT / "adapters" / "_template"
REGISTRY, SKINS = "adapters/registry.py", "oem_submissions/simulator/skins.py"
FILES = {
    "__init__.py.j2": "adapters/{oem}/__init__.py",
    "portal.py.j2": "adapters/{oem}/portal.py",
    "mapping.py.j2": "adapters/{oem}/mapping.py",
    "README.md.j2": "adapters/{oem}/README.md",
    "v0001.yaml.j2": "selectors/{oem}/v0001.yaml",
    "golden/golden.yaml.j2": "selectors/{oem}/golden/golden.yaml",
    "golden/confirmation.html.j2": "selectors/{oem}/golden/confirmation.html",
    "golden/refusal.html.j2": "selectors/{oem}/golden/refusal.html",
    "skin.py.j2": "oem_submissions/simulator/{oem}.py",
    "test.py.j2": "oem_submissions_tests/conformance/test_{oem}.py",
}
"""What is made of each template, below the project's root."""


class ClaimType(StrEnum):
    """What a plain portal takes; `_template/claim_types.yaml` has the fields of each."""

    WARRANTY = "warranty"
    COOP = "coop"
    INCENTIVE = "incentive"
    DELIVERY_REPORT = "delivery_report"
    PARTS_RETURN = "parts_return"


@dataclass(frozen=True)
class NewOem:
    """What the templates are filled with."""

    oem: str
    title: str
    claim_type: ClaimType

    @property
    def name(self) -> str:
        """Of the classes."""
        return self.oem.capitalize()


def new_oem(
    name: Annotated[str, typer.Argument(help="Small letters and digits, as in `eridani`.")],
    claim_type: Annotated[ClaimType | None, typer.Option(help="What the portal takes; warranty without.")] = None,
    title: Annotated[str | None, typer.Option(help="As people say it; the name without.")] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Walk through the portal in a browser that looks on.")
    ] = False,
    url: Annotated[str | None, typer.Option(help="With --record: the portal's address.")] = None,
    from_pages: Annotated[
        Path | None, typer.Option(help="A folder of saved pages: login.html, form.html, confirmation.html …")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="The claim's number on the saved confirmation.")] = None,
    fill: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE of the pack, for what no page says; may be repeated.")
    ] = None,
    into: Annotated[Path, typer.Option(help="The root of another copy of this project.", show_default=False)] = PROJECT,
) -> None:
    """Start a new OEM: adapter, selector pack, golden pages, simulated portal and tests, to be filled in.

    What is recorded (--record), or said by saved pages (--from-pages), is filled in already.
    """
    if record and from_pages:
        raise typer.BadParameter("--record gets the pages from a browser, --from-pages from a folder: choose one.")
    if not (record or from_pages) and (url or reference or fill):
        raise typer.BadParameter("--url, --reference and --fill belong to --record or --from-pages.")
    if record and not sys.stdin.isatty():
        raise NotSo("--record asks at a terminal, and this is none: save the pages, and use --from-pages.")
    if record and claim_type is None:
        claim_type = typer.prompt("Type of claim", ClaimType.WARRANTY, type=ClaimType)
    new = NewOem(name, title or name.capitalize(), claim_type or ClaimType.WARRANTY)
    free(new, into)
    answers = dict(_answer(one) for one in fill or ()) | ({"reference": reference} if reference else {})
    draft = _recorded(new, url, answers) if record else _from_pages(new, from_pages, answers) if from_pages else None
    written = scaffold(new, into, draft)
    terminal.print(f"Written, in {into}:")
    for path in written:
        terminal.print(f"  {path}", markup=False, highlight=False)
    if draft is not None:
        _say_what_is_left(new, draft)
    done = 2 if draft is not None and not draft.left else 0
    terminal.print(
        f"\nNext, in this order; docs/new-oem.md has more:\n{next_steps(new, done)}", markup=False, highlight=False
    )


def _answer(said: str) -> tuple[str, str]:
    key, equals, value = said.partition("=")
    if not (key and equals and value):
        raise typer.BadParameter(f"'{said}' is no answer: write KEY=VALUE, as in history.settle_minutes=45.")
    return key, value


def _recorded(new: NewOem, url: str | None, answers: Mapping[str, str]) -> Draft:
    """By way of a browser, and questions at the terminal."""

    def ask(question: str) -> str:
        recording.say(f"\n{question.removesuffix('> ')}".rstrip())
        return input("> ")

    address = url or typer.prompt("The portal's address")
    with recording_of(address) as (recorder, closed):
        pages = recording.walk(recorder, closed, ask, recording.say)
        return drafted(new, pages, closed, answers, ask)


def _from_pages(new: NewOem, folder: Path, answers: Mapping[str, str]) -> Draft:
    """Without a window, and without questions."""
    with BrowserRuntime(adapter, PROJECT / "selectors", {}) as runtime, closed_page(runtime.browser()) as closed:
        pages, beside = recording.pages_of(folder, closed)
        return drafted(new, pages, closed, beside | dict(answers), None)


def drafted(
    new: NewOem, pages: recording.Pages, closed: ClosedPage, answers: Mapping[str, str], ask: recording.Ask | None
) -> Draft:
    """What the pages make of the scaffold."""
    kind = _kind_of(new.claim_type)
    return recording.draft(
        pages, closed, _render("v0001.yaml.j2", new), new.oem, new.title, str(new.claim_type), kind,
        recording.wanted_of(kind, _data("field_words.yaml")), _listed(kind), answers, ask,
    )  # fmt: skip


def _say_what_is_left(new: NewOem, draft: Draft) -> None:
    if draft.left:
        terminal.print(f"\nLeft to be filled in, {len(draft.left)} places:")
        for one in draft.left:
            terminal.print(Text(f"  {one}"), soft_wrap=True)
    else:
        terminal.print("\nNothing is left to be filled in: `oem-submissions packs check`.")
    terminal.print(
        f"Read selectors/{new.oem} before you commit it: `aria` says what the form says, and no name of a person or a"
        " dealer belongs there.",
        highlight=False,
    )


def next_steps(new: NewOem, done: int = 0) -> str:
    """What the engineer does then, a line each, without the first that are done."""
    oem = new.oem
    steps = (
        f"Fill in selectors/{oem}/v0001.yaml: `oem-submissions packs check` names what is missing.",
        f"Save a confirmation and a refusal of the portal in selectors/{oem}/golden, and fill in golden.yaml.",
        f"adapters/{oem}: put the form's formats and words into mapping.py, the cadence into portal.py.",
        f"Make oem_submissions/simulator/{oem}.py look and behave like the portal.",
        f"Put the form's formats into oem_submissions_tests/conformance/test_{oem}.py, and run it.",
        f"`oem-submissions conformance {oem}` until it says: ready for the gate.",
        f"Set {PREFIX}PORTAL_URL_{oem.upper()} and the dealers' log-ins; make one a pilot: `dealers import`.",
        f"`oem-submissions probe {oem} --propose` on the live portal: put its contract in the place of yours.",
        f"`oem-submissions packs lock`, and five clean runs: `oem-submissions release show {oem}`.",
    )
    return "\n".join(f"  {number}. {step}" for number, step in enumerate(steps[done:], start=1))


def free(new: NewOem, root: Path) -> None:
    """Raises `NotSo` when the names are bad, there is no project, or something of that name is there already."""
    _check_names(new)
    for path in (REGISTRY, SKINS, "selectors", "oem_submissions_tests/conformance"):
        if not (root / path).exists():
            raise NotSo(f"{root} is not the root of this project: it has no {path}. Name another folder with --into.")
    taken = [f"adapters/{new.oem}", f"adapters/{new.oem}.py", f"selectors/{new.oem}"]
    for path in (*taken, *(path.format(oem=new.oem) for path in FILES.values())):
        if (root / path).exists():
            raise NotSo(f"{root / path} exists already: choose another name than '{new.oem}', or remove it first.")


def scaffold(new: NewOem, root: Path, draft: Draft | None = None) -> list[str]:
    """Write everything below the project's root, and say what. Raises `NotSo`; then nothing was written."""
    free(new, root)
    skin = draft.skin if draft else recording.NOTHING
    texts = {path.format(oem=new.oem): _render(template, new, skin) for template, path in FILES.items()}
    if draft is not None:
        texts |= {f"selectors/{new.oem}/v0001.yaml": draft.pack, **draft.files}
    edited = {
        REGISTRY: _registered(root / REGISTRY, f"adapters.{new.oem}.portal", new.name, f"{new.name}()"),
        SKINS: _registered(root / SKINS, f"oem_submissions.simulator.{new.oem}", new.name, new.name),
    }
    for path, text in (texts | edited).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return [*texts, *edited]


def _check_names(new: NewOem) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]{1,19}", new.oem) or keyword.iskeyword(new.oem):
        raise NotSo(
            f"'{new.oem}' is no name for an OEM: it has two to twenty small letters and digits, begins with a letter,"
            " and is no word of Python's."
        )
    if not re.fullmatch(r"\w[\w .,&'()-]{0,29}", new.title):
        raise NotSo(f"'{new.title}' is no title: it has up to thirty letters, digits, blanks and . , & ' ( ) -.")


# --- the files ---


@cache
def _data(name: str) -> dict[str, Any]:
    """A YAML file of the template, read once: reading takes its time."""
    read: dict[str, Any] = YAML(typ="safe", pure=True).load((TEMPLATE / name).read_text(encoding="utf-8"))
    return read


def _kind_of(claim_type: ClaimType) -> dict[str, Any]:
    """What `claim_types.yaml` says of it, with what every field has."""
    every = _data("claim_types.yaml")
    usual = {"value": "", "choices": {}, "lines": 0, "critical": False, "optional": False}
    kind: dict[str, Any] = every[claim_type]
    return kind | {"fields": [usual | field for field in kind["fields"]], "parts": kind.get("parts", False)}


def _listed(kind: Mapping[str, Any]) -> list[str]:
    """Fields that the list of claims shows."""
    return [kind["search"], *(one for one in (*kind["key"], kind["telltale"]) if one != kind["search"])]


def _render(template: str, new: NewOem, skin: Mapping[str, Any] = recording.NOTHING) -> str:
    pages = Environment(
        loader=FileSystemLoader(TEMPLATE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Python and YAML, made of checked names
    )
    kind = _kind_of(new.claim_type)
    fields = [one | {"choices": one["choices"] | skin["choices"].get(one["name"], {})} for one in kind["fields"]]
    refused = kind["refuses"][1]
    return pages.get_template(template).render(
        oem=new.oem, title=new.title, name=new.name, claim_type=str(new.claim_type), today=datetime.now(UTC).date(),
        type=kind | {"fields": fields}, words={field["name"]: field["words"] for field in fields},
        listed=_listed(kind), refused_value=json.dumps(refused) if isinstance(refused, str) else f"{refused:_}",
        skin=skin, literal=_literal, table=_table, quoted=_quoted, extras=_extras,
    )  # fmt: skip


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _table(choices: Mapping[str, str]) -> str:
    return json.dumps(choices, ensure_ascii=False)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _extras(field: Mapping[str, Any]) -> str:
    """What a box of the skin is beside its label and its name."""
    said = {"options": field["name"].upper() if field["choices"] else "", "lines": str(field["lines"] or "")}
    said["needed"] = "False" if field["optional"] else ""
    return "".join(f", {name}={value}" for name, value in said.items() if value)


# --- the two lists ---


def _registered(path: Path, module: str, name: str, entry: str) -> str:
    """The file's text with one more import and one more entry of its list, both in alphabetical order."""
    text = path.read_text(encoding="utf-8")
    package = re.escape(module.partition(".")[0])
    imports = re.findall(rf"^from {package}\.\S+ import [A-Z]\w*$", text, re.MULTILINE)
    listed = re.search(r"^    for \w+ in \(\n((?:        [A-Z]\w*(?:\(\))?,\n)+)    \)$", text, re.MULTILINE)
    if not imports or listed is None:
        raise NotSo(f"{path} has no list of one entry per line any more: add {name} by hand, or restore the file.")
    line = f"from {module} import {name}"
    before = next((one for one in imports if one > line), None)
    last = imports[-1]
    text = text.replace(f"{before}\n", f"{line}\n{before}\n", 1) if before else text.replace(last, f"{last}\n{line}", 1)
    entries = sorted([*listed[1].splitlines(keepends=True), f"        {entry},\n"])
    return text.replace(listed[1], "".join(entries), 1)
