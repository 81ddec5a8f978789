"""Writes the folder that an auditor is given: bundles, proofs, keys, and the very commands that verify them.

Everything in it is verified with sha256sum, bagit.py and OpenSSL; nothing of ours is needed. What is written was
verified before, by who calls this.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from oem_submissions.domain.checkpoints import LEAF_FORMAT, Proof, claimed, fingerprint, parted
from oem_submissions.domain.merkle import sides
from oem_submissions.evidence.bundle import SIGNATURE, TAG_MANIFEST
from oem_submissions.evidence.signing import TrustedKeys


@dataclass(frozen=True)
class ExportedClaim:
    """One claim of the export."""

    claim_id: str
    bundle: bytes = field(repr=False)
    digest: str
    proof: Proof
    consistency: str


@dataclass(frozen=True)
class ExportedHead:
    """The checkpoint that all are proven against."""

    note: str
    response: bytes | None
    """Its time-stamp."""
    certificates: bytes | None
    """PEM, where the time-stamp leads; None when nobody here knows."""


def write_export(
    folder: Path, claims: Sequence[ExportedClaim], head: ExportedHead, keys: TrustedKeys, at: datetime
) -> None:
    """Write the folder, which must be empty or not there. Raises `ValueError` when a key of it is not trusted."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: name a new folder.")
    pems: dict[str, str] = {}
    rows = [_write_claim(folder, claim, keys, pems) for claim in claims]
    (folder / "checkpoint.txt").write_text(head.note, encoding="utf-8")
    if head.response is not None:
        (folder / "checkpoint.tsr").write_bytes(head.response)
    if head.response is not None and head.certificates is not None:
        (folder / "tsa-ca.pem").write_bytes(head.certificates)
    text, ((_, signature), *_) = parted(head.note)
    readme = _environment().get_template("export.txt.j2").render(
        at=at, claims=rows, head=claimed(head.note), head_key=_key(text.encode(), signature[4:], keys, pems),
        keys=[(name, fingerprint(keys.pem(found) or b"")) for found, name in pems.items()],
        leaf_format=LEAF_FORMAT, stamped=head.response is not None, with_ca=head.certificates is not None,
    )  # fmt: skip
    for found, name in pems.items():
        (folder / name).write_bytes(keys.pem(found) or b"")
    (folder / "README.txt").write_text(readme, encoding="utf-8")


def _write_claim(folder: Path, claim: ExportedClaim, keys: TrustedKeys, pems: dict[str, str]) -> Mapping[str, object]:
    """The bag, its zip and its proofs; what the README says of it."""
    (folder / f"{claim.claim_id}.zip").write_bytes(claim.bundle)
    (folder / f"{claim.claim_id}.tlog-proof").write_text(claim.proof.text, encoding="utf-8")
    (folder / f"{claim.claim_id}.consistency").write_text(claim.consistency, encoding="utf-8")
    files = _unzip(claim.bundle, folder)
    top = f"{claim.claim_id}/"
    size = claimed(claim.proof.note).size
    steps = zip(claim.proof.hashes, sides(claim.proof.index, size), strict=True)
    return {
        "id": claim.claim_id,
        "digest": claim.digest,
        "index": claim.proof.index,
        "key": _key(files[top + TAG_MANIFEST], files[top + SIGNATURE], keys, pems),
        "steps": [(item.hex(), left) for item, left in steps],
        "files": sorted(name.removeprefix(top) for name in files),
    }


def _unzip(bundle: bytes, folder: Path) -> dict[str, bytes]:
    """The bag as a folder; its names were verified."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return files


def _key(data: bytes, signature: bytes, keys: TrustedKeys, pems: dict[str, str]) -> str:
    """The name of the file with the key that made a signature."""
    found = keys.signer_of(data, signature)
    if found is None:
        raise ValueError("A signature in the export is of no trusted key.")
    return pems.setdefault(found, f"evidence-pub-{found[:8]}.pem" if pems else "evidence-pub.pem")


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("oem_submissions.evidence", "templates"),
        autoescape=False,  # noqa: S701 - a text of names that were verified, never shown by a browser
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
