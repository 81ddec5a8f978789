"""The bundle: the same for the same facts, all or nothing, and believed by public tools."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from oem_submissions.domain.evidence import HISTORY, PICTURE_HEIGHT, POST_CONFIRM, Bundle, is_blank
from oem_submissions.domain.failures import SubmissionError
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import State
from oem_submissions.evidence.bundle import build_bundle, submission_json
from oem_submissions.evidence.submission import read_submission
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions_tests.evidence import samples
from oem_submissions_tests.evidence.sealing import KEYS, seal, sealed_bundle

TOP = "aurora-k3v7q2mxw5la"


def unzip(data: bytes, into: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(into)
    return into / TOP


def test_a_bundle_holds_what_the_design_says() -> None:
    bundle = build_bundle(samples.facts(), samples.artifacts())
    with zipfile.ZipFile(io.BytesIO(bundle.zip_bytes)) as archive:
        names = [name.removeprefix(f"{TOP}/") for name in archive.namelist()]
        kinds = {entry.compress_type for entry in archive.infolist()}
        document = json.loads(archive.read(f"{TOP}/data/submission.json"))
        tag_manifest = archive.read(f"{TOP}/tagmanifest-sha256.txt")
        kept = archive.read(f"{TOP}/data/pre_submit.webp")
    assert names == [
        "bag-info.txt",
        "bagit.txt",
        "data/index.html",
        "data/post_confirm.webp",
        "data/pre_submit.webp",
        "data/readback.json",
        "data/request.json",
        "data/submission.json",
        "manifest-sha256.txt",
        "tagmanifest-sha256.txt",
    ]
    assert kinds == {zipfile.ZIP_STORED}
    assert bundle.digest == hashlib.sha256(tag_manifest).hexdigest()
    assert kept == samples.artifacts()["pre_submit.webp"]
    assert document["reference"] == "AUR-4471902"
    assert document["armed_at"] == "2026-03-02T09:14:05.870000Z"
    assert document["files"] == sorted(name.removeprefix("data/") for name in names if name.startswith("data/"))


def test_the_facts_come_back_from_the_bundle() -> None:
    for facts in (samples.facts(), samples.rejected_facts()):
        assert verify_bundle(build_bundle(facts, samples.artifacts()).zip_bytes).facts == facts


@pytest.mark.parametrize(
    "command",
    [
        ["sha256sum", "-c", "--strict", "manifest-sha256.txt"],
        ["sha256sum", "-c", "--strict", "tagmanifest-sha256.txt"],
        [sys.executable, "-m", "bagit", "--validate", "."],
    ],
)
@pytest.mark.parametrize("facts", [samples.facts(), samples.rejected_facts()], ids=["confirmed", "rejected"])
def test_public_tools_believe_it(tmp_path: Path, command: list[str], facts: object) -> None:
    folder = unzip(build_bundle(facts, samples.artifacts()).zip_bytes, tmp_path)  # type: ignore[arg-type]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# --- sealing again gives the same --------------------------------------------------------------------------------

texts = st.text(st.characters(), max_size=60)


@settings(deadline=None, max_examples=60)
@given(before=texts, after=texts, url=texts, key=texts, seconds=st.integers(0, 10**6), shuffled=st.randoms())
def test_equal_facts_give_equal_bytes_and_verify_whatever_the_texts(  # type: ignore[no-untyped-def]
    before, after, url, key, seconds, shuffled
) -> None:
    text = f"{before}REF-1{after}"
    moment = samples.at(5) + timedelta(seconds=seconds)
    facts = samples.facts(
        reference="REF-1",
        reference_text=text,
        reference_span=(len(before), len(before) + 5),
        url=url,
        natural_key=key,
        armed_at=moment,
    )
    elsewhere = dataclasses.replace(facts, armed_at=moment.astimezone(timezone(timedelta(hours=-7))))
    pieces = list(samples.artifacts().items())
    first = build_bundle(facts, dict(pieces))
    shuffled.shuffle(pieces)
    assert build_bundle(elsewhere, dict(pieces)) == first
    verification = verify_bundle(seal(first, TOP).zip_bytes, first.digest, KEYS)
    assert verification.ok, verification.findings


def test_other_facts_give_another_digest() -> None:
    digests = {
        build_bundle(facts, samples.artifacts()).digest
        for facts in (samples.facts(), samples.facts(attempt=2), samples.facts(url="https://other.example/"))
    }
    assert len(digests) == 3


# --- all or nothing ----------------------------------------------------------------------------------------------


def refusal(facts: object = None, **changes: bytes | None) -> SubmissionError:
    with pytest.raises(SubmissionError) as caught:
        build_bundle(facts or samples.facts(), samples.artifacts(**changes))  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        ("pre_submit_webp", ReasonCode.PRE_EVIDENCE_MISSING),
        ("readback_json", ReasonCode.PRE_EVIDENCE_MISSING),
        ("post_confirm_webp", ReasonCode.POST_EVIDENCE_MISSING),
        ("request_json", ReasonCode.POST_EVIDENCE_MISSING),
    ],
)
def test_a_confirmed_claim_without_a_mandatory_piece_is_not_sealed(piece: str, reason: ReasonCode) -> None:
    error = refusal(**{piece: None})
    assert error.reason is reason
    assert re.fullmatch(rf"The bundle of {TOP} can't be sealed: \w+\.\w+ is missing\.", error.text)


def test_a_claim_refused_in_the_page_needs_no_request() -> None:
    same = samples.shot("Aurora", ("same before and after",))
    pieces = samples.artifacts(request_json=None, pre_submit_webp=same, post_confirm_webp=same)
    assert verify_bundle(sealed_bundle(samples.rejected_facts(), pieces).zip_bytes, keys=KEYS).ok
    assert refusal(samples.rejected_facts(), post_confirm_webp=None).reason is ReasonCode.POST_EVIDENCE_MISSING


BLANK = samples.webp(Image.new("RGB", (640, 480), "white"))


@pytest.mark.parametrize("worthless", [BLANK, b"", b"not a picture", samples.shot("x")[:200]])
def test_a_picture_that_shows_nothing_is_not_sealed(worthless: bytes) -> None:
    assert refusal(pre_submit_webp=worthless).reason is ReasonCode.PRE_EVIDENCE_MISSING
    assert refusal(post_confirm_webp=worthless).reason is ReasonCode.POST_EVIDENCE_MISSING


def test_two_shots_of_the_same_are_not_sealed() -> None:
    error = refusal(post_confirm_webp=samples.artifacts()["pre_submit.webp"])
    assert error.reason is ReasonCode.POST_EVIDENCE_MISSING
    assert "the very same" in error.text


def test_a_readback_that_is_not_json_is_not_sealed() -> None:
    assert refusal(readback_json=b"[" * 100_000).reason is ReasonCode.PRE_EVIDENCE_MISSING
    assert refusal(request_json=b"\xff").reason is ReasonCode.POST_EVIDENCE_MISSING


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"claim_id": "../../etc"}, "is not one"),
        ({"started_at": samples.at(1).replace(tzinfo=None)}, "no time zone"),
        ({"reference": None}, "needs a reference"),
        ({"confirmed_at": None}, "time of its confirmation"),
        ({"reference_span": (40, 999)}, "lies outside"),
        ({"reference_span": (0, 5)}, "not what stands at its place"),
        ({"outcome": State.OUTCOME_UNKNOWN}, "neither CONFIRMED nor REJECTED"),
        ({"outcome": State.REJECTED}, "has no reference"),
    ],
)
def test_facts_that_contradict_themselves_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_bundle(samples.facts(**changes), samples.artifacts())


def test_a_piece_without_a_place_in_a_bundle_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no place for trace\.zip"):
        build_bundle(samples.facts(), samples.artifacts() | {"trace.zip": b""})


# --- rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ink", "blank"), [(0, True), (9, True), (10, False), (50_000, False)])
def test_blank_means_almost_no_pixel_differs(ink: int, blank: bool) -> None:
    histogram = [0] * 256
    histogram[255] = 90_000
    histogram[250] = 10_000 - ink if ink <= 10_000 else 10_000
    histogram[30] = ink
    assert is_blank(histogram) is blank


def test_late_pieces_and_a_page_higher_than_its_picture_are_said_on_the_bundles_page() -> None:
    high = Image.new("RGB", (64, PICTURE_HEIGHT), "white")
    high.paste("black", (0, 0, 64, 400))
    pieces = samples.artifacts() | {POST_CONFIRM: samples.webp(high)}
    plain = page_of(build_bundle(samples.facts(), samples.artifacts()))
    told = page_of(build_bundle(samples.facts(late=(HISTORY,)), pieces))
    assert "Late evidence" not in plain
    assert "16,000 pixels" not in plain
    assert f"captured or told later: {HISTORY}." in told
    assert f"{POST_CONFIRM} shows the first 16,000 pixels" in told


def page_of(bundle: Bundle) -> str:
    with zipfile.ZipFile(io.BytesIO(bundle.zip_bytes)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/index.html")]
        return archive.read(name).decode()


def test_facts_of_bundles_that_knew_no_late_pieces_are_still_read() -> None:
    document = json.loads(submission_json(samples.facts(late=(HISTORY,)), ["x"]))
    assert read_submission(json.dumps(document).encode())[0].late == (HISTORY,)
    del document["late"]
    assert read_submission(json.dumps(document).encode())[0].late == ()
