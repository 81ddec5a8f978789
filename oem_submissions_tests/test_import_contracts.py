"""Who may import whom is enforced: the tree keeps the contracts, and an import that breaks one is caught."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """`lint-imports` on the tree in the folder, wherever the package is installed from."""
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is linted."""
    for name in ("oem_submissions", "adapters"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_tree_keeps_every_contract() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


LAYERS = "Each layer imports only layers below it"
ADAPTERS = "Adapters import only domain, ports and portal"
PLAYWRIGHT = "Only portal and adapters know Playwright"
DAGSTER = "Only defs, wiring and definitions know Dagster"
SQLALCHEMY = "Only the ledger knows SQLAlchemy"


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("oem_submissions/domain/planted.py", "import oem_submissions.ports", LAYERS),
        ("oem_submissions/services/planted.py", "import oem_submissions.evidence.bundle", LAYERS),
        ("oem_submissions/desk/planted.py", "import oem_submissions.defs", LAYERS),
        ("oem_submissions/evidence/planted.py", "def f():\n    import oem_submissions.services.submit", LAYERS),
        ("oem_submissions/portal/planted.py", "import adapters.registry", LAYERS),
        ("adapters/planted/portal.py", "import adapters.other.portal", "Adapters never import each other"),
        ("adapters/planted/portal.py", "import adapters.registry", "Adapters never import each other"),
        ("adapters/planted/portal.py", "import oem_submissions.services.submit", ADAPTERS),
        ("adapters/planted/portal.py", "import oem_submissions.ledger", ADAPTERS),
        ("adapters/planted/portal.py", "import sqlalchemy", SQLALCHEMY),
        ("oem_submissions/services/planted.py", "from sqlalchemy import select", SQLALCHEMY),
        ("oem_submissions/services/planted.py", "import playwright.sync_api", PLAYWRIGHT),
        ("oem_submissions/services/planted.py", "import dagster", DAGSTER),
        ("oem_submissions/cli/planted.py", "from dagster_postgres import storage", DAGSTER),
        ("oem_submissions/simulator/planted.py", "import oem_submissions.domain.claims", "The simulator stands alone"),
        ("oem_submissions/services/planted.py", "import oem_submissions.simulator", "Only the command line and"),
        ("oem_submissions/conformance/planted.py", "import oem_submissions.cli", LAYERS),
        ("oem_submissions/defs/planted.py", "import oem_submissions.conformance", LAYERS),
    ],
)
def test_a_forbidden_import_is_caught(tree: Path, file: str, line: str, contract: str) -> None:
    for adapter in ("planted", "other"):
        folder = tree / "adapters" / adapter
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "portal.py").touch()
    (tree / file).write_text(f"{line}\n")
    done = lint(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [text for text in done.stdout.splitlines() if text.endswith("BROKEN") or "BROKEN (" in text]
    assert any(text.startswith(contract) for text in broken), done.stdout
    assert "planted" in done.stdout
