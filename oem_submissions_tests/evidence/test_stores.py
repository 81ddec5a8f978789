"""One contract for every evidence store: in memory, on disk, in SeaweedFS and in moto, both by S3's protocol.

What no server here can show: that AWS itself keeps its word (durability over years, COMPLIANCE against the account's
owner, IAM), a power cut under a server's disk, and a clock that runs off. `test_directory.py` has what only a disk can
do, `test_s3.py` what only a bucket can.
"""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import pytest

from oem_submissions.evidence.master_keys import LocalMasterKey
from oem_submissions.evidence.personal import PersonalStore
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.evidence.store_memory import MemoryDataKeys, MemoryStore
from oem_submissions.ports import EvidenceConflict, EvidenceLocked, EvidenceMissing, EvidenceStore
from oem_submissions_tests.evidence.s3_servers import s3_store

KEY = "artifacts/aurora-abc/7/pre_submit.webp"


@pytest.fixture(params=["directory", "memory", "personal", "SeaweedFS", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> EvidenceStore:
    match request.param:
        case "directory":
            return DirectoryStore(tmp_path / "evidence")
        case "memory":
            return MemoryStore()
        case "personal":
            below = DirectoryStore(tmp_path / "evidence")
            return PersonalStore(below, MemoryDataKeys(), LocalMasterKey(tmp_path / "keys" / "personal-data.key"))
        case "SeaweedFS":
            return s3_store(request.getfixturevalue("weed").url, f"{uuid.uuid4().hex}/")
        case _:
            return s3_store(request.getfixturevalue("moto_url"), f"{uuid.uuid4().hex}/")


# --- the contract ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 10_000])
def test_what_was_put_is_got(store: EvidenceStore, data: bytes) -> None:
    store.put(KEY, data)
    assert store.get(KEY) == data


def test_the_same_bytes_again_change_nothing(store: EvidenceStore) -> None:
    store.put(KEY, b"one")
    store.put(KEY, b"one")
    assert store.keys("") == [KEY]


def test_other_bytes_are_refused_and_the_first_stay(store: EvidenceStore) -> None:
    store.put(KEY, b"one")
    with pytest.raises(EvidenceConflict, match=r"other bytes under artifacts/aurora-abc/7/pre_submit\.webp"):
        store.put(KEY, b"two")
    assert store.get(KEY) == b"one"


@pytest.mark.parametrize("key", ["nothing", "artifacts", "artifacts/aurora-abc", f"{KEY}/below"])
def test_a_key_that_was_not_put_is_missing(store: EvidenceStore, key: str) -> None:
    store.put(KEY, b"one")
    with pytest.raises(EvidenceMissing, match="nothing under"):
        store.get(key)


def test_keys_are_sorted_and_begin_with_the_prefix(store: EvidenceStore) -> None:
    for key in ("b/2", "b/10", "a", "b-side/1", "bb/c/d"):
        store.put(key, b"")
    assert store.keys("") == ["a", "b-side/1", "b/10", "b/2", "bb/c/d"]
    assert store.keys("b/") == ["b/10", "b/2"]
    assert store.keys("b/1") == ["b/10"]
    assert store.keys("bb/c") == ["bb/c/d"]
    assert store.keys("none/") == []
    assert store.keys("a/b/") == []


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "a/.", ".hidden", "a/.tmp-1", "a\\b", "a\0b", "a\nb"]
    + ["x" * 201, "a/" * 600 + "b", "a\u202eb", "a\ud800"],
)
def test_a_key_that_could_leave_the_store_is_refused(store: EvidenceStore, key: str) -> None:
    with pytest.raises(ValueError, match="evidence key"):
        store.put(key, b"")
    with pytest.raises(ValueError, match="evidence key"):
        store.get(key)
    with pytest.raises(ValueError, match="evidence key"):
        store.delete(key)


def test_of_many_writers_exactly_one_wins(store: EvidenceStore) -> None:
    won: list[bytes] = []
    lost: list[bytes] = []
    start = threading.Barrier(8)

    def write(data: bytes) -> None:
        start.wait()
        try:
            store.put(KEY, data)
            won.append(data)
        except EvidenceConflict:
            lost.append(data)

    threads = [threading.Thread(target=write, args=(bytes([number]),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 7
    assert store.get(KEY) == won[0]


def test_what_is_deleted_is_gone_and_may_be_put_again(store: EvidenceStore) -> None:
    store.put(KEY, b"one")
    store.put(f"{KEY}.longer", b"stays")
    store.delete(KEY)
    store.delete(KEY)
    store.delete("never/there")
    with pytest.raises(EvidenceMissing):
        store.get(KEY)
    assert store.keys("") == [f"{KEY}.longer"]
    store.put(KEY, b"two")
    assert store.get(KEY) == b"two"


def test_what_is_held_is_not_deleted_until_it_is_released(store: EvidenceStore) -> None:
    store.put(KEY, b"one")
    for _ in range(2):
        store.hold(KEY, True)
    store.hold("never/there", True)
    with pytest.raises(EvidenceLocked, match=f"^{KEY} is under a legal hold: nothing was deleted"):
        store.delete(KEY)
    assert (store.get(KEY), store.keys("")) == (b"one", [KEY])
    for _ in range(2):
        store.hold(KEY, False)
    store.hold("never/there", False)
    store.delete(KEY)
    assert store.keys("") == []
