"""Personal data apart: what lies in the store can't be read without the claim's key, and is not anybody else's."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from oem_submissions.evidence.master_keys import KmsMasterKey, LocalMasterKey
from oem_submissions.evidence.personal import PersonalStore
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.evidence.store_memory import MemoryDataKeys
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import DataKeys, EvidenceConflict, EvidenceErased, EvidenceUnavailable, WrappedKey
from oem_submissions_tests.evidence.s3_servers import s3_client, s3_store

CLAIM = "aurora-k3v7q2mxw5la"
PAGE = f"personal/{CLAIM}/7/personal_page.mhtml.gz"
FILE = f"attachments/{CLAIM}/" + "1" * 64
NAME = b"Margarete Musterfrau"
MASTER = "keys/personal-data.key"


class Place:
    """A store, its ledger's part and its master key, and what lies on the disk."""

    def __init__(self, folder: Path, keys: DataKeys | None = None) -> None:
        self.folder = folder
        self.keys = keys or MemoryDataKeys()
        self.bare = DirectoryStore(folder / "evidence")
        self.store = PersonalStore(self.bare, self.keys, LocalMasterKey(folder / MASTER))

    def move(self, key: str, to: str) -> None:
        """As somebody with the disk in his hands could."""
        target = self.bare.root / to
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((self.bare.root / key).read_bytes())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("key", [PAGE, FILE])
def test_what_is_personal_lies_encrypted_and_is_read_as_it_was(place: Place, key: str) -> None:
    place.store.put(key, NAME)
    assert NAME not in place.bare.get(key)
    assert place.store.get(key) == NAME
    assert place.store.keys("") == [key]


@pytest.mark.parametrize("key", [f"bundles/{CLAIM}/x.zip", f"artifacts/{CLAIM}/7/pre_submit.webp", "log/1"])
def test_everything_else_lies_as_it_is_and_needs_no_key(place: Place, key: str) -> None:
    place.store.put(key, b"public")
    assert place.bare.get(key) == b"public"
    assert not (place.folder / MASTER).exists()


def test_a_put_can_be_repeated_by_another_process(place: Place) -> None:
    for _ in range(2):
        Place(place.folder, place.keys).store.put(PAGE, NAME)
    with pytest.raises(EvidenceConflict):
        place.store.put(PAGE, NAME + b"!")


@pytest.mark.parametrize("to", [f"personal/{CLAIM}/8/personal_page.mhtml.gz", f"personal/borealis-x/7/{PAGE[-22:]}"])
def test_bytes_under_another_name_or_of_another_claim_are_not_read(place: Place, to: str) -> None:
    place.store.put(PAGE, NAME)
    place.store.put("personal/borealis-x/1/other", b"")
    place.move(PAGE, to)
    with pytest.raises(EvidenceUnavailable, match=r"was changed after it was encrypted, or is another claim's"):
        place.store.get(to)


def test_bytes_that_were_changed_or_never_encrypted_are_not_read(place: Place) -> None:
    place.store.put(PAGE, NAME)
    path = place.bare.root / PAGE
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(EvidenceUnavailable, match="was changed"):
        place.store.get(PAGE)
    place.bare.put(f"{PAGE}.planted", NAME)
    with pytest.raises(EvidenceUnavailable, match="is not encrypted"):
        place.store.get(f"{PAGE}.planted")


def test_attachments_that_an_older_version_kept_in_the_clear_are_read_and_put_again(place: Place) -> None:
    place.bare.put(FILE, b"%PDF-1.7 " + NAME)
    assert place.store.get(FILE) == b"%PDF-1.7 " + NAME
    place.store.put(FILE, b"%PDF-1.7 " + NAME)
    with pytest.raises(EvidenceConflict):
        place.store.put(FILE, b"%PDF-1.7 other")


def test_an_attachment_whose_key_was_lost_with_a_restored_ledger_is_kept_anew(place: Place) -> None:
    place.store.put(FILE, b"%PDF-1.7 " + NAME)
    place.store.put(PAGE, NAME)
    restored = Place(place.folder)  # a ledger without the claim's key
    restored.store.put(FILE, b"%PDF-1.7 " + NAME)
    assert restored.store.get(FILE) == b"%PDF-1.7 " + NAME
    with pytest.raises(EvidenceConflict):
        restored.store.put(PAGE, NAME)  # evidence is never replaced


