"""What is kept for a while lies encrypted, opens only as what it is, and is gone with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from oem_submissions.evidence.master_keys import LocalMasterKey
from oem_submissions.evidence.vault import Vault
from oem_submissions.ports import EvidenceUnavailable

COOKIES = b"session=s3cr3t"
NAME = "session of aurora/10021"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(LocalMasterKey(tmp_path / "master.key"))


def test_a_piece_lies_encrypted_and_opens_with_its_kept_key(vault: Vault) -> None:
    key, box = vault.new(NAME)
    sealed = box.seal("cookies", COOKIES)
    assert COOKIES not in sealed
    assert sealed != box.seal("cookies", COOKIES)
    assert vault.box(NAME, key).open("cookies", sealed) == COOKIES


def test_a_piece_that_was_changed_or_is_another_one_does_not_open(vault: Vault) -> None:
    key, box = vault.new(NAME)
    sealed = box.seal("cookies", COOKIES)
    for what, data in (("other", sealed), ("cookies", sealed[:-1] + bytes([sealed[-1] ^ 1])), ("cookies", b"")):
        with pytest.raises(EvidenceUnavailable, match=f"kept as {what} was changed"):
            vault.box(NAME, key).open(what, data)


def test_one_things_key_opens_no_other_thing(vault: Vault, tmp_path: Path) -> None:
    key, _ = vault.new(NAME)
    with pytest.raises(EvidenceUnavailable, match="data key of session of aurora/99999 was changed"):
        vault.box("session of aurora/99999", key)
    with pytest.raises(EvidenceUnavailable, match="is under the master key"):
        Vault(LocalMasterKey(tmp_path / "another.key")).box(NAME, key)
