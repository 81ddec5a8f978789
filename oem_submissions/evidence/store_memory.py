"""The evidence store's fake: keeps everything in memory, by the same rules as the real ones. For tests and dry runs."""

from __future__ import annotations

import threading

from oem_submissions.domain.evidence import check_key
from oem_submissions.ports import EvidenceConflict, EvidenceMissing


class MemoryStore:
    """`ports.EvidenceStore` in memory. Every method raises `ValueError` for a key that `check_key` refuses."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
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
