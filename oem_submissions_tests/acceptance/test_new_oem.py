"""A fourth OEM, brought up in a copy of this project as an engineer does it, from the scaffold to live.

`eridani/portal` is the portal as it is given; `eridani/engineer` is what the engineer made of the scaffold.
"""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from oem_submissions.cli.errors import NotSo
from oem_submissions.cli.new_oem import REGISTRY, SKINS, ClaimType, NewOem, scaffold
from oem_submissions.domain.claims import ClaimModel
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.portal.packs import load_pack
from oem_submissions.settings import PREFIX, PROJECT
from oem_submissions_tests.portal.parts import coop, delivery, incentive, parts_return, warranty

ERIDANI = Path(__file__).parent / "eridani"
PARTS = ("adapters", "selectors", "oem_submissions", "oem_submissions_tests", "pyproject.toml")
MOST_LINES = 150
EXAMPLES: dict[ClaimType, ClaimModel] = {
    ClaimType.WARRANTY: warranty("RO-1"),
    ClaimType.COOP: coop("INV-1"),
    ClaimType.INCENTIVE: incentive(1),
    ClaimType.DELIVERY_REPORT: delivery(1),
    ClaimType.PARTS_RETURN: parts_return("INV-1"),
}
SCENARIOS = ("plain", "reset after filing", "new required field")
COUNTED = (".py", ".yaml")
"""Pages are recorded, and a README is not code."""


def copy_of_the_project(folder: Path) -> Path:
    """What an engineer checks out, without this test's own files."""
    for name in PARTS:
        source, ignored = PROJECT / name, shutil.ignore_patterns("__pycache__", "eridani")
        shutil.copytree(source, folder / name, ignore=ignored) if source.is_dir() else shutil.copy(source, folder)
    return folder


@dataclass(frozen=True)
class Copy:
    """A copy of the project, with data of its own."""

    root: Path

    def run(self, *words: str, code: int = 0, module: str = "oem_submissions.cli") -> tuple[str, str]:
        """What `oem-submissions`, or another program, says there: stdout, and stderr on one line."""
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.root,
            env=os.environ | {f"{PREFIX}HOME": str(self.root / "home")},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == code, done.stderr
        return done.stdout, " ".join(done.stderr.split())

    def texts(self) -> dict[str, str]:
        """Every file of the new OEM that an engineer writes in, by its path."""
        files = [path for path in self.root.rglob("*") if path.suffix in COUNTED and path.is_file()]
        own = [path for path in files if "eridani" in str(path.relative_to(self.root))]
        return {str(path.relative_to(self.root)): path.read_text() for path in own}


def lines_written(before: dict[str, str], after: dict[str, str]) -> dict[str, int]:
    """By file, the lines that were added or changed. Blank lines and comments don't count."""
    written = {}
    for path, text in after.items():
        difference = list(difflib.unified_diff(before.get(path, "").splitlines(), text.splitlines(), n=0))[2:]
        added = [line[1:].strip() for line in difference if line.startswith("+")]
        written[path] = sum(bool(line) and not line.startswith("#") for line in added)
    return {path: lines for path, lines in written.items() if lines}


@dataclass(frozen=True)
class Filled:
    """A copy of the project in which Eridani is filled in."""

    copy: Copy
    told: str
    """What new-oem said is to do."""
    missing: str
    """What `packs check` said of the scaffold."""
    written: dict[str, int]
    """Lines by file, by the engineer."""


