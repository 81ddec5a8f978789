"""What data keys are encrypted under: a key file of this machine, or a key in AWS KMS.

The data keys themselves, and what they encrypt, are the business of `personal` and `vault`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from oem_submissions.domain.keys import sha256_hex
from oem_submissions.evidence.keyfiles import key_file
from oem_submissions.ports import EvidenceUnavailable, SigningUnavailable, WrappedKey

_KMS = "awskms:"


class LocalMasterKey:
    """`ports.MasterKey` in a file, made on first use. Whoever loses the file has erased every claim's personal data."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """Which key it is, without telling it. Raises `EvidenceUnavailable`."""
        return f"local:{sha256_hex(self._key())[:16]}"

    def inspect(self) -> str:
        """What it is, in a sentence; none is made. Raises `EvidenceUnavailable` when it can't be used."""
        if not self._path.exists():
            return f"{self._path}, which is made when first needed: keep a copy, or personal data is lost with it"
        return f"{self._path} ({self.name})"

    def wrap(self, name: str, data_key: bytes) -> WrappedKey:
        """The data key, encrypted for the thing of this name. Raises `EvidenceUnavailable`."""
        return WrappedKey(AESSIV(self._key()).encrypt(data_key, [name.encode()]), self.name)

    def unwrap(self, name: str, key: WrappedKey) -> bytes:
        """The data key. Raises `EvidenceUnavailable` when it was encrypted under another master key."""
        try:
            if key.wrapped_by == self.name:
                return AESSIV(self._key()).decrypt(key.wrapped, [name.encode()])
        except InvalidTag as error:
            raise EvidenceUnavailable(f"The ledger's data key of {name} was changed.") from error
        raise EvidenceUnavailable(
            f"What is kept of {name} is under the master key {key.wrapped_by}, and {self._path} is"
            f" {self.name}: put the right key back, or set OEM_SUBMISSIONS_PERSONAL_KEY as it was."
        )

    def _key(self) -> bytes:
        try:
            return key_file(self._path, lambda: AESSIV.generate_key(512))
        except SigningUnavailable as error:
            raise EvidenceUnavailable(str(error)) from error


class KmsMasterKey:
    """`ports.MasterKey` in AWS KMS: the name is the encryption context, so that no key opens another claim."""

    def __init__(self, client: Callable[[], Any], key_id: str) -> None:
        self._client = client
        self._key_id = key_id

    @property
    def name(self) -> str:
        """Which key it is."""
        return _KMS + self._key_id

    def inspect(self) -> str:
        """What it is, in a sentence. Raises `EvidenceUnavailable` when it can't be used both ways."""
        self.unwrap("doctor", self.wrap("doctor", bytes(64)))
        return f"{self.name} encrypts and decrypts"

    def wrap(self, name: str, data_key: bytes) -> WrappedKey:
        """The data key, encrypted for the thing of this name. Raises `EvidenceUnavailable`."""
        answer = self._ask("encrypt", name, KeyId=self._key_id, Plaintext=data_key)
        return WrappedKey(answer["CiphertextBlob"], self.name)

    def unwrap(self, name: str, key: WrappedKey) -> bytes:
        """The data key; KMS finds the key that it was encrypted under. Raises `EvidenceUnavailable`."""
        if not key.wrapped_by.startswith(_KMS):
            raise EvidenceUnavailable(
                f"What is kept of {name} is under the master key {key.wrapped_by}, not under one of KMS:"
                " leave OEM_SUBMISSIONS_PERSONAL_KEY unset where that key file is."
            )
        answer = self._ask("decrypt", name, CiphertextBlob=key.wrapped, KeyId=key.wrapped_by.removeprefix(_KMS))
        return bytes(answer["Plaintext"])

    def _ask(self, what: str, name: str, **words: Any) -> dict[str, Any]:
        remedy = "Check the key, this machine's right to use it, and the network."
        try:
            return dict(getattr(self._client(), what)(EncryptionContext={"claim": name}, **words))
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "an error")
            raise EvidenceUnavailable(f"KMS did not {what} with {self.name}: {code}. {remedy}") from error
        except (BotoCoreError, OSError) as error:
            text = f"KMS did not {what} with {self.name}: {type(error).__name__}. {remedy}"
            raise EvidenceUnavailable(text) from error
