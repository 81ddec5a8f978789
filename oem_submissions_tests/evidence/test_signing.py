"""Keys and signatures: made on first use, safe or refused, the same to OpenSSL as to us, here and in KMS."""

from __future__ import annotations

import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from oem_submissions import wiring
from oem_submissions.domain.checkpoints import fingerprint
from oem_submissions.evidence.signing import KmsSigner, LocalSigner, TrustedKeys
from oem_submissions.ports import Signer, SigningUnavailable
from oem_submissions.settings import read_settings

DATA = b"0" * 64 + b"  bagit.txt\n"


def openssl_verifies(signer: Signer, data: bytes, signature: bytes, folder: Path) -> bool:
    for name, content in (("key.pem", signer.public_key_pem), ("data", data), ("data.sig", signature)):
        (folder / name).write_bytes(content)
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "data.sig", "data"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=30).returncode == 0


# --- a key of this machine ---------------------------------------------------------------------------------------


def test_a_key_is_made_on_first_use_for_its_owner_only_and_used_again(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "evidence-signing.pem"
    signer = LocalSigner(path)
    assert not path.exists()
    signature = signer.sign(DATA)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert TrustedKeys([LocalSigner(path).public_key_pem]).signed(DATA, signature)
    assert openssl_verifies(signer, DATA, signature, tmp_path)
    assert not openssl_verifies(signer, DATA + b"x", signature, tmp_path)


def test_many_that_make_the_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    gate, found = threading.Barrier(8), []

    def use() -> None:
        signer = LocalSigner(tmp_path / "key.pem")
        gate.wait()
        found.append(signer.public_key_pem)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"{fingerprint(found[0])[:16]}.pub.pem", "key.pem"]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    LocalSigner(path).sign(DATA)
    path.chmod(0o640)
    with pytest.raises(SigningUnavailable, match="can be read by others"):
        LocalSigner(path).sign(DATA)


@pytest.mark.parametrize("kind", ["rsa:2048", "ec:secp384r1", "text"])
def test_what_is_no_key_of_p256_is_refused(tmp_path: Path, kind: str) -> None:
    path, (name, _, size) = tmp_path / "key.pem", kind.partition(":")
    if name == "text":
        path.write_text("not a key")
    else:
        option = f"rsa_keygen_bits:{size}" if name == "rsa" else f"ec_paramgen_curve:{size}"
        command = ["openssl", "genpkey", "-algorithm", name.upper(), "-pkeyopt", option, "-out", str(path)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    path.chmod(0o600)
    with pytest.raises(SigningUnavailable, match="no private key in PEM|not of the curve P-256"):
        LocalSigner(path).sign(DATA)


def test_a_replaced_key_stays_trusted_by_its_public_half(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    signature = LocalSigner(path).sign(DATA)
    path.unlink()
    new = LocalSigner(path)
    assert not TrustedKeys([new.public_key_pem]).signed(DATA, signature)
    keys = [kept.read_bytes() for kept in tmp_path.glob("*.pub.pem")]
    assert len(keys) == 2
    assert TrustedKeys(keys).signed(DATA, signature)


@pytest.mark.parametrize("signature", [b"", b"x", b"\x30\x06\x02\x01\x00\x02\x01\x00", bytes(3000)])
def test_what_is_no_signature_does_not_verify(tmp_path: Path, signature: bytes) -> None:
    assert not TrustedKeys([LocalSigner(tmp_path / "key.pem").public_key_pem]).signed(DATA, signature)


def test_a_key_to_trust_must_be_one() -> None:
    with pytest.raises(ValueError, match="no public key"):
        TrustedKeys([b"-----BEGIN PUBLIC KEY-----\n"])


# --- AWS KMS -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kms() -> Iterator[Any]:
    """A client of a KMS on a real socket."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield client_of(f"http://{host}:{port}")
    server.stop()


def client_of(endpoint: str) -> Any:
    return boto3.client(
        "kms", "eu-central-1", endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x",
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )  # fmt: skip


def a_key(kms: Any, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> str:
    return str(kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"])


def test_a_key_of_kms_signs_as_one_of_this_machine_does(kms: Any, tmp_path: Path) -> None:
    key = a_key(kms)
    kms.create_alias(AliasName="alias/evidence", TargetKeyId=key)
    signer = KmsSigner("alias/evidence", kms)
    signature = signer.sign(DATA)
    assert openssl_verifies(signer, DATA, signature, tmp_path)
    kms.update_alias(AliasName="alias/evidence", TargetKeyId=a_key(kms))
    again = signer.sign(DATA)
    assert TrustedKeys([signer.public_key_pem]).signed(DATA, again), "the alias led to another key in the middle"
    other = KmsSigner("alias/evidence", kms)
    assert other.public_key_pem != signer.public_key_pem


def test_the_setting_leads_to_the_key_of_kms_and_to_whom_to_trust(
    kms: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alias = f"alias/{tmp_path.name}"
    kms.create_alias(AliasName=alias, TargetKeyId=a_key(kms))
    for name, value in (
        ("AWS_ENDPOINT_URL", kms.meta.endpoint_url), ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    before = LocalSigner(tmp_path / "keys" / "evidence-signing.pem")
    settings = read_settings({"OEM_SUBMISSIONS_HOME": str(tmp_path), "OEM_SUBMISSIONS_SIGNING_KEY": f"awskms:{alias}"})
    old = before.sign(DATA)
    signature = wiring.signer(settings).sign(DATA)
    assert TrustedKeys([KmsSigner(alias, kms).public_key_pem]).signed(DATA, signature)
    keys = wiring.trusted_keys(settings)
    assert (len(keys), keys.signed(DATA, signature), keys.signed(DATA, old)) == (2, True, True)


def test_a_key_of_kms_for_something_else_is_refused(kms: Any) -> None:
    for spec in ("RSA_2048", "ECC_NIST_P384"):
        with pytest.raises(SigningUnavailable, match="make one of ECC_NIST_P256"):
            KmsSigner(a_key(kms, spec), kms).sign(DATA)


def test_a_kms_that_refuses_or_does_not_answer_is_one_sentence(kms: Any) -> None:
    with pytest.raises(SigningUnavailable, match="does not give the public key of alias/none"):
        KmsSigner("alias/none", kms).sign(DATA)
    key = a_key(kms)
    with pytest.raises(SigningUnavailable, match="does not give the public key"):
        KmsSigner(key, client_of("http://127.0.0.1:9")).sign(DATA)
    signer = KmsSigner(key, _Until(kms, client_of("http://127.0.0.1:9")))
    with pytest.raises(SigningUnavailable, match=f"did not sign with {key}"):
        signer.sign(DATA)


class _Until:
    """A KMS that can't be reached any more once it has given its public key."""

    def __init__(self, first: Any, then: Any) -> None:
        self.get_public_key = first.get_public_key
        self.sign = then.sign


def test_a_signature_that_does_not_verify_is_not_passed_on(kms: Any) -> None:
    key, other = a_key(kms), a_key(kms)
    signer = KmsSigner(key, _Mixed(kms, other))
    with pytest.raises(SigningUnavailable, match="not one of"):
        signer.sign(DATA)


class _Mixed:
    """A KMS that signs with another key than asked."""

    def __init__(self, real: Any, other: str) -> None:
        self.get_public_key = real.get_public_key
        self.sign = lambda **words: real.sign(**{**words, "KeyId": other})