@pytest.fixture(scope="module")
def eridani(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """What the engineer does."""
    copy = Copy(copy_of_the_project(tmp_path_factory.mktemp("project")))
    _, told = copy.run("new-oem", "eridani", "--title", "Eridani Motors")
    _, missing = copy.run("packs", "check", code=3)
    shutil.copytree(ERIDANI / "portal", copy.root, dirs_exist_ok=True)
    scaffold_as_it_was = copy.texts()
    shutil.copytree(ERIDANI / "engineer", copy.root, dirs_exist_ok=True)
    return Filled(copy, told, missing, lines_written(scaffold_as_it_was, copy.texts()))


def test_the_scaffold_says_what_is_to_be_done_and_what_is_missing(eridani: Filled) -> None:
    assert "1. Fill in selectors/eridani/v0001.yaml" in eridani.told
    wanted = "v0001.yaml line 9, key 'markers.maintenance.0' (pack v0001): still to be filled in: what the portal says"
    assert wanted in eridani.missing


def test_a_plain_portal_takes_under_150_lines(eridani: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    lines = sum(eridani.written.values())
    with capsys.disabled():
        print(f"\nLines of YAML and Python for Eridani: {lines} {json.dumps(eridani.written, indent=2)}")  # noqa: T201
    assert 50 < lines < MOST_LINES


def test_what_was_filled_in_is_valid_and_stands_up_to_a_portal_that_misbehaves(eridani: Filled) -> None:
    assert "eridani v0001" in eridani.copy.run("packs", "check")[1]
    only = [word for name in SCENARIOS for word in ("--only", name)]
    document = json.loads(eridani.copy.run("conformance", "eridani", "--json", *only)[0])
    assert {one["scenario"]: (one["outcome"], one["problems"]) for one in document["scenarios"]} == {
        name: ("passed", []) for name in SCENARIOS
    }


def test_it_goes_live_after_exactly_five_clean_runs(eridani: Filled) -> None:
    eridani.copy.run("packs", "lock")
    said, _ = eridani.copy.run("eridani", module="oem_submissions_tests.acceptance.going_live")
    document = json.loads(said)
    steps = [(step["state"], step["clean_runs"], step["enqueued"], step["filed"]) for step in document["steps"]]
    assert steps == [
        ("candidate", 0, [], 0),
        ("verifying", 0, [], 0),
        ("verifying", 1, ["10234"], 1),
        ("verifying", 2, ["10234"], 2),
        ("verifying", 3, ["10234"], 3),
        ("verifying", 4, ["10234"], 4),
        ("live", 5, ["10234"], 5),
        ("live", 6, ["11560"], 6),
    ]
    assert document["history"] == {"conclusive": True, "findings": 0, "decisions": ["UNDECIDED"] * 5}


# --- the command ---


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """As much of a project as new-oem needs."""
    (tmp_path / "selectors").mkdir()
    (tmp_path / "oem_submissions_tests" / "conformance").mkdir(parents=True)
    for path in ("adapters/registry.py", "oem_submissions/simulator/skins.py", "pyproject.toml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / path, tmp_path / path)
    for folder in ("adapters", "oem_submissions", "oem_submissions/simulator", "oem_submissions_tests/conformance"):
        (tmp_path / folder / "__init__.py").touch()
    return tmp_path


def snapshot(project: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in project.rglob("*") if path.is_file()}


def test_what_is_written_is_as_a_formatter_and_a_linter_leave_it(project: Path) -> None:
    names = [name + letter for name in ("a", "zetareticuliassocia") for letter in "bcdef"]
    for oem, claim_type in zip(names, itertools.cycle(ClaimType), strict=False):
        scaffold(NewOem(oem, "Zeta & Reticuli's Associates X", claim_type), project)
    for words in (("check",), ("format", "--check")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--no-cache", "."],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    for oem in names:
        with pytest.raises(ConfigurationError, match="still to be filled in"):
            load_pack(project / "selectors", oem)


FOR_ANY_PORTAL = {
    "a pattern": "'(?P<reference>[0-9]+)'",
    "how many": "30",
    "the zone": "America/Chicago",
}


@pytest.mark.parametrize(("claim_type", "example"), EXAMPLES.items())
def test_each_claim_type_is_a_valid_pack_once_it_is_filled_in(
    claim_type: ClaimType, example: ClaimModel, project: Path
) -> None:
    scaffold(NewOem("eridani", "Eridani", claim_type), project)
    path, number = project / "selectors" / "eridani" / "v0001.yaml", itertools.count()

    def fill_in(place: re.Match[str]) -> str:
        special = next((value for words, value in FOR_ANY_PORTAL.items() if place[1].startswith(words)), None)
        return special or f"place {next(number)}"

    path.write_text(re.sub(r'"FILL IN: ((?:[^"\\]|\\.)*)"', fill_in, path.read_text()))
    form = load_pack(project / "selectors", "eridani").form(claim_type)
    mapping = runpy.run_path(str(project / "adapters" / "eridani" / "mapping.py"))
    assert set(mapping["form_values"](example)) <= set(form.fields)
    assert form.history is not None
    assert form.history.listing is not None


def test_a_second_new_oem_finds_its_place_in_both_lists(project: Path) -> None:
    scaffold(NewOem("zeta", "Zeta", ClaimType.COOP), project)
    scaffold(NewOem("alpha", "Alpha", ClaimType.COOP), project)
    entries = ("Alpha", "Aurora", "Borealis", "Cascade", "Zeta")
    for path, module, listed in (
        (REGISTRY, "adapters.{}.portal", "{}()"),
        (SKINS, "oem_submissions.simulator.{}", "{}"),
    ):
        text = (project / path).read_text()
        assert "".join(f"        {listed.format(entry)},\n" for entry in entries) in text
        imports = [line for line in text.splitlines() if line.startswith(f"from {module.partition('.')[0]}.")]
        assert {f"from {module.format(entry.lower())} import {entry}" for entry in entries} <= set(imports)
        assert imports == sorted(imports)


@pytest.mark.parametrize(
    ("oem", "title", "says"),
    [
        ("Eridani", "E", "'Eridani' is no name for an OEM"),
        ("e", "E", "'e' is no name for an OEM"),
        ("class", "E", "'class' is no name for an OEM"),
        ("../etc", "E", "'../etc' is no name for an OEM"),
        ("eridani", 'E"""', "is no title"),
        ("registry", "E", "adapters/registry.py exists already: choose another name than 'registry'"),
        ("skins", "E", "oem_submissions/simulator/skins.py exists already"),
    ],
)
def test_a_bad_name_is_refused_and_nothing_is_written(oem: str, title: str, says: str, project: Path) -> None:
    before = snapshot(project)
    with pytest.raises(NotSo, match=says.replace(".", r"\.")):
        scaffold(NewOem(oem, title, ClaimType.WARRANTY), project)
    assert snapshot(project) == before


@pytest.mark.parametrize("taken", ["selectors/eridani", "oem_submissions_tests/conformance/test_eridani.py"])
def test_what_is_in_the_way_is_named_and_nothing_is_written(taken: str, project: Path) -> None:
    (project / taken).mkdir()
    before = snapshot(project)
    with pytest.raises(NotSo, match=f"{taken} exists already"):
        scaffold(NewOem("eridani", "Eridani", ClaimType.WARRANTY), project)
    assert snapshot(project) == before


def test_a_registry_that_was_rewritten_is_left_alone(project: Path) -> None:
    path = project / "adapters" / "registry.py"
    path.write_text(path.read_text().replace("        Cascade(),\n", "        Cascade(), *more(),\n"))
    before = snapshot(project)
    with pytest.raises(NotSo, match="has no list of one entry per line any more: add Eridani by hand"):
        scaffold(NewOem("eridani", "Eridani", ClaimType.WARRANTY), project)
    assert snapshot(project) == before


def test_another_folder_is_not_mistaken_for_a_project(tmp_path: Path) -> None:
    with pytest.raises(NotSo, match="is not the root of this project: it has no adapters/registry.py"):
        scaffold(NewOem("eridani", "Eridani", ClaimType.WARRANTY), tmp_path)
