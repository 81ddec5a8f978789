"""Signs and verifies with ECDSA P-256 over SHA-256: a key of this machine, or one of AWS KMS that never leaves it.

What is signed, and where signatures go, is not known here (`services.seal`). A public half is kept beside the local
keys as `<first 16 of its fingerprint>.pub.pem` when it is first used: so what it signed stays trusted after the key
was replaced.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from oem_submissions.domain.checkpoints import fingerprint
from oem_submissions.evidence.keyfiles import key_file
from oem_submissions.ports import SigningUnavailable

_log = logging.getLogger(__name__)
PUBLIC_KEYS = "*.pub.pem"
_ECDSA = ec.ECDSA(SHA256())


class LocalSigner:
    """`ports.Signer` with a key in a file, made on first use and readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def public_key_pem(self) -> bytes:
        """The public half. Raises `SigningUnavailable`."""
        return _pem(self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """A DER signature. Raises `SigningUnavailable`."""
        return self._key.sign(data, _ECDSA)

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        try:
            key = load_pem_private_key(key_file(self._path, _new_key), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SigningUnavailable(
                f"The key {self._path} is no private key in PEM: put it back from its backup, or move it away and a new"
                " one is made."
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise SigningUnavailable(f"The key {self._path} is not of the curve P-256: move it away.")
        try:
            keep_public_key(self._path.parent, _pem(key.public_key()))
        except SigningUnavailable as error:  # a folder of secrets that only its operator writes to
            _log.warning("Before this key is replaced, keep its public half beside the new one as .pub.pem: %s", error)
        return key


class KmsSigner:
    """`ports.Signer` with an asymmetric key of AWS KMS: `ECC_NIST_P256`, for signing.

    The key is looked up once, and from then on called by its ARN: an alias that is pointed elsewhere meanwhile does not
    change whose signature this is. KMS itself hashes what it signs (`RAW`), up to 4096 bytes: tag
    manifests and checkpoints are a tenth of that.
    """

    def __init__(self, key_id: str, client: Any) -> None:
        self._key_id = key_id
        self._client = client

    @property
    def public_key_pem(self) -> bytes:
        """The public half. Raises `SigningUnavailable`."""
        return self._key[1]

    def sign(self, data: bytes) -> bytes:
        """A DER signature. Raises `SigningUnavailable`."""
        arn, pem = self._key
        try:
            answer = self._client.sign(
                KeyId=arn,
                Message=data,
                MessageType="RAW",
                SigningAlgorithm="ECDSA_SHA_256",
            )
        except (BotoCoreError, ClientError) as error:
            raise SigningUnavailable(f"AWS KMS did not sign with {self._key_id}: {error}") from error
        signature: bytes = answer["Signature"]
        if not TrustedKeys([pem]).signed(data, signature):
            raise SigningUnavailable(f"AWS KMS gave a signature that is not one of {self._key_id}; nothing was kept.")
        return signature

    @cached_property
    def _key(self) -> tuple[str, bytes]:
        """ARN and public key; not remembered while it can't be had."""
        try:
            answer = self._client.get_public_key(KeyId=self._key_id)
        except (BotoCoreError, ClientError) as error:
            raise SigningUnavailable(f"AWS KMS does not give the public key of {self._key_id}: {error}") from error
        key = load_der_public_key(answer["PublicKey"])
        fits = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        if not fits or answer.get("KeyUsage") != "SIGN_VERIFY":
            raise SigningUnavailable(
                f"The KMS key {self._key_id} can't sign with P-256: make one of ECC_NIST_P256 for SIGN_VERIFY."
            )
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return answer["KeyId"], _pem(key)


class TrustedKeys:
    """Public keys whose signatures count, and no others: what a bundle or the store holds is never among them."""

    def __init__(self, pems: Iterable[bytes] = ()) -> None:
        self._keys: dict[str, ec.EllipticCurvePublicKey] = {}
        for pem in pems:
            key = _public_key(pem)
            self._keys[fingerprint(_pem(key))] = key

    def __len__(self) -> int:
        return len(self._keys)

    def pem(self, key_fingerprint: str) -> bytes | None:
        """The trusted key of that fingerprint; None when it is not trusted."""
        key = self._keys.get(key_fingerprint)
        return _pem(key) if key is not None else None

    def signed(self, data: bytes, signature: bytes) -> bool:
        """Whether any of them signed the data."""
        return self.signer_of(data, signature) is not None

    def signer_of(self, data: bytes, signature: bytes) -> str | None:
        """The fingerprint of the one that signed the data; None when none did."""
        return next((name for name, key in self._keys.items() if _verifies(key, data, signature)), None)

    def trust(self, key_id: bytes, data: bytes, signature: bytes) -> bool | None:
        """As `domain.checkpoints.Trust` says."""
        known = [key for name, key in self._keys.items() if bytes.fromhex(name)[:4] == key_id]
        return any(_verifies(key, data, signature) for key in known) if known else None


def keep_public_key(folder: Path, pem: bytes) -> None:
    """Remember a public key that signs here. Raises `SigningUnavailable`."""
    path = folder / f"{fingerprint(pem)[:16]}.pub.pem"
    if not path.exists():
        key_file(path, lambda: pem)


def public_key(pem: bytes) -> bytes:
    """The same key, plainly written. Raises `ValueError` when it is none to trust: the end of a sentence."""
    return _pem(_public_key(pem))


def _public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("it is no public key in PEM.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("it is not a public key of the curve P-256.")  # noqa: TRY004 - the file is wrong, not the type
    return key


def _verifies(key: ec.EllipticCurvePublicKey, data: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, data, _ECDSA)
    except InvalidSignature:
        return False
    return True


def _new_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
