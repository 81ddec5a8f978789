"""One contract for every evidence store, and what only a disk can do: crash, fill up, refuse."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ports import EvidenceConflict, EvidenceMissing, EvidenceStore, EvidenceUnavailable

KEY = "artifacts/aurora-abc/7/pre_submit.webp"


@pytest.fixture(params=["directory", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> EvidenceStore:
    return DirectoryStore(tmp_path / "evidence") if request.param == "directory" else MemoryStore()


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


@pytest.mark.parametrize("other", ["a/b", "a/b/c/d"])
def test_a_key_is_never_the_folder_of_another(store: EvidenceStore, other: str) -> None:
    store.put("a/b/c", b"")
    with pytest.raises(EvidenceConflict, match="folder of another"):
        store.put(other, b"")


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


# --- the disk ----------------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys
from oem_submissions.evidence import store_directory

def die(*_arguments, **_options):
    os.kill(os.getpid(), signal.SIGKILL)

{patch}
store_directory.DirectoryStore(sys.argv[1]).put({key!r}, b"evidence" * 100_000)
"""


def run_child(root: Path, patch: str) -> int:
    code = CHILD.format(patch=patch, key=KEY)
    return subprocess.run([sys.executable, "-c", code, str(root)], check=False, timeout=60).returncode


def leftovers(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.name.startswith(".")]


@pytest.mark.parametrize("moment", ["store_directory.os.link = die", "store_directory.os.fsync = die"])
def test_a_writer_killed_before_the_link_leaves_no_key_and_can_be_repeated(tmp_path: Path, moment: str) -> None:
    store = DirectoryStore(tmp_path / "evidence")
    store.put("artifacts/aurora-abc/7/other", b"the folder is there")
    assert run_child(store.root, moment) == -signal.SIGKILL
    assert len(leftovers(store.root)) == 1
    assert store.keys("") == ["artifacts/aurora-abc/7/other"]
    with pytest.raises(EvidenceMissing):
        store.get(KEY)
    store.put(KEY, b"evidence" * 100_000)
    assert KEY in store.keys("artifacts/")


def test_a_writer_killed_after_the_link_left_the_whole_file(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "evidence")
    assert run_child(store.root, "store_directory.Path.unlink = die") == -signal.SIGKILL
    assert len(leftovers(store.root)) == 1
    assert store.keys("") == [KEY]
    assert store.get(KEY) == b"evidence" * 100_000
    store.put(KEY, b"evidence" * 100_000)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    limit = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
"""
    code = CHILD.format(patch=limit, key=KEY)
    command = [sys.executable, "-c", code, str(tmp_path / "evidence")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert "EvidenceUnavailable: The evidence store in" in done.stderr
    assert "could not keep" in done.stderr
    assert leftovers(tmp_path) == []
    assert DirectoryStore(tmp_path / "evidence").keys("") == []


@pytest.mark.parametrize("act", [lambda s: s.put("a", b""), lambda s: s.put("a/b", b"")])
def test_a_place_that_can_not_be_written_is_one_sentence(act: Callable[[EvidenceStore], None]) -> None:
    with pytest.raises(EvidenceUnavailable, match=r"^The evidence store in /proc/nowhere could not keep 'a.*disk"):
        act(DirectoryStore("/proc/nowhere"))


def test_a_link_in_the_store_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    root = tmp_path / "evidence"
    root.mkdir()
    (root / "link").symlink_to(secret)
    with pytest.raises(EvidenceUnavailable):
        DirectoryStore(root).get("link")


def test_files_are_read_only_and_durable_folders_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    root = tmp_path / "evidence"
    DirectoryStore(root).put("a/b/c", b"data")
    assert (root / "a/b/c").stat().st_mode & 0o222 == 0
    assert {str(tmp_path), str(root), str(root / "a"), str(root / "a/b")} < set(synced)
    assert synced.index(str(root / "a/b")) > next(i for i, name in enumerate(synced) if ".tmp-" in name)
