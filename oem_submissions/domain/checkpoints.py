"""What the evidence log writes down: leaves, checkpoints, proofs, in the formats of C2SP. Pure, and of texts only.

Who signs, and whose signatures count, is decided elsewhere: here is what is signed, and how it is read back, strictly.
Formats: c2sp.org/signed-note (ECDSA, type 0x02), c2sp.org/tlog-checkpoint, c2sp.org/tlog-proof.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oem_submissions.domain.merkle import includes, leaf_hash

PROOF_FORMAT = "c2sp.org/tlog-proof@v1"
CONSISTENCY_FORMAT = "oem-submissions consistency proof 1"
LEAF_FORMAT = "oem-submissions bundle 1"

_MAX_TEXT = 100_000
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")
_NAME = re.compile(r"[^\s+]{1,200}")


class Malformed(ValueError):
    """A note, checkpoint or proof is not in its format: the end of a sentence that begins with its name."""


Trust = Callable[[bytes, bytes, bytes], bool | None]
"""(key id of 4 bytes, data, DER signature) to whether it is the trusted key's signature; None: no such key is known."""


@dataclass(frozen=True)
class Checkpoint:
    """A log's head at a size."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"


@dataclass(frozen=True)
class Proof:
    """That a leaf is in the tree of a checkpoint. `note` is the checkpoint with its signatures, verbatim."""

    index: int
    hashes: tuple[bytes, ...]
    note: str

    @property
    def text(self) -> str:
        """As `proof.tlog-proof` holds it."""
        lines = [PROOF_FORMAT, f"index {self.index}", *map(_b64, self.hashes)]
        return "".join(f"{line}\n" for line in lines) + "\n" + self.note

    def shows(self, leaf: bytes, checkpoint: Checkpoint) -> bool:
        """Whether the leaf (its data) is in the checkpoint's tree."""
        return includes(leaf_hash(leaf), self.index, checkpoint.size, self.hashes, checkpoint.root)


def leaf_of(claim_id: str, bundle_digest: str) -> bytes:
    """The leaf of a bundle: three lines, which anybody makes from the bundle alone."""
    return f"{LEAF_FORMAT}\n{claim_id}\n{bundle_digest}\n".encode()


def key_der(pem: bytes) -> bytes:
    """A public key's SubjectPublicKeyInfo, from its PEM."""
    body = [line for line in pem.decode("ascii").splitlines() if line and not line.startswith("-----")]
    return base64.b64decode("".join(body), validate=True)


def fingerprint(pem: bytes) -> str:
    """Hex SHA-256 of a public key's SubjectPublicKeyInfo; its first four bytes are the key id in notes."""
    return hashlib.sha256(key_der(pem)).hexdigest()


def signed_note(text: str, name: str, key_fingerprint: str, signature: bytes) -> str:
    """The text with one signature line; the name is the signer's."""
    line = _b64(bytes.fromhex(key_fingerprint)[:4] + signature)
    return f"{text}\n\u2014 {name} {line}\n"


def opened(note: str, trust: Trust) -> Checkpoint:
    """The checkpoint of a note that a trusted key signed as its origin. Raises `Malformed`.

    Signatures of keys that nobody knows are passed over (witnesses have such); one false signature of a known key
    refuses the note.
    """
    text, signatures = parted(note)
    checkpoint = parse_checkpoint(text)
    verdicts = [
        trust(signature[:4], text.encode(), signature[4:])
        for name, signature in signatures
        if name == checkpoint.origin
    ]
    if any(verdict is False for verdict in verdicts):
        raise Malformed("bears a false signature of a trusted key.")
    if True not in verdicts:
        raise Malformed("is not signed by any trusted key.")
    return checkpoint


def claimed(note: str) -> Checkpoint:
    """What a note says, whoever signed it. Raises `Malformed`."""
    return parse_checkpoint(parted(note)[0])


def parse_checkpoint(text: str) -> Checkpoint:
    """A checkpoint's text. Raises `Malformed`."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise Malformed("is not three lines: the origin, the size and the root.")
    if not _DECIMAL.fullmatch(lines[1]):
        raise Malformed("has no size in its second line.")
    return Checkpoint(lines[0], int(lines[1]), _hash(lines[2]))


def parse_proof(data: bytes) -> Proof:
    """A `.tlog-proof` without extra data: none of ours has any. Raises `Malformed`."""
    head, _, note = _decoded(data).partition("\n\n")
    lines = head.split("\n")
    if lines[0] != PROOF_FORMAT:
        raise Malformed(f"does not begin with {PROOF_FORMAT}.")
    if len(lines) < 2 or not lines[1].startswith("index ") or not _DECIMAL.fullmatch(lines[1].removeprefix("index ")):
        raise Malformed("has no index in its second line.")
    if len(lines) > 66:
        raise Malformed("has more hashes than any tree is high.")
    return Proof(int(lines[1].removeprefix("index ")), tuple(_hash(line) for line in lines[2:]), note)


def consistency_text(old: Checkpoint, new: Checkpoint, hashes: Sequence[bytes]) -> str:
    """A consistency proof (RFC 6962, section 2.1.2) for people's hands: there is no C2SP format for one."""
    heads = [f"old {old.size} {_b64(old.root)}", f"new {new.size} {_b64(new.root)}"]
    return "".join(f"{line}\n" for line in [CONSISTENCY_FORMAT, *heads, *map(_b64, hashes)])


def parted(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """A note's text with its last newline, and (name, key id and signature) of each signer. Raises `Malformed`."""
    text, blank, rest = note.rpartition("\n\n")
    if len(note) > _MAX_TEXT or not blank or not rest.endswith("\n"):
        raise Malformed("is not a text, an empty line and signatures.")
    if any(character < " " and character != "\n" for character in note):
        raise Malformed("holds control characters.")
    return f"{text}\n", [_signature(line) for line in rest[:-1].split("\n")]


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not _NAME.fullmatch(parts[1]):
        raise Malformed("has a line of signature that is none.")
    signature = _unb64(parts[2])
    if len(signature) < 5:
        raise Malformed("has a line of signature that is none.")
    return parts[1], signature


def _decoded(data: bytes) -> str:
    if len(data) > _MAX_TEXT:
        raise Malformed("is too long.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("is not UTF-8.") from error


def _hash(line: str) -> bytes:
    value = _unb64(line)
    if len(value) != 32:
        raise Malformed("has a line that is no SHA-256 in base64.")
    return value


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    """Canonical base64 only: no other text means the same bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise Malformed("has a line that is not base64.") from error
    if _b64(data) != text:
        raise Malformed("has a line that is not base64.")
    return data
