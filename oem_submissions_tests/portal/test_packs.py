# ruff: noqa: E501
"""Packs from disk: strict, in one sentence, locked. No browser but for the golden pages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adapters import registry
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.portal.goldens import came_out_right, check_goldens
from oem_submissions.portal.packs import check_packs, json_schema, load_pack, lock_packs, read_lock
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions_tests.portal.parts import SELECTORS


@pytest.fixture
def selectors(tmp_path: Path) -> Path:
    """A copy of the first packs that a test may spoil."""
    copy = Path(shutil.copytree(SELECTORS, tmp_path / "selectors", ignore=shutil.ignore_patterns("v000[2-9].yaml")))
    lock = (copy / "packs.lock").read_text().splitlines(keepends=True)
    (copy / "packs.lock").write_text("".join(line for line in lock if line.startswith("#") or "v0001" in line))
    return copy


def spoil(selectors: Path, old: str, new: str, oem: str = "aurora") -> None:
    path = selectors / oem / "v0001.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    (selectors / "packs.lock").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("user: {label: User ID}", "usr: {label: User ID}", r"line 14, key 'login\.usr' \(pack v0001\): this key is not known"),
        ("signed_in: {role: link, name: Log out}", "", r"key 'login\.signed_in' \(pack v0001\): this key is missing"),
        ("dialog: {accept: ", "dialog: {accep: ", r"key 'forms\.warranty\.submit\.dialog\.accept' .*: this key is missing"),
        ("user: {label: User ID}", "user: {xpath: //input}", r"key 'login\.user' .*: a locator is one of role, label"),
        ("because: the form has no accessible name", "because: no", r"contract\.scope\.because' .*at least 10 characters"),
        (r"WC-\d{4}", r"WC-(?=\d{4}", r"key 'forms\.warranty\.confirmation\.reference\.pattern' .*not a google-re2 pattern"),
        (r"(?P<reference>WC", r"(?P<number>WC", r"needs exactly one group, \(\?P<reference>"),
        (r"\b(?P<reference>WC-\d{4}-\d{6}-[A-HJ-NPR-Z])\b", r"(?P<reference>[A-Z0-9-]*)", r"matches an empty text"),
        ("find: {role: button, name: Submit claim}", "find: {css: .go, because: it is the yellow one}",
         r"a critical element needs at least one locator that is not css"),
        ("takes_our_reference: your_reference", "takes_our_reference: ours", r"names 'ours', which is no field"),
        ("reason: CUTOFF_PASSED", "reason: TOO_LATE", r"rejections\.1\.reason'"),
        ("find: {label: Dealer code}", "find: {matches: 'Hello, .+'}", r"begin it with \^ and end it with \$"),
        ("wait_seconds: 20", "shows: {vinn: {beside: VIN}}", r"confirmation\.shows names vinn, which is no field"),
        ("    refusals:", "    documents: {marker: {text: File}, send: {text: Send}, attachments: [{find: {label: File}, media_types: [image/png], max_bytes: 9}], record: {marker: {text: Claim}, add: [{click: {text: Add}}]}}\n    refusals:",
         r"documents' .*documents need row and shown"),
        ("    refusals:", "    documents: {marker: {text: File}, send: {text: Send}, attachments: [{find: {label: File}, media_types: [image/png], max_bytes: 9, row: {text: x}, shown: '{name}'}], record: {marker: {text: Claim}, add: [{click: {text: Add}}]}}\n    refusals:",
         r"documents' .*without again there can be one file only"),
        ("oem: aurora", "oem: borealis", r"says that it is borealis v0001"),
        ("oem: aurora", "oem: aurora\noem: aurora", r"line \d+ .*not valid YAML"),
        ("oem: aurora", "oem: !!python/object:os.system aurora", r"not valid YAML"),
    ],
)  # fmt: skip
def test_a_malformed_pack_is_one_sentence_with_file_line_key_and_version(
    old: str, new: str, sentence: str, selectors: Path
) -> None:
    spoil(selectors, old, new)
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        load_pack(selectors, "aurora")
    assert "aurora/v0001.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_released_pack_is_never_edited(selectors: Path) -> None:
    (selectors / "packs.lock").unlink(missing_ok=True)
    before = load_pack(selectors, "aurora")
    lock_packs(selectors, [before])
    assert load_pack(selectors, "aurora").locked
    path = selectors / "aurora" / "v0001.yaml"
    path.write_text("# a comment changes nothing\n" + path.read_text())
    assert load_pack(selectors, "aurora").digest == before.digest
    path.write_text(path.read_text().replace("name: Submit claim}", "name: Submit}", 1))
    with pytest.raises(ConfigurationError, match=r"was changed after its release .* the next version, v0002"):
        load_pack(selectors, "aurora")


def test_the_packs_of_the_tree_are_valid_and_locked() -> None:
    packs = check_packs(SELECTORS)
    assert {pack.oem for pack in packs} == set(registry.oems())
    assert read_lock(SELECTORS) == {f"{pack.oem}/{pack.version}": pack.digest for pack in packs}


def test_a_python_file_among_the_packs_is_refused(selectors: Path) -> None:
    (selectors / "__init__.py").touch()
    with pytest.raises(ConfigurationError, match="must stay data"):
        check_packs(selectors)


def test_the_newest_version_is_used_unless_one_is_named(selectors: Path) -> None:
    text = (selectors / "aurora" / "v0001.yaml").read_text()
    (selectors / "aurora" / "v0002.yaml").write_text(text.replace("version: v0001", "version: v0002"))
    assert load_pack(selectors, "aurora").version == "v0002"
    assert load_pack(selectors, "aurora", "v0001").version == "v0001"
    with pytest.raises(ConfigurationError, match=r"No selector pack v0003 for 'aurora' .* it has v0001, v0002"):
        load_pack(selectors, "aurora", "v0003")


def test_the_published_schema_is_the_models() -> None:
    assert (SELECTORS / "pack.schema.json").read_text() == json_schema()


@pytest.mark.parametrize("oem", registry.oems())
def test_the_golden_pages_come_out_right(oem: str, chromium: BrowserRuntime) -> None:
    check_goldens(load_pack(SELECTORS, oem), registry.adapter(oem), chromium.browser())


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("check: adapter", "check: luhn", r"confirmed\.html .* as unknown REFERENCE_SUSPECT, it should be filed WC-2026"),
        (r"WC-\d{4}-\d{6}-[A-HJ-NPR-Z]", r"WCF-\d{4}", r"confirmed\.html .* as unknown REFERENCE_MISSING"),
        ("{text: AUR-409, reason: DUPLICATE_AT_PORTAL}", "{text: AUR-999, reason: DUPLICATE_AT_PORTAL}",
         r"duplicate\.html .* as unknown PORTAL_UNRECOGNISED, it should be unknown DUPLICATE_AT_PORTAL"),
    ],
)  # fmt: skip
def test_a_pack_that_judges_a_golden_page_otherwise_does_not_load_for_use(
    old: str, new: str, sentence: str, selectors: Path, chromium: BrowserRuntime
) -> None:
    spoil(selectors, old, new)
    with pytest.raises(ConfigurationError, match=sentence):
        check_goldens(load_pack(selectors, "aurora"), registry.adapter("aurora"), chromium.browser())


@pytest.mark.parametrize(
    ("page", "old", "sentence"),
    [
        ("golden.yaml", "WC-2026-004217-U", r"golden\.yaml, key 'goldens\.0\.reference' \(pack v0001\): still to be filled in: it"),
        ("confirmed.html", "WC-2026-004217-U", r"confirmed\.html \(pack v0001\) is still to be filled in: .*number"),
    ],
)  # fmt: skip
def test_what_is_still_to_be_filled_in_is_said(
    page: str, old: str, sentence: str, selectors: Path, chromium: BrowserRuntime
) -> None:
    path = selectors / "aurora" / "golden" / page
    path.write_text(path.read_text().replace(old, '"FILL IN: it"', 1))
    with pytest.raises(ConfigurationError, match=sentence):
        check_goldens(load_pack(selectors, "aurora"), registry.adapter("aurora"), chromium.browser())


def test_a_pack_without_golden_pages_does_not_load_for_use(selectors: Path, chromium: BrowserRuntime) -> None:
    shutil.rmtree(selectors / "aurora" / "golden")
    with pytest.raises(ConfigurationError, match="has no golden pages"):
        check_goldens(load_pack(selectors, "aurora"), registry.adapter("aurora"), chromium.browser())


def test_golden_pages_that_came_out_right_are_not_judged_again_until_anything_changes(
    selectors: Path, tmp_path: Path, chromium: BrowserRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "oem_submissions.portal.goldens")
    remembered, adapter = tmp_path / "goldens", registry.adapter("cascade")

    def judged() -> int:
        came_out_right(load_pack(selectors, "cascade"), adapter, chromium.browser(), remembered)
        return len(caplog.records)

    assert [judged(), judged()] == [1, 1]
    index = selectors / "cascade" / "golden" / "golden.yaml"
    index.write_text(index.read_text().replace("expect: filed", "expect: refused", 1))
    for _ in range(2):  # what came out wrong is not remembered
        with pytest.raises(ConfigurationError, match="judges the golden page"):
            judged()