def test_a_master_key_that_is_not_the_one_it_was_is_named_and_nothing_is_lost(place: Place) -> None:
    place.store.put(PAGE, NAME)
    path = place.folder / MASTER
    right = path.read_bytes()
    path.unlink()
    with pytest.raises(EvidenceUnavailable, match=r"under the master key local:[0-9a-f]{16}, and .* put the right key"):
        place.store.get(PAGE)
    path.chmod(0o644)
    with pytest.raises(EvidenceUnavailable, match="can be read by others"):
        place.store.put(PAGE, NAME)
    path.chmod(0o600)
    path.write_bytes(right)
    assert place.store.get(PAGE) == NAME


def test_a_personal_key_that_names_no_claim_is_refused(place: Place) -> None:
    for key in ("personal/loose", "attachments/loose"):
        with pytest.raises(ValueError, match="does not say whose personal data"):
            place.store.put(key, NAME)


# --- data keys ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "ledger"])
def keys(request: pytest.FixtureRequest) -> DataKeys:
    return MemoryDataKeys() if request.param == "memory" else request.getfixturevalue("ledger")


def test_the_first_data_key_of_a_claim_is_its_only_one(keys: DataKeys) -> None:
    assert keys.data_key(CLAIM) is None
    first, second = WrappedKey(b"one", "local:1"), WrappedKey(b"two", "local:2")
    assert [keys.add_data_key(CLAIM, first), keys.add_data_key(CLAIM, second)] == [first, first]
    assert keys.data_key(CLAIM) == first
    assert keys.data_key("another") is None


def test_workers_that_need_a_claims_first_key_at_once_get_the_same(tmp_path: Path, ledger: Ledger) -> None:
    start = threading.Barrier(6)

    def work(number: int) -> None:
        start.wait()
        Place(tmp_path, ledger).store.put(f"personal/{CLAIM}/{number}/x", NAME)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = Place(tmp_path, ledger).store
    assert [store.get(key) for key in store.keys("")] == [NAME] * 6


def test_an_erased_claim_is_neither_read_nor_given_another_key(tmp_path: Path) -> None:
    keys = MemoryDataKeys()
    place = Place(tmp_path, keys)
    place.store.put(PAGE, NAME)
    place.bare.put(FILE, b"%PDF-1.7 " + NAME)
    keys.erase(CLAIM)
    for act in (
        lambda: place.store.get(PAGE),
        lambda: place.store.get(FILE),
        lambda: place.store.put(PAGE, NAME),
        lambda: place.store.put(f"personal/{CLAIM}/9/new", NAME),
    ):
        with pytest.raises(EvidenceErased, match=CLAIM):
            act()


# --- KMS, and S3 -------------------------------------------------------------------------------------------------


@pytest.fixture
def kms(moto_url: str) -> Iterator[Any]:
    own = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("kms", endpoint_url=moto_url, **own)
    yield client
    client.close()


def test_a_master_key_in_kms_opens_a_data_key_for_its_claim_only(kms: Any) -> None:
    master = KmsMasterKey(lambda: kms, kms.create_key()["KeyMetadata"]["KeyId"])
    wrapped = master.wrap(CLAIM, b"k" * 64)
    assert b"k" * 64 not in wrapped.wrapped
    assert master.unwrap(CLAIM, wrapped) == b"k" * 64
    with pytest.raises(EvidenceUnavailable, match=r"KMS did not decrypt with awskms:.*: InvalidCiphertextException"):
        master.unwrap("another", wrapped)
    with pytest.raises(EvidenceUnavailable, match="under the master key local:1, not under one of KMS"):
        master.unwrap(CLAIM, WrappedKey(b"x", "local:1"))
    with pytest.raises(EvidenceUnavailable, match="KMS did not encrypt with awskms:alias/none: NotFoundException"):
        KmsMasterKey(lambda: kms, "alias/none").wrap(CLAIM, b"k" * 64)
    assert "encrypts and decrypts" in master.inspect()


def test_personal_data_in_a_bucket_is_encrypted_and_can_be_erased_from_it(moto_url: str, kms: Any) -> None:
    prefix = f"{uuid.uuid4().hex}/"
    master = KmsMasterKey(lambda: kms, kms.create_key()["KeyMetadata"]["KeyId"])
    store = PersonalStore(s3_store(moto_url, prefix), MemoryDataKeys(), master)
    for _ in range(2):
        store.put(PAGE, NAME)
    raw = s3_client(moto_url).get_object(Bucket="locked", Key=prefix + PAGE)["Body"].read()
    assert NAME not in raw
    assert store.get(PAGE) == NAME
    store.delete(PAGE)
    assert store.keys("") == []
