"""What only a disk can do to an evidence store: crash, fill up, refuse."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ports import EvidenceConflict, EvidenceMissing, EvidenceStore, EvidenceUnavailable

KEY = "artifacts/aurora-abc/7/pre_submit.webp"

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


def test_a_place_that_can_not_be_used_is_said_before_anything_is_filed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for root in (Path("/proc/nowhere"), tmp_path / "file"):
        with pytest.raises(EvidenceUnavailable, match=f"^The evidence store in {root} could not use it: "):
            DirectoryStore(root).inspect()
    assert DirectoryStore(tmp_path / "new" / "evidence").inspect().startswith(f"{tmp_path}/new/evidence: write-once")


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


@pytest.mark.parametrize("other", ["a/b", "a/b/c/d"])
@pytest.mark.parametrize("kind", ["directory", "memory"])
def test_a_key_is_never_the_folder_of_another(tmp_path: Path, kind: str, other: str) -> None:
    store = DirectoryStore(tmp_path) if kind == "directory" else MemoryStore()
    store.put("a/b/c", b"")
    with pytest.raises(EvidenceConflict, match="folder of another"):
        store.put(other, b"")


def test_a_deletion_takes_what_killed_writers_left_and_leaves_those_at_work(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "evidence")
    store.put(KEY, b"one")
    folder = (store.root / KEY).parent
    for name in (".tmp-1-killed", ".tmp-2-at-work"):
        (folder / name).write_bytes(b"one")
    os.utime(folder / ".tmp-1-killed", (0, 0))
    store.delete(KEY)
    assert [path.name for path in leftovers(store.root)] == [".tmp-2-at-work"]


@pytest.mark.parametrize("moment", ["store_directory._sync = die", "store_directory.Path.unlink = die"])
def test_a_deletion_that_was_killed_can_be_repeated(tmp_path: Path, moment: str) -> None:
    store = DirectoryStore(tmp_path / "evidence")
    store.put(KEY, b"one")
    code = CHILD.format(patch=moment, key=KEY).replace(".put(", ".delete(").replace(', b"evidence" * 100_000', "")
    done = subprocess.run([sys.executable, "-c", code, str(store.root)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    store.delete(KEY)
    assert store.keys("") == []
