"""Personal data apart: an evidence store that encrypts it under a key of each claim's own, and lets the rest through.

Deleting the claim's key erases its personal data, wherever copies of the bytes are. AES-SIV (RFC 5297) is
deterministic: the same bytes under the same name are the same again, so that write-once puts can be repeated; a random
nonce would make every repetition a conflict. Who may erase, and when, is `services.retention`'s business.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from oem_submissions.domain.evidence import PERSONAL_FOLDERS, check_key
from oem_submissions.ports import DataKeys, EvidenceConflict, EvidenceStore, EvidenceUnavailable, MasterKey

_SEALED = b"oem-submissions:personal:1\n"
"""What every encrypted piece begins with. No attachment does: those begin as PDF, JPEG or PNG."""


class PersonalStore:
    """`ports.EvidenceStore` over another one. Keys are `personal/<claim>/…` and `attachments/<claim>/…`.

    No data key is remembered: an erasure holds at once, in every process.
    """

    def __init__(self, store: EvidenceStore, keys: DataKeys, master: MasterKey) -> None:
        self.bare = store
        self._keys = keys
        self._master = master

    def put(self, key: str, data: bytes) -> None:
        """As the store below; also raises `EvidenceErased`."""
        claim_id = _claim_of(key)
        if claim_id is None:
            self.bare.put(key, data)
            return
        sealed = _SEALED + AESSIV(self._data_key(claim_id)).encrypt(data, [key.encode()])
        try:
            self.bare.put(key, sealed)
        except EvidenceConflict:
            if self.bare.get(key) == data:  # kept in the clear, by a version before this one
                return
            if not (key.startswith("attachments/") and self._is_unreadable(key)):
                raise
            self.bare.delete(key)  # its key was lost with a ledger that was put back; the CRM has the file still
            self.bare.put(key, sealed)

    def get(self, key: str) -> bytes:
        """As the store below; also raises `EvidenceErased`. Attachments that were kept in the clear are read too."""
        claim_id = _claim_of(key)
        if claim_id is None:
            return self.bare.get(key)
        wrapped = self._keys.data_key(claim_id)  # first: what is erased is not even read
        data = self.bare.get(key)
        if not data.startswith(_SEALED):
            if key.startswith("personal/"):
                raise EvidenceUnavailable(f"{key} is not encrypted: it is not what this system put there.")
            return data
        if wrapped is None:
            raise EvidenceUnavailable(
                f"The ledger has no data key of claim {claim_id}: is it the ledger of this store?"
            )
        try:
            return AESSIV(self._master.unwrap(claim_id, wrapped)).decrypt(data[len(_SEALED) :], [key.encode()])
        except InvalidTag as error:
            raise EvidenceUnavailable(f"{key} was changed after it was encrypted, or is another claim's.") from error

    def _is_unreadable(self, key: str) -> bool:
        try:
            self.get(key)
        except EvidenceUnavailable as error:
            return isinstance(error.__cause__, InvalidTag)
        return False

    def keys(self, prefix: str) -> list[str]:
        """As the store below."""
        return self.bare.keys(prefix)

    def delete(self, key: str) -> None:
        """As the store below."""
        self.bare.delete(key)

    def hold(self, key: str, on: bool) -> None:
        """As the store below."""
        self.bare.hold(key, on)

    def _data_key(self, claim_id: str) -> bytes:
        known = self._keys.data_key(claim_id)
        if known is None:
            made = self._master.wrap(claim_id, AESSIV.generate_key(512))
            known = self._keys.add_data_key(claim_id, made)
        return self._master.unwrap(claim_id, known)


def _claim_of(key: str) -> str | None:
    """Whose personal data lies there; None when it is none. Raises `ValueError`."""
    check_key(key)
    folder, _, rest = key.partition("/")
    if folder not in PERSONAL_FOLDERS:
        return None
    claim_id, _, name = rest.partition("/")
    if not name:
        raise ValueError(f"The evidence key {key!r} does not say whose personal data it is.")
    return claim_id
