# noqa: INP001 - a script, not a package
"""The part of requirements.lock that the image installs: what runs, with its hashes, and nothing that only tests need.

`python deploy/image_requirements.py < requirements.lock > image.txt`, in the folder that has pyproject.toml. The lock
says of each package who wants it; from the project's own dependencies and `EXTRA` the rest follows. With names as
words, it is what these lead to instead: the tools of the build stage.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

EXTRA = ("dagster-k8s",)
"""Imported by the webserver, the daemon and the runs when `dagster.yaml` names the K8sRunLauncher."""
_PACKAGE = re.compile(r"([A-Za-z0-9._-]+)==")


def image_lock(lock: str, roots: Sequence[str]) -> str:
    """The blocks of the lock that these packages lead to. Raises `LookupError` for one that is not locked."""
    blocks = _blocks(lock)
    wants: dict[str, set[str]] = defaultdict(set)
    for name, block in blocks:
        for wanting in re.findall(r"^    #(?: via)? +([A-Za-z0-9._-]+)", block, re.MULTILINE):
            wants[_same(wanting)].add(name)
    kept, todo = set(), [_same(re.split(r"[\[ ;<>=!~]", root, maxsplit=1)[0]) for root in roots]
    if missing := sorted(set(todo) - {name for name, _ in blocks}):
        raise LookupError(f"{', '.join(missing)}: not in the lock; run `make lock`.")
    while todo:
        name = todo.pop()
        if name not in kept:
            kept.add(name)
            todo += wants[name]
    return "".join(block for name, block in blocks if name in kept)


def image_roots(pyproject: Path) -> list[str]:
    """What the image is for."""
    return [*tomllib.loads(pyproject.read_text())["project"]["dependencies"], *EXTRA]


def _blocks(lock: str) -> list[tuple[str, str]]:
    """A package's version with its hashes and who wants it; there may be one per version of Python."""
    parts = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return [(_same(found[1]), part) for part in parts if (found := _PACKAGE.match(part))]


def _same(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.stdout.write(image_lock(sys.stdin.read(), sys.argv[1:] or image_roots(Path("pyproject.toml"))))
