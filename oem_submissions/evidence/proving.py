"""Checks who made a bundle and that it is in the log: the signature over its tag manifest, and its log proof."""

from __future__ import annotations

from collections.abc import Mapping

from oem_submissions.domain.checkpoints import Malformed, leaf_of, opened, parse_proof
from oem_submissions.domain.evidence import Finding
from oem_submissions.evidence.bundle import PROOF, SIGNATURE, TAG_MANIFEST
from oem_submissions.evidence.signing import TrustedKeys

_NO_KEY = "can't be checked: no trusted key is known here; name the public key with --key."


def signature_findings(files: Mapping[str, bytes], keys: TrustedKeys) -> list[Finding]:
    """What is wrong with `tagmanifest-sha256.txt.sig`."""
    if SIGNATURE not in files:
        return [Finding(SIGNATURE, "is missing: nobody vouches for the bundle.")]
    if not keys:
        return [Finding(SIGNATURE, _NO_KEY)]
    if not keys.signed(files.get(TAG_MANIFEST, b""), files[SIGNATURE]):
        return [Finding(SIGNATURE, f"is not the signature of any trusted key over {TAG_MANIFEST}.")]
    return []


def proof_findings(
    files: Mapping[str, bytes], claim_id: str | None, digest: str | None, keys: TrustedKeys
) -> list[Finding]:
    """What is wrong with `proof.tlog-proof`: its checkpoint must be the log's, and lead to this very bundle."""
    if PROOF not in files:
        return [Finding(PROOF, "is missing: nothing shows that the bundle is in the log.")]
    try:
        proof = parse_proof(files[PROOF])
        if not keys:
            return [Finding(PROOF, _NO_KEY)]
        checkpoint = opened(proof.note, keys.trust)
    except Malformed as error:
        return [Finding(PROOF, str(error))]
    if claim_id is None or digest is None:
        return []  # what stands in for them is a finding already
    if not proof.shows(leaf_of(claim_id, digest), checkpoint):
        return [Finding(PROOF, "does not lead from this bundle to its checkpoint: it is the proof of something else.")]
    return []
