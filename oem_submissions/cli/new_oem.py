"""`oem-submissions new-oem`: adapter, pack, golden pages, skin and tests of a new OEM, from `adapters/_template`.

It writes all of it or nothing. What is written is complete but for the places that say FILL IN.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from ruamel.yaml import YAML

from oem_submissions.cli.errors import NotSo, terminal
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
    claim_type: Annotated[ClaimType, typer.Option(help="What the portal takes.")] = ClaimType.WARRANTY,
    title: Annotated[str | None, typer.Option(help="As people say it; the name without.")] = None,
    into: Annotated[Path, typer.Option(help="The root of another copy of this project.", show_default=False)] = PROJECT,
) -> None:
    """Start a new OEM: adapter, selector pack, golden pages, simulated portal and tests, to be filled in."""
    new = NewOem(name, title or name.capitalize(), claim_type)
    written = scaffold(new, into)
    terminal.print(f"Written, in {into}:")
    for path in written:
        terminal.print(f"  {path}", markup=False, highlight=False)
    terminal.print(
        f"\nNext, in this order; docs/new-oem.md has more:\n{next_steps(new)}", markup=False, highlight=False
    )


def next_steps(new: NewOem) -> str:
    """What the engineer does then, a line each."""
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
    return "\n".join(f"  {number}. {step}" for number, step in enumerate(steps, start=1))


def scaffold(new: NewOem, root: Path) -> list[str]:
    """Write everything below the project's root, and say what. Raises `NotSo`; then nothing was written."""
    _check_names(new)
    for path in (REGISTRY, SKINS, "selectors", "oem_submissions_tests/conformance"):
        if not (root / path).exists():
            raise NotSo(f"{root} is not the root of this project: it has no {path}. Name another folder with --into.")
    taken = [f"adapters/{new.oem}", f"adapters/{new.oem}.py", f"selectors/{new.oem}"]
    made = {path.format(oem=new.oem): template for template, path in FILES.items()}
    for path in (*taken, *made):
        if (root / path).exists():
            raise NotSo(f"{root / path} exists already: choose another name than '{new.oem}', or remove it first.")
    texts = {path: _render(template, new) for path, template in made.items()}
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


def _render(template: str, new: NewOem) -> str:
    pages = Environment(
        loader=FileSystemLoader(TEMPLATE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Python and YAML, made of checked names
    )
    kind = YAML(typ="safe", pure=True).load((TEMPLATE / "claim_types.yaml").read_text(encoding="utf-8"))[new.claim_type]
    fields = {field["name"]: {"value": "", "choices": {}, "lines": 0, "critical": False, "optional": False} | field
              for field in kind["fields"]}  # fmt: skip
    refused = kind["refuses"][1]
    return pages.get_template(template).render(
        oem=new.oem, title=new.title, name=new.name, claim_type=str(new.claim_type), today=datetime.now(UTC).date(),
        type=kind | {"fields": list(fields.values()), "parts": kind.get("parts", False)},
        words={name: field["words"] for name, field in fields.items()},
        listed=[kind["search"], *(one for one in (*kind["key"], kind["telltale"]) if one != kind["search"])],
        refused_value=json.dumps(refused) if isinstance(refused, str) else f"{refused:_}",
        table=_table, quoted=_quoted, extras=_extras,
    )  # fmt: skip


def _table(choices: Mapping[str, str]) -> str:
    return json.dumps(choices)


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
