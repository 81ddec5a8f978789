"""A key that is always the same, and a log that lives in the test: sealed bundles without a ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from oem_submissions.domain import merkle
from oem_submissions.domain.checkpoints import Proof, leaf_of
from oem_submissions.domain.evidence import Bundle, BundleFacts
from oem_submissions.evidence.bundle import build_bundle, complete_bundle
from oem_submissions.evidence.leaks import leaks
from oem_submissions.evidence.signing import TrustedKeys
from oem_submissions.services.leaking import LeakGate
from oem_submissions.services.seal import Notary
from oem_submissions.settings import EnvironmentSecrets
from oem_submissions_tests.evidence import samples

ORIGIN = "log.example/evidence"


@dataclass
class FixedSigner:
    """Implements the `Signer` port with a key that anybody can make again: good for tests only."""

    number: int = 20_261_125
    signed: list[bytes] = field(default_factory=list)

    @property
    def public_key_pem(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes) -> bytes:
        self.signed.append(data)
        return self._key.sign(data, ec.ECDSA(SHA256()))

    @property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(self.number, ec.SECP256R1())


def notary(signer: FixedSigner | None = None) -> Notary:
    """A notary with the fixed key, or with another one."""
    return Notary(signer or FixedSigner(), ORIGIN, complete_bundle)


NOTARY = notary()
LEAK_GATE = LeakGate(leaks, EnvironmentSecrets({}))
SEALING: dict[str, Any] = {"bundle": build_bundle, "notary": NOTARY, "leak_gate": LEAK_GATE}
"""What `seal_claims` needs beside ledger and store."""
KEYS = TrustedKeys([FixedSigner().public_key_pem])


class Log:
    """An evidence log in memory."""

    def __init__(self, by: Notary = NOTARY, leaves: int = 0) -> None:
        self.by = by
        self.nodes: dict[merkle.Place, bytes] = {}
        self.notes: list[str] = []
        for number in range(leaves):
            self.append(leaf_of(f"aurora-{number:012d}", "0" * 64))

    def append(self, leaf: bytes) -> Proof:
        """Log a leaf; its proof in its own checkpoint."""
        size = len(self.notes)
        self.nodes |= merkle.completed(merkle.among(self.nodes), size, merkle.leaf_hash(leaf))
        root = merkle.root(merkle.among(self.nodes), size + 1)
        self.notes.append(self.by.note(size + 1, root, self.notes[-1] if self.notes else None))
        return Proof(size, tuple(merkle.inclusion(merkle.among(self.nodes), size, size + 1)), self.notes[-1])


@dataclass(frozen=True)
class Sealed:
    """A bundle as it is stored."""

    digest: str
    zip_bytes: bytes


def seal(bundle: Bundle, claim_id: str, by: Notary = NOTARY, leaves: int = 5) -> Sealed:
    """The bundle, signed and logged after so many others."""
    proof = Log(by, leaves).append(leaf_of(claim_id, bundle.digest))
    return Sealed(bundle.digest, complete_bundle(bundle, claim_id, by.signer.sign(bundle.tag_manifest), proof.text))


def sealed_bundle(facts: BundleFacts | None = None, artifacts: Mapping[str, bytes] | None = None) -> Sealed:
    """A sample claim's bundle as it is stored."""
    facts = facts or samples.facts()
    return seal(build_bundle(facts, samples.artifacts() if artifacts is None else artifacts), facts.claim_id)
