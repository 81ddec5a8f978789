"""The evidence store's fake: keeps everything in memory, by the same rules as the real ones. For tests and dry runs."""

from __future__ import annotations

import threading

from oem_submissions.domain.evidence import check_key
from oem_submissions.ports import EvidenceConflict, EvidenceErased, EvidenceLocked, EvidenceMissing, WrappedKey


class MemoryStore:
    """`ports.EvidenceStore` in memory. Every method raises `ValueError` for a key that `check_key` refuses."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._held: set[str] = set()
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes) -> None:
        """Keep the bytes. The same bytes again change nothing; others raise `EvidenceConflict`."""
        check_key(key)
        folders = {key[:i] for i, c in enumerate(key) if c == "/"}
        with self._lock:
            if self._files.get(key, data) != data:
                raise EvidenceConflict(f"The evidence store holds other bytes under {key}; nothing was changed.")
            if folders & self._files.keys() or any(other.startswith(f"{key}/") for other in self._files):
                raise EvidenceConflict(f"The evidence key {key} is a folder of another key, or the other way round.")
            self._files[key] = bytes(data)

    def get(self, key: str) -> bytes:
        """The bytes. Raises `EvidenceMissing`."""
        check_key(key)
        with self._lock:
            if key not in self._files:
                raise EvidenceMissing(f"The evidence store has nothing under {key}.")
            return self._files[key]

    def keys(self, prefix: str) -> list[str]:
        """Every key that begins with `prefix`, sorted."""
        with self._lock:
            return sorted(key for key in self._files if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Gone for good. Raises `EvidenceLocked` under a hold."""
        check_key(key)
        with self._lock:
            if key in self._held:
                raise EvidenceLocked(f"{key} is under a legal hold: nothing was deleted.")
            self._files.pop(key, None)

    def hold(self, key: str, on: bool) -> None:
        """A legal hold on the key, or none."""
        check_key(key)
        with self._lock:
            if on and key in self._files:
                self._held.add(key)
            elif not on:
                self._held.discard(key)


class MemoryDataKeys:
    """`ports.DataKeys` in memory."""

    def __init__(self) -> None:
        self._keys: dict[str, WrappedKey | None] = {}
        self._lock = threading.Lock()

    def data_key(self, claim_id: str) -> WrappedKey | None:
        """The claim's key; None when none was made yet. Raises `EvidenceErased`."""
        with self._lock:
            key = self._keys.get(claim_id)
            if key is None and claim_id in self._keys:
                raise EvidenceErased(f"The personal data of claim {claim_id} was erased.")
            return key

    def add_data_key(self, claim_id: str, key: WrappedKey) -> WrappedKey:
        """Keep the claim's first key; the one that is kept. Raises `EvidenceErased`."""
        with self._lock:
            self._keys.setdefault(claim_id, key)
        return self.data_key(claim_id) or key

    def erase(self, claim_id: str) -> None:
        """The key is gone, for ever."""
        with self._lock:
            self._keys[claim_id] = None
