"""Verifies a bundle offline, zip or unpacked folder, and says which file is wrong and how.

Whatever it is given is hostile: every size is bounded before it is read, nothing is followed out of the bundle, and
the answer is always a `Verification`. It trusts no list in the bundle, and no key: what may be in one is known here,
and whose signature counts is said by who asks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import bagit

from oem_submissions.domain.evidence import (
    BUNDLED,
    DOCUMENT,
    INDEX,
    POST_CONFIRM,
    PRE_SUBMIT,
    READBACK,
    REQUEST,
    SUBMISSION,
    BundleFacts,
    Finding,
    Verification,
    document_problem,
    facts_problems,
    missing_evidence,
)
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.states import State
from oem_submissions.evidence.bundle import BAGIT, MANIFEST, PROOF, SIGNATURE, TAG_MANIFEST, json_object
from oem_submissions.evidence.images import look_at
from oem_submissions.evidence.manifest import manifest_findings
from oem_submissions.evidence.proving import proof_findings, signature_findings
from oem_submissions.evidence.signing import TrustedKeys
from oem_submissions.evidence.submission import SubmissionUnreadable, read_submission
from oem_submissions.evidence.unpack import Unpacked, unpack

_TAGS = ("bagit.txt", "bag-info.txt", MANIFEST, TAG_MANIFEST)
_NO_KEYS = TrustedKeys()


def verify_bundle(
    source: Path | str | bytes, expected_digest: str | None = None, keys: TrustedKeys = _NO_KEYS
) -> Verification:
    """Verify the zip's bytes, or the zip or unpacked folder at a path; `expected_digest` is what the link names.

    Without a key that is trusted no bundle verifies: then nobody knows who made it.

    Raises nothing for the bundle's sake: a missing file is a finding like any other.
    """
    unpacked = unpack(source)
    files = unpacked.files
    digest = sha256_hex(files[TAG_MANIFEST]) if TAG_MANIFEST in files else None
    findings = [*unpacked.findings, *_structure(files)]
    if expected_digest is not None and digest is not None and digest != expected_digest:
        findings.append(Finding(TAG_MANIFEST, f"its digest is {digest}, not {expected_digest} as the link says."))
    findings += manifest_findings(files)
    facts, about_facts = _facts(unpacked)
    findings += about_facts
    findings += _evidence(files, facts)
    findings += signature_findings(files, keys)
    findings += proof_findings(files, facts.claim_id if facts else None, digest, keys)
    if not findings:
        findings += _library_findings(files)
    return Verification(not findings, digest, tuple(dict.fromkeys(findings)), facts)


def _structure(files: Mapping[str, bytes]) -> list[Finding]:
    """The allow-list: what must be there, and that nothing else is."""
    required = {*_TAGS, f"data/{SUBMISSION}", f"data/{INDEX}"}
    allowed = {*required, SIGNATURE, PROOF, *(f"data/{name}" for name in BUNDLED)}
    findings = [Finding(name, "is missing.") for name in sorted(required - files.keys())]
    for name in sorted(files.keys() - allowed):
        if name == "fetch.txt":
            findings.append(Finding(name, "a bundle that wants files fetched from elsewhere is refused."))
        else:
            findings.append(Finding(name, "does not belong in a bundle."))
    if files.get("bagit.txt", BAGIT) != BAGIT:
        findings.append(Finding("bagit.txt", "does not declare BagIt 1.0 in UTF-8."))
    return findings


def _facts(unpacked: Unpacked) -> tuple[BundleFacts | None, list[Finding]]:
    name = f"data/{SUBMISSION}"
    if name not in unpacked.files:
        return None, []
    try:
        facts, names = read_submission(unpacked.files[name])
    except SubmissionUnreadable as error:
        return None, [Finding(name, str(error))]
    findings = [Finding(name, problem) for problem in facts_problems(facts)]
    present = {str(PurePosixPath(file).relative_to("data")) for file in unpacked.files if file.startswith("data/")}
    for other in sorted(names - present):
        findings.append(Finding(f"data/{other}", f"is missing; {SUBMISSION} names it."))
    for other in sorted(present - names):
        findings.append(Finding(f"data/{other}", f"is not named in {SUBMISSION}."))
    if unpacked.folder is not None and unpacked.folder != facts.claim_id:
        findings.append(Finding(name, f"names the claim {facts.claim_id}, but the zip's folder is another."))
    return facts, findings


def _evidence(files: Mapping[str, bytes], facts: BundleFacts | None) -> list[Finding]:
    """The mandatory pieces are there and show something."""
    payload = {name.removeprefix("data/"): data for name, data in files.items() if name.startswith("data/")}
    findings = []
    if missing := missing_evidence(facts.outcome if facts else State.REJECTED, payload.keys()):
        findings.append(Finding(f"data/{missing[1]}", "is missing."))
    for name in (READBACK, REQUEST):
        if name in payload and json_object(payload[name]) is None:
            findings.append(Finding(f"data/{name}", "is not a JSON object."))
    if DOCUMENT in payload and (
        problem := document_problem(json_object(payload[DOCUMENT]), facts.reference if facts else None)
    ):
        findings.append(Finding(f"data/{DOCUMENT}", problem))
    looks = {name: look_at(data) for name, data in sorted(payload.items()) if name.endswith(".webp")}
    findings += [Finding(f"data/{name}", look.problem) for name, look in looks.items() if look.problem]
    confirmed = facts is not None and facts.outcome is State.CONFIRMED
    if confirmed and {PRE_SUBMIT, POST_CONFIRM} <= looks.keys() and looks[PRE_SUBMIT].same_as(looks[POST_CONFIRM]):
        findings.append(Finding(f"data/{POST_CONFIRM}", f"shows the very same as {PRE_SUBMIT}."))
    return findings


def _library_findings(files: Mapping[str, bytes]) -> list[Finding]:
    """What the Library of Congress' own BagIt library says. It sees only files that passed everything above."""
    with tempfile.TemporaryDirectory(prefix="oem-submissions-verify-") as folder:
        for name, data in files.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        try:
            bagit.Bag(folder).validate()
        except (bagit.BagError, OSError, ValueError, LookupError) as error:
            return [Finding("bagit.txt", f"The BagIt library refuses the bag: {error}")]
    return []
