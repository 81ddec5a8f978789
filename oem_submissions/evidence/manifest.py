"""Checks the two manifests of a bag against its files, both ways: what is listed and what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

from oem_submissions.domain.evidence import Finding
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.evidence.bundle import MANIFEST, TAG_MANIFEST

_LINE = re.compile(rb"([0-9a-f]{64})  ([A-Za-z0-9._/-]{1,200})")


def manifest_findings(files: Mapping[str, bytes]) -> list[Finding]:
    """Everything that disagrees with `manifest-sha256.txt` or `tagmanifest-sha256.txt`."""
    payload = {name for name in files if name.startswith("data/")}
    tags = {"bagit.txt", "bag-info.txt", MANIFEST} & files.keys()
    return _against(MANIFEST, files, payload) + _against(TAG_MANIFEST, files, tags)


def _against(manifest: str, files: Mapping[str, bytes], covered: Set[str]) -> list[Finding]:
    if manifest not in files:
        return []
    listed, findings = _parse(manifest, files[manifest])
    for name in sorted(listed.keys() | covered):
        if name not in files:
            findings.append(Finding(name, f"is missing; {manifest} lists it."))
        elif name not in covered:
            findings.append(Finding(manifest, f"lists {name}, which is not for it to list."))
        elif name not in listed:
            findings.append(Finding(name, f"was added: {manifest} does not list it."))
        elif sha256_hex(files[name]) != listed[name]:
            findings.append(Finding(name, f"was changed: its SHA-256 is not the one in {manifest}."))
    return findings


def _parse(manifest: str, data: bytes) -> tuple[dict[str, str], list[Finding]]:
    listed: dict[str, str] = {}
    if not data.endswith(b"\n"):
        return listed, [Finding(manifest, "does not end with a line.")]
    for number, line in enumerate(data[:-1].split(b"\n"), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            return listed, [Finding(manifest, f"line {number} is not a SHA-256, two spaces and a file's name.")]
        name = match[2].decode("ascii")
        if name in listed:
            return listed, [Finding(manifest, f"lists {name} twice.")]
        listed[name] = match[1].decode("ascii")
    return listed, []
