"""Encrypts what is kept for a while and is no evidence: signed-in sessions, and what a person is shown of a portal.

Envelope encryption: a data key for each thing, itself encrypted under the master key of `master_keys`. Where the bytes
are kept, and for how long, is their owner's business; deleting the wrapped key erases them.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from oem_submissions.ports import EvidenceUnavailable, MasterKey, WrappedKey

_NONCE = 12
"""Bytes (NIST SP 800-38D, 8.2.2): random, for far fewer than 2^32 pieces under one data key."""


class Box:
    """A `ports.Box`: AES-256-GCM under one data key, each piece bound to what it is."""

    def __init__(self, data_key: bytes) -> None:
        self._cipher = AESGCM(data_key)

    def seal(self, what: str, data: bytes) -> bytes:
        """The piece, encrypted; other bytes each time."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, data, what.encode())

    def open(self, what: str, sealed: bytes) -> bytes:
        """The piece. Raises `EvidenceUnavailable` when it was changed, or is another one."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], what.encode())
        except (InvalidTag, ValueError) as error:
            raise EvidenceUnavailable(f"What is kept as {what} was changed after it was encrypted.") from error


class Vault:
    """A `ports.Vault` under the installation's master key."""

    def __init__(self, master: MasterKey) -> None:
        self._master = master

    def new(self, name: str) -> tuple[WrappedKey, Box]:
        """A box of its own for the thing of this name, and its key to keep. Raises `EvidenceUnavailable`."""
        data_key = AESGCM.generate_key(256)
        return self._master.wrap(name, data_key), Box(data_key)

    def box(self, name: str, key: WrappedKey) -> Box:
        """The box that was made for it. Raises `EvidenceUnavailable`."""
        return Box(self._master.unwrap(name, key))
