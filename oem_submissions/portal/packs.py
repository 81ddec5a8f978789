"""Reads selector packs from disk: strict, versioned, locked. What a pack may say is in `schema.py`.

A malformed pack is one sentence that names file, line, key and version. A released pack is never edited: `packs.lock`
holds its digest, and a file that has another one does not load.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from oem_submissions.domain import strict_yaml
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.domain.keys import canonical_json, sha256_hex
from oem_submissions.portal.schema import Form, Login, Markers, PackData

LOCK = "packs.lock"
SCHEMA = "pack.schema.json"
FILL_IN = "FILL IN: "
"""Begins what `oem-submissions new-oem` leaves to the engineer."""


@dataclass(frozen=True)
class Pack:
    """A valid pack, pinned by the digest of its canonical content."""

    path: Path
    data: PackData
    digest: str
    """Hex SHA-256 of the canonical JSON of the file's content: comments and layout don't count."""
    locked: bool
    """Whether it is released, so that it may not change any more."""

    @property
    def oem(self) -> str:
        return self.data.oem

    @property
    def version(self) -> str:
        return self.data.version

    @property
    def login(self) -> Login:
        return self.data.login

    @property
    def markers(self) -> Markers:
        return self.data.markers

    @property
    def golden(self) -> Path:
        """The folder of recorded pages."""
        return self.path.parent / "golden"

    def form(self, claim_type: str) -> Form:
        """The form for a claim type. Raises `ConfigurationError` when the pack has none."""
        try:
            return self.data.forms[claim_type]
        except KeyError:
            known = ", ".join(self.data.forms)
            raise ConfigurationError(
                f"Pack {self.version} of {self.oem} has no form for '{claim_type}', only for {known}:"
                " add it to a new version."
            ) from None


def versions(selectors: Path, oem: str) -> list[str]:
    """The versions of an OEM's pack on disk, oldest first."""
    return sorted(path.stem for path in (selectors / oem).glob("v[0-9][0-9][0-9][0-9].yaml"))


def load_pack(selectors: Path, oem: str, version: str | None = None) -> Pack:
    """The OEM's pack, the newest unless `version` names one. Raises `ConfigurationError` with one sentence."""
    found = versions(selectors, oem)
    wanted = version or (found[-1] if found else None)
    if wanted is None or wanted not in found:
        have = f"it has {', '.join(found)}" if found else f"there is no {oem}/v0001.yaml"
        raise ConfigurationError(
            f"No selector pack {wanted or ''} for '{oem}' in {selectors}: {have}.".replace("  ", " ")
        )
    path = selectors / oem / f"{wanted}.yaml"
    data, digest = _valid(path, path.read_text(encoding="utf-8"))
    if (data.oem, data.version) != (oem, wanted):
        raise ConfigurationError(
            f"{path} says that it is {data.oem} {data.version}: oem and version must be as the path says."
        )
    lock = read_lock(selectors).get(f"{oem}/{wanted}")
    if lock not in (None, digest):
        raise ConfigurationError(
            f"{path} was changed after its release (packs.lock has {str(lock)[:12]}…, the file is {digest[:12]}…):"
            f" undo the change and put it into the next version, v{int(wanted[1:]) + 1:04d}."
        )
    return Pack(path, data, digest, lock is not None)


def read_lock(selectors: Path) -> dict[str, str]:
    """Digests of the released packs, by `oem/version`."""
    path = selectors / LOCK
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: digest for digest, name in (line.split() for line in lines if line and not line.startswith("#"))}


def released_packs(selectors: Path, oem: str) -> list[tuple[str, str]]:
    """(version, digest) of the OEM's released packs, oldest first. What is not locked is still being written."""
    locked = (name.split("/") + [digest] for name, digest in read_lock(selectors).items())
    return sorted((version, digest) for of, version, digest in locked if of == oem)


def lock_packs(selectors: Path, packs: Sequence[Pack]) -> None:
    """Release these packs: from now on their files may not change. Those that are locked stay as they are."""
    lock = {f"{pack.oem}/{pack.version}": pack.digest for pack in packs} | read_lock(selectors)
    lines = [
        "# Digests of released packs (SHA-256 of canonical content). Made by `oem-submissions packs lock`; never edit."
    ]
    (selectors / LOCK).write_text("\n".join([*lines, *(f"{lock[name]}  {name}" for name in sorted(lock))]) + "\n")


def check_packs(selectors: Path) -> list[Pack]:
    """Every version of every pack under `selectors`, loaded. Raises `ConfigurationError` at the first that is wrong.

    The golden pages need a browser: see `goldens.check_goldens`.
    """
    stray = sorted(str(path) for path in selectors.rglob("*.py"))
    if stray:
        raise ConfigurationError(
            f"selectors/ must stay data, but it holds {stray[0]}: it would shadow Python's own module."
        )
    folders = sorted(path for path in selectors.iterdir() if path.is_dir())
    packs = [
        load_pack(selectors, folder.name, version) for folder in folders for version in versions(selectors, folder.name)
    ]
    have = {f"{pack.oem}/{pack.version}" for pack in packs}
    if lost := sorted(set(read_lock(selectors)) - have):
        raise ConfigurationError(f"The released pack {lost[0]} is in packs.lock but not on disk: restore it from git.")
    return packs


def json_schema() -> str:
    """The JSON schema of a pack, for editors; `selectors/pack.schema.json` holds it."""
    return json.dumps(PackData.model_json_schema(), indent=1, sort_keys=True) + "\n"


@lru_cache(maxsize=64)
def _valid(path: Path, text: str) -> tuple[PackData, str]:
    """What the file says, and its digest. Kept by its text: every session asks, and reading YAML takes its time."""
    raw = strict_yaml.read(path, text, f"pack {path.stem}")
    _check_filled_in(path, raw, text)
    data = strict_yaml.checked(PackData, path, text, raw, f"pack {path.stem}")
    return data, sha256_hex(canonical_json(_plain(raw)))


def unfilled(value: Any, where: tuple[int | str, ...] = ()) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """The places that are still to be filled in: the keys that lead there, and what has to stand there."""
    if isinstance(value, str) and value.startswith(FILL_IN):
        yield where, value.removeprefix(FILL_IN)
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield from unfilled(item, (*where, key))


def _check_filled_in(path: Path, raw: Any, text: str) -> None:
    places = list(unfilled(raw))
    if not places:
        return
    where, wanted = places[0]
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    line, key = strict_yaml.line_of(text, where), ".".join(map(str, where))
    raise ConfigurationError(
        f"{path} line {line}, key '{key}' (pack {path.stem}): still to be filled in: {wanted}{more}."
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value
