"""Every tampering of the design's table is found, and nothing hostile breaks the verifier."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from oem_submissions.domain.checkpoints import leaf_of
from oem_submissions.evidence import unpack
from oem_submissions.evidence.signing import TrustedKeys
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions_tests.evidence import samples
from oem_submissions_tests.evidence.sealing import KEYS, ORIGIN, FixedSigner, Log, notary, sealed_bundle
from oem_submissions_tests.evidence.test_bundle import BLANK, TOP, unzip

SEALED = sealed_bundle()
SIG, PROOF = "tagmanifest-sha256.txt.sig", "proof.tlog-proof"
NOT_SIGNED = f"{SIG}: is not the signature of any trusted key over tagmanifest-sha256.txt."
NOT_LOGGED = f"{PROOF}: does not lead from this bundle to its checkpoint: it is the proof of something else."
Files = dict[str, bytes]


def files_of(data: bytes = SEALED.zip_bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name.removeprefix(f"{TOP}/"): archive.read(name) for name in archive.namelist()}


def rezip(files: Files, top: str = TOP, **options: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", options.get("compression", zipfile.ZIP_STORED)) as archive:
        for name, data in files.items():
            archive.writestr(f"{top}/{name}", data)
    return buffer.getvalue()


def rebag(files: Files) -> Files:
    """What an insider does: make all the manifests right again."""

    def manifest(names: list[str]) -> bytes:
        return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(names)).encode()

    payload = [name for name in files if name.startswith("data/")]
    size = sum(len(files[name]) for name in payload)
    lines = files["bag-info.txt"].decode().splitlines()
    lines = [line for line in lines if not line.startswith("Payload-Oxum")] + [f"Payload-Oxum: {size}.{len(payload)}"]
    files = files | {"bag-info.txt": "".join(f"{line}\n" for line in lines).encode()}
    files["manifest-sha256.txt"] = manifest(payload)
    files["tagmanifest-sha256.txt"] = manifest(["bagit.txt", "bag-info.txt", "manifest-sha256.txt"])
    return files


def findings(source: bytes | Path, expected_digest: str | None = None) -> list[str]:
    verification = verify_bundle(source, expected_digest, KEYS)
    assert verification.ok is (not verification.findings)
    return [str(finding) for finding in verification.findings]


def write(files: Files, folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


# --- sound bundles -----------------------------------------------------------------------------------------------


def test_a_sound_bundle_verifies_in_every_form_that_people_have_it(tmp_path: Path) -> None:
    zipped = tmp_path / "bundle.zip"
    zipped.write_bytes(SEALED.zip_bytes)
    inside = unzip(SEALED.zip_bytes, tmp_path / "unzipped")
    renamed = inside.rename(inside.with_name("my evidence"))
    packed_again = rezip(files_of(), compression=zipfile.ZIP_DEFLATED)
    for source in (SEALED.zip_bytes, zipped, str(zipped), renamed, tmp_path / "unzipped", packed_again):
        verification = verify_bundle(source, SEALED.digest, KEYS)
        assert verification.ok, verification.findings
        assert verification.digest == SEALED.digest
        assert verification.facts == samples.facts()


# --- tampering ---------------------------------------------------------------------------------------------------

ALL = sorted(files_of())


@pytest.mark.parametrize("name", ALL)
def test_a_flipped_byte_is_found_in_every_file(name: str) -> None:
    files = files_of()
    data = files[name]
    middle = len(data) // 2
    files[name] = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    found = findings(rezip(files), SEALED.digest)
    assert any(line.startswith(f"{name}: ") for line in found), found


@pytest.mark.parametrize("name", ALL)
def test_a_missing_file_is_named(name: str) -> None:
    files = files_of()
    del files[name]
    assert any(line.startswith(f"{name}: is missing") for line in findings(rezip(files)))


@pytest.mark.parametrize(
    "name",
    ["data/extra.txt", "extra.txt", "metadata.xml", "manifest-md5.txt", "data/other.webp", "data/sub/x.txt"],
)
def test_an_added_file_is_named(name: str) -> None:
    assert f"{name}: does not belong in a bundle." in findings(rezip(files_of() | {name: b"x"}))


def test_a_file_added_to_the_payload_and_bagged_again_is_named() -> None:
    found = findings(rezip(rebag(files_of() | {"data/extra.txt": b"x"})))
    assert found == [
        "data/extra.txt: does not belong in a bundle.",
        "data/extra.txt: is not named in submission.json.",
        NOT_SIGNED,
        NOT_LOGGED,
    ]


def test_a_list_of_files_to_fetch_is_refused() -> None:
    found = findings(rezip(files_of() | {"fetch.txt": b"https://evil.example/x 1 data/x\n"}))
    assert found == ["fetch.txt: a bundle that wants files fetched from elsewhere is refused."]


def forged() -> Files:
    """A payload file edited, and all the manifests made right again."""
    return rebag(files_of() | {"data/request.json": b'{"method": "GET"}'})


def digest_of(files: Files) -> str:
    return hashlib.sha256(files["tagmanifest-sha256.txt"]).hexdigest()


def test_an_insider_who_bags_again_is_found_by_signature_log_and_link() -> None:
    assert findings(rezip(forged())) == [NOT_SIGNED, NOT_LOGGED]
    found = findings(rezip(forged()), SEALED.digest)
    assert found[0].startswith("tagmanifest-sha256.txt: its digest is ")


def test_an_insider_who_signs_again_with_a_key_of_his_own_is_found() -> None:
    files, insider = forged(), notary(FixedSigner(666))
    files[SIG] = insider.signer.sign(files["tagmanifest-sha256.txt"])
    files[PROOF] = Log(insider).append(leaf_of(TOP, digest_of(files))).text.encode()
    assert findings(rezip(files)) == [NOT_SIGNED, f"{PROOF}: is not signed by any trusted key."]
    own = TrustedKeys([insider.signer.public_key_pem])
    assert verify_bundle(rezip(files), keys=own).ok, "and only the key gives him away"


def test_an_insider_with_the_key_who_does_not_log_is_found() -> None:
    files = forged()
    files[SIG] = FixedSigner().sign(files["tagmanifest-sha256.txt"])
    assert findings(rezip(files)) == [NOT_LOGGED]


def test_the_proof_and_signature_of_another_bundle_are_found() -> None:
    other = files_of(sealed_bundle(samples.facts(run_id="another")).zip_bytes)
    assert findings(rezip(files_of() | {PROOF: other[PROOF]})) == [NOT_LOGGED]
    assert findings(rezip(files_of() | {SIG: other[SIG]})) == [NOT_SIGNED]


def test_the_bundle_of_one_claim_is_not_proven_by_its_digest_under_another() -> None:
    files = files_of()
    files[PROOF] = Log().append(leaf_of("aurora-another23456", SEALED.digest)).text.encode()
    assert findings(rezip(files)) == [NOT_LOGGED]


def test_a_bundle_that_nobody_signed_or_logged_does_not_verify() -> None:
    files = files_of()
    del files[SIG], files[PROOF]
    assert findings(rezip(files)) == [
        f"{SIG}: is missing: nobody vouches for the bundle.",
        f"{PROOF}: is missing: nothing shows that the bundle is in the log.",
    ]


def test_without_a_trusted_key_it_is_said_that_nothing_can_be_checked() -> None:
    verification = verify_bundle(SEALED.zip_bytes)
    assert not verification.ok
    assert [str(finding) for finding in verification.findings] == [
        f"{name}: can't be checked: no trusted key is known here; name the public key with --key."
        for name in (SIG, PROOF)
    ]


def test_keys_of_before_count_beside_the_one_of_now() -> None:
    keys = TrustedKeys([FixedSigner(7).public_key_pem, FixedSigner().public_key_pem])
    assert verify_bundle(SEALED.zip_bytes, keys=keys).ok
    assert not verify_bundle(SEALED.zip_bytes, keys=TrustedKeys([FixedSigner(7).public_key_pem])).ok


def edited(find: str, put: str, count: int = 1) -> str:
    text = files_of()[PROOF].decode()
    assert find in text
    return text.replace(find, put, count)


_LINES = files_of()[PROOF].decode().split("\n")


@pytest.mark.parametrize(
    ("proof", "words"),
    [
        (edited(ORIGIN, "other.example/log", 9), "bears a false signature of a trusted key."),
        (edited(f"{ORIGIN}\n6\n", f"{ORIGIN}\n7\n"), "bears a false signature of a trusted key."),
        (edited(ORIGIN, "other.example/log"), "is not signed by any trusted key."),
        (edited("index 5", "index 4"), "does not lead from this bundle"),
        (edited("index 5", "index 6"), "does not lead from this bundle"),
        (edited("index 5", "index 05"), "has no index in its second line."),
        (edited("index 5", "index 9999999999999999999"), "has no index in its second line."),
        (edited("index 5\n", "extra YQ==\nindex 5\n"), "has no index in its second line."),
        (edited(_LINES[2] + "\n", ""), "does not lead from this bundle"),
        (edited(_LINES[2], "A" * 43 + "="), "does not lead from this bundle"),
        (edited(_LINES[2], "YQ=="), "has a line that is no SHA-256 in base64."),
        (edited(_LINES[2], _LINES[2][:-2] + "=="), "has a line that is not base64."),
        (edited("\u2014", "-"), "has a line of signature that is none."),
        (edited(f"\u2014 {ORIGIN} ", f"\u2014 {ORIGIN} A"), "has a line"),
        (edited("\n6\n", "\n6\nextension\n"), "is not three lines"),
        (edited("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"), "does not begin with c2sp.org/tlog-proof@v1."),
        (edited("index 5\n", "index 5\n" + f"{_LINES[2]}\n" * 65), "has more hashes than any tree is high."),
        (edited("\n6\n", "\n6\r\n"), "holds control characters."),
        ("", "does not begin with"),
        ("x" * 200_000, "is too long."),
    ],
)
def test_an_edited_log_proof_is_found(proof: str, words: str) -> None:
    (found,) = findings(rezip(files_of() | {PROOF: proof.encode()}))
    assert found.startswith(f"{PROOF}: ")
    assert words in found


def test_a_witness_that_signed_the_checkpoint_too_is_passed_over() -> None:
    witness = "\u2014 witness.example AAAAAAECAw==\n"
    assert findings(rezip(files_of() | {PROOF: files_of()[PROOF] + witness.encode()})) == []


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("data/pre_submit.webp", BLANK, "is blank."),
        ("data/pre_submit.webp", samples.shot("x")[:300], "can't be decoded"),
        ("data/post_confirm.webp", b"GIF89a", "is not a WebP picture"),
        ("data/post_confirm.webp", samples.artifacts()["pre_submit.webp"], "shows the very same as pre_submit.webp."),
        ("data/readback.json", b"[]", "is not a JSON object."),
        ("data/request.json", b"{" * 100_000, "is not a JSON object."),
        ("data/submission.json", b"null", "is not a JSON object."),
        ("data/submission.json", b"{}", "is not of the format"),
        ("data/submission.json", b"[" * 100_000, "is not a JSON object."),
        ("bagit.txt", b"BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-16\n", "does not declare BagIt 1.0"),
    ],
)
def test_a_worthless_file_is_named_even_when_bagged_again(name: str, data: bytes, words: str) -> None:
    found = findings(rezip(rebag(files_of() | {name: data})))
    assert any(line.startswith(f"{name}: ") and words in line for line in found), found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("run_id"), "misses or adds run_id"),
        (lambda d: d.update(extra=1), "misses or adds extra"),
        (lambda d: d.update(attempt="1"), "in “attempt”"),
        (lambda d: d.update(attempt=1.5), "in “attempt”"),
        (lambda d: d.update(armed_at="yesterday"), "in “armed_at”"),
        (lambda d: d.update(armed_at="2026-03-02T09:14:05"), "armed_at has no time zone"),
        (lambda d: d.update(outcome="FINE"), "in “outcome”"),
        (lambda d: d.update(outcome="DEAD"), "neither CONFIRMED nor REJECTED"),
        (lambda d: d.update(reference="AUR-9999999"), "not what stands at its place"),
        (lambda d: d.update(claim_id="aurora-other"), "names the claim aurora-other"),
        (lambda d: d.update(files=[*d["files"], "history.webp"]), "history.webp: is missing; submission.json names it"),
        (lambda d: d.update(files=d["files"][1:]), "index.html: is not named in submission.json"),
        (lambda d: d.update(files="all"), "in “files”"),
    ],
)
def test_facts_that_do_not_fit_are_named(change: Callable[[dict], object], words: str) -> None:
    files = files_of()
    document = json.loads(files["data/submission.json"])
    change(document)
    files["data/submission.json"] = json.dumps(document).encode()
    found = findings(rezip(rebag(files)))
    assert any(words in line for line in found), found


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (b"", "does not end with a line"),
        (b"hello\n", "line 1 is not a SHA-256"),
        (b"0" * 64 + b"  ../../etc/passwd\n", "../../etc/passwd: is missing"),
        (b"0" * 64 + b"  data/a\n" + b"0" * 64 + b"  data/a\n", "lists data/a twice"),
        (b"0" * 64 + b"  bagit.txt\n", "lists bagit.txt, which is not for it"),
        (b"\xff\xfe" * 40 + b"\n", "line 1 is not a SHA-256"),
    ],
)
def test_a_malformed_manifest_is_named(manifest: bytes, words: str) -> None:
    found = findings(rezip(files_of() | {"manifest-sha256.txt": manifest}))
    assert any(words in line for line in found), found


# --- hostile zips ------------------------------------------------------------------------------------------------


def with_entry(entry: zipfile.ZipInfo | str, data: bytes = b"x") -> bytes:
    buffer = io.BytesIO(SEALED.zip_bytes)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(entry, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", f"{TOP}/../../evil", f"{TOP}/data\\evil", "C:/evil", f"{TOP}/data/.x", f"{TOP}/a\u202eb"],
)
def test_a_name_that_leaves_the_bundle_is_refused(name: str) -> None:
    (found,) = findings(with_entry(name))
    assert "has a name that a bundle can't hold" in found
    assert found.isascii()


def test_a_file_beside_the_bundle_is_refused() -> None:
    assert findings(with_entry("elsewhere/bagit.txt")) == ["elsewhere/bagit.txt: is not in the zip's one folder."]


def test_a_link_in_a_zip_is_refused() -> None:
    link = zipfile.ZipInfo(f"{TOP}/data/history.webp")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert findings(with_entry(link, b"/etc/passwd")) == [
        f"{TOP}/data/history.webp: is a link or a device, not a file."
    ]


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("name", ["data/request.json", "data/Request.json"])
def test_a_name_that_is_there_twice_is_refused(name: str) -> None:
    assert findings(with_entry(f"{TOP}/{name}")) == [f"{TOP}/{name}: is in the zip twice."]


def test_a_zip_bomb_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MAX_FILE_BYTES", 100_000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{TOP}/data/readback.json", bytes(10_000_000))
    assert f"{TOP}/data/readback.json: is larger than anything in a bundle can be." in findings(buffer.getvalue())
    # The same bomb with a lie about its size in both headers.
    lied = buffer.getvalue().replace((10_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert findings(lied) != []


def test_too_much_in_all_and_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    many = rezip({f"data/{number}": b"" for number in range(unpack.MAX_FILES + 1)})
    assert f"bundle: holds more than {unpack.MAX_FILES} files." in findings(many)
    monkeypatch.setattr(unpack, "MAX_TOTAL_BYTES", 20_000)
    assert any("larger than any" in line for line in findings(SEALED.zip_bytes))
    assert any("larger than any" in line for line in findings(rezip(files_of(), compression=zipfile.ZIP_DEFLATED)))


def test_a_picture_of_absurd_size_is_refused_undecoded() -> None:
    huge = bytearray(samples.webp(Image.new("RGB", (8, 8))))
    assert huge[12:16] == b"VP8L"
    huge[21:25] = (16_382 | 16_382 << 14).to_bytes(4, "little")  # width and height, less one, in 14 bits each
    found = findings(rezip(rebag(files_of() | {"data/pre_submit.webp": bytes(huge)})))
    assert found[0] == "data/pre_submit.webp: is not a WebP picture of a sane size."


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + bytes(18), b"\0" * 1000, SEALED.zip_bytes[:-300]])
def test_what_is_no_bundle_is_said_to_be_none(data: bytes) -> None:
    verification = verify_bundle(data)
    assert not verification.ok
    assert verification.facts is None


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=6))
def test_a_damaged_zip_is_always_answered(damage: list[tuple[float, int]]) -> None:
    data = bytearray(SEALED.zip_bytes)
    # Most of the zip is pictures; the interesting bytes are the headers and the directory at its end.
    for where, flip in damage:
        data[-1 - int(where * where * len(data))] ^= flip
    verification = verify_bundle(bytes(data), keys=KEYS)
    assert verification.ok is (not verification.findings)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(ALL), st.binary(max_size=200))
def test_any_bytes_in_any_file_are_always_answered(name: str, data: bytes) -> None:
    assert not verify_bundle(rezip(files_of() | {name: data}), SEALED.digest, KEYS).ok


# --- hostile folders ---------------------------------------------------------------------------------------------


def test_tampering_with_an_unpacked_folder_is_named(tmp_path: Path) -> None:
    folder = write(files_of(), tmp_path / TOP)
    (folder / "data/readback.json").unlink()
    (folder / "data/readback.json").symlink_to("/etc/passwd")
    (folder / "notes.txt").write_text("hello")
    (folder / "data/more").mkdir()
    os.mkfifo(folder / "data/pipe")
    found = findings(folder)
    assert "data/readback.json: is a link or a device, not a file." in found
    assert "data/pipe: is a link or a device, not a file." in found
    assert "data/more: is a folder that does not belong in a bundle." in found
    assert "notes.txt: does not belong in a bundle." in found
    assert "data/readback.json: is missing; manifest-sha256.txt lists it." in found


def test_a_path_without_a_bundle_is_one_sentence(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert f"{tmp_path}/none: can't be read: No such file or directory." in findings(tmp_path / "none")
    assert "pipe: is neither a file nor a folder." in findings(pipe)
    assert "bagit.txt: is missing." in findings(tmp_path)
