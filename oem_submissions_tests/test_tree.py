"""What the tree must be: `selectors/` holds data only, and never hides the standard library's module."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_selectors_holds_no_python() -> None:
    assert sorted((ROOT / "selectors").rglob("*.py*")) == []
    assert not (ROOT / "selectors.py").exists()


def test_the_standard_library_keeps_its_selectors_in_the_root_of_the_tree() -> None:
    code = "import selectors; print(selectors.DefaultSelector)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert "Selector'>" in done.stdout, done.stderr


def test_no_file_of_the_set_up_names_an_index_of_packages() -> None:
    index = re.compile(r"--(extra-)?index-url[ =]|find-links|trusted-host|/simple\b")
    for name in ("Makefile", "pyproject.toml", "requirements.lock", ".ci/run", ".env.example"):
        assert not index.search((ROOT / name).read_text()), name


def test_the_tree_in_the_readme_is_the_tree_on_disk() -> None:
    tree = (ROOT / "README.md").read_text().split("## Where things are", 1)[1].split("```")[1]
    inside = set(re.findall(r"^  ([\w.]+/?)", tree, re.MULTILINE))
    beside = set(re.findall(r"^(\w+/)", tree, re.MULTILINE)) | set(tree.strip().splitlines()[-1].split())
    assert all((ROOT / name).exists() for name in beside), beside
    package = ROOT / "oem_submissions"
    assert inside == {path.name + "/" * path.is_dir() for path in package.iterdir() if path.name[0] not in "._"}


def test_every_setting_is_in_the_example_environment() -> None:
    example = (ROOT / ".env.example").read_text()
    settings = (ROOT / "oem_submissions" / "settings.py").read_text()
    names = set(re.findall(r'\{PREFIX\}([A-Z_]+)"', settings)) | set(re.findall(r'env, "([A-Z_]+)"', settings))
    assert len(names) >= 14
    assert sorted(name for name in names if f"OEM_SUBMISSIONS_{name}" not in example) == []


def test_every_picture_and_page_that_the_readme_shows_is_there() -> None:
    linked = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert len(linked) >= 5
    assert [link for link in linked if not link.startswith("http") and not (ROOT / link).exists()] == []
