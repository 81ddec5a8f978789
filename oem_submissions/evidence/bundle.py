"""Builds the evidence bundle of a claim: a BagIt bag (RFC 8493) in a stored zip, the same bytes for the same inputs.

Sealing again after a crash therefore gives the same digest, and the write-once store takes it as done. Nothing here
reads a clock, a file or a network. Signature and log proof are made elsewhere, from the finished bag, and the digest
does not cover them: `complete_bundle` only adds them.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from oem_submissions.domain.evidence import (
    BUNDLED,
    DOCUMENT,
    INDEX,
    POST_CONFIRM,
    PRE_SUBMIT,
    READBACK,
    REQUEST,
    SUBMISSION,
    Bundle,
    BundleFacts,
    document_problem,
    facts_problems,
    missing_evidence,
)
from oem_submissions.domain.failures import SubmissionError
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import State
from oem_submissions.evidence.images import look_at
from oem_submissions.evidence.page import render_index

FORMAT = "oem-submissions bundle 1"
BAGIT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
SIGNATURE = "tagmanifest-sha256.txt.sig"
PROOF = "proof.tlog-proof"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def build_bundle(facts: BundleFacts, artifacts: Mapping[str, bytes]) -> Bundle:
    """The sealed bundle of one claim, filed or refused.

    `artifacts` holds the captured pieces by name (`domain.evidence.BUNDLED`). Raises `SubmissionError` with
    `PRE_EVIDENCE_MISSING` or `POST_EVIDENCE_MISSING` when a mandatory piece is missing or shows nothing, and
    `ValueError` when the facts contradict themselves or an artefact has no place in a bundle.
    """
    if problems := facts_problems(facts):
        raise ValueError(" ".join(problems))
    if strangers := sorted(artifacts.keys() - BUNDLED):
        raise ValueError(f"A bundle has no place for {', '.join(strangers)}.")
    _check_evidence(facts, artifacts)
    facts = _in_utc(facts)
    payload = dict(artifacts)
    payload[SUBMISSION] = submission_json(facts, [*payload, SUBMISSION, INDEX])
    payload[INDEX] = render_index(facts, payload)
    files = {f"data/{name}": data for name, data in payload.items()}
    tags = {
        "bagit.txt": BAGIT,
        "bag-info.txt": _bag_info(facts, files),
        MANIFEST: _manifest(files),
    }
    tag_manifest = _manifest(tags)
    zipped = _zip(facts.claim_id, {**files, **tags, TAG_MANIFEST: tag_manifest})
    return Bundle(sha256_hex(tag_manifest), tag_manifest, zipped)


def complete_bundle(bundle: Bundle, claim_id: str, signature: bytes, proof: str) -> bytes:
    """The bundle as it is stored: with its signature and its log proof, the same bytes for the same ones."""
    buffer = io.BytesIO(bundle.zip_bytes)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        _add(archive, f"{claim_id}/{PROOF}", proof.encode())
        _add(archive, f"{claim_id}/{SIGNATURE}", signature)
    return buffer.getvalue()


def submission_json(facts: BundleFacts, names: list[str]) -> bytes:
    """`submission.json`: the format's name, the facts in their order, and the names of all files of the payload."""
    document: dict[str, Any] = {"format": FORMAT}
    for entry in dataclasses.fields(facts):
        value = getattr(facts, entry.name)
        document[entry.name] = _text(value) if isinstance(value, datetime) else value
    document["files"] = sorted(names)
    # A lone surrogate in a portal's text can't be UTF-8; "?" in its place keeps the reference where it stands.
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _in_utc(facts: BundleFacts) -> BundleFacts:
    """The same moments, so that a worker in another time zone seals the same bytes."""
    values = {entry.name: getattr(facts, entry.name) for entry in dataclasses.fields(facts)}
    times: dict[str, Any] = {name: at.astimezone(UTC) for name, at in values.items() if isinstance(at, datetime)}
    return dataclasses.replace(facts, **times)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _check_evidence(facts: BundleFacts, artifacts: Mapping[str, bytes]) -> None:
    if missing := missing_evidence(facts.outcome, artifacts.keys()):
        reason, name = missing
        raise SubmissionError(reason, f"The bundle of {facts.claim_id} can't be sealed: {name} is missing.", "seal")
    shots = {PRE_SUBMIT: ReasonCode.PRE_EVIDENCE_MISSING, POST_CONFIRM: ReasonCode.POST_EVIDENCE_MISSING}
    looks = {name: look_at(artifacts[name]) for name in shots}
    for name, reason in shots.items():
        if problem := looks[name].problem:
            raise SubmissionError(reason, f"The bundle of {facts.claim_id} can't be sealed: {name} {problem}", "seal")
    if facts.outcome is State.CONFIRMED and looks[PRE_SUBMIT].same_as(looks[POST_CONFIRM]):
        raise SubmissionError(
            ReasonCode.POST_EVIDENCE_MISSING,
            f"The bundle of {facts.claim_id} can't be sealed: {POST_CONFIRM} shows the very same as {PRE_SUBMIT}.",
            "seal",
        )
    for name, reason in {READBACK: ReasonCode.PRE_EVIDENCE_MISSING, REQUEST: ReasonCode.POST_EVIDENCE_MISSING}.items():
        if name in artifacts and json_object(artifacts[name]) is None:
            raise SubmissionError(
                reason, f"The bundle of {facts.claim_id} can't be sealed: {name} is not a JSON object.", "seal"
            )
    if DOCUMENT in artifacts and (problem := document_problem(json_object(artifacts[DOCUMENT]), facts.reference)):
        raise SubmissionError(
            ReasonCode.POST_EVIDENCE_MISSING,
            f"The bundle of {facts.claim_id} can't be sealed: {DOCUMENT} {problem}",
            "seal",
        )


def json_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object that the bytes hold, or None when they hold anything else, however hostile."""
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _bag_info(facts: BundleFacts, files: Mapping[str, bytes]) -> bytes:
    size = sum(len(data) for data in files.values())
    lines = [
        f"Bagging-Date: {facts.settled_at.date().isoformat()}",
        f"Bag-Software-Agent: {FORMAT}",
        f"External-Identifier: {facts.claim_id}",
        f"Payload-Oxum: {size}.{len(files)}",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _manifest(files: Mapping[str, bytes]) -> bytes:
    return "".join(f"{sha256_hex(data)}  {name}\n" for name, data in sorted(files.items())).encode()


def _zip(folder: str, files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            _add(archive, f"{folder}/{name}", data)
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _ZIP_TIME)
    entry.create_system = 3  # Unix, wherever this runs: the mode below is read by it
    entry.external_attr = 0o100644 << 16
    archive.writestr(entry, data)
