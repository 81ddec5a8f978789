"""Pure decisions: references, contracts, the choice of a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.domain.outcomes import Reference, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.browser import find_browser
from oem_submissions.portal.capture import filled_in
from oem_submissions.portal.locators import ByLabel, ByTestId
from oem_submissions.portal.references import Anchored, decide, in_cell, luhn
from oem_submissions.portal.schema import ReferenceRule
from oem_submissions.portal.standing import Character, Standing, written

RULE = ReferenceRule(
    find=ByLabel(label="a"), witness=ByTestId(testid="b"), kind="number", pattern=r"\b(?P<reference>[A-Z]{2}\d{4})\b"
)


def on_a_line(text: str) -> Standing:
    """As a page shows it whose letters are all ten pixels wide."""
    letters = enumerate(text)
    return Standing(text, tuple(Character(c, True, 10.0 * at, 0.0, 10.0, 16.0) for at, c in letters if c.strip()))


def outcome(*texts: str, witnessed: bool = True, seen: tuple[str, ...] = ()) -> Reference | Unknown:
    place = on_a_line(texts[0]) if len(texts) == 1 else Standing("")
    return decide(RULE, Anchored(len(texts), witnessed, place), seen, lambda value: True)


def test_one_match_in_one_place_is_the_reference_with_its_span() -> None:
    assert outcome("No. AB1234 of today") == Reference("AB1234", "number", "No. AB1234 of today", (4, 10))


def test_full_width_characters_are_normalised_first() -> None:
    found = outcome("\uff21\uff22\uff11\uff12\uff13\uff14")
    assert isinstance(found, Reference)
    assert found.value == "AB1234"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (outcome(), ReasonCode.REFERENCE_MISSING),
        (outcome("pending"), ReasonCode.REFERENCE_MISSING),
        (outcome("x" * 3000 + " AB1234"), ReasonCode.REFERENCE_MISSING),
        (outcome("AB1234", "AB1235"), ReasonCode.REFERENCE_AMBIGUOUS),
        (outcome("AB1234 or AB1235"), ReasonCode.REFERENCE_AMBIGUOUS),
        (outcome("AB1234", seen=("AB1234",)), ReasonCode.REFERENCE_SUSPECT),
        (outcome("AB1234 " + "x" * 3000), ReasonCode.REFERENCE_MISSING),
        (outcome("AB1234", witnessed=False), ReasonCode.REFERENCE_SUSPECT),
        (outcome("\u0410AB1234"), ReasonCode.REFERENCE_SUSPECT),
        (outcome("AB1234\u0663"), ReasonCode.REFERENCE_SUSPECT),
        (outcome("AB1234\u0301"), ReasonCode.REFERENCE_SUSPECT),
        (outcome("AB1234-01"), ReasonCode.REFERENCE_SUSPECT),
        (outcome("7/AB1234"), ReasonCode.REFERENCE_SUSPECT),
        (outcome("AB1234.5"), ReasonCode.REFERENCE_SUSPECT),
        (outcome("AB1234\u200b9"), ReasonCode.REFERENCE_SUSPECT),
        (outcome("\u202eAB1234"), ReasonCode.REFERENCE_SUSPECT),
        (outcome("A\u0412\u200b1234"), ReasonCode.REFERENCE_MISSING),
        (outcome("AB\u00ad1234"), ReasonCode.REFERENCE_MISSING),
    ],
)
def test_everything_else_is_unknown(found: Any, reason: ReasonCode) -> None:
    assert isinstance(found, Unknown)
    assert found.reason is reason


@pytest.mark.parametrize("text", ["No.#AB1234.", "(AB1234)", "Ref:AB1234, keep it", "AB1234\nAB1234", "AB1234 - 01"])
def test_what_stands_plainly_beside_it_does_no_harm(text: str) -> None:
    found = outcome(text)
    assert isinstance(found, Reference)
    assert found.value == "AB1234"


def test_letters_that_look_like_others_are_no_reference_whatever_the_pattern_says() -> None:
    rule = RULE.model_copy(update={"pattern": r"(?P<reference>\S+)"})
    found = decide(rule, Anchored(1, True, on_a_line("\u0410B1234")), (), lambda value: True)
    assert isinstance(found, Unknown)
    assert "look like others" in found.text
    assert isinstance(in_cell(rule, "\u0410B1234", "\u0410B1234", lambda value: True), Unknown)


LINE = on_a_line("AB1234").characters
APART = tuple(replace(c, x=c.x + 40 * (c.x >= 30)) for c in LINE)


@pytest.mark.parametrize(
    "place",
    [
        Standing("AB1234", tuple(replace(c, x=100 - c.x) for c in LINE)),
        Standing("AB1234", tuple(replace(c, x=20 - c.x / 5, width=2.0) for c in LINE)),
        Standing("AB1234", (*LINE[:4], *LINE[:3:-1])),
        Standing("AB1234", APART),
        Standing("AB1234", tuple(replace(c, height=4.0) for c in LINE)),
        Standing("AB1234", tuple(replace(c, width=0.0) for c in LINE)),
        Standing("AB1234", tuple(replace(c, x=c.x - 999) for c in LINE)),
        Standing("AB1234", tuple(replace(c, inside=False) for c in LINE)),
        Standing("AB1234", LINE, added=True),
        Standing("AB1234", LINE, whole=False),
        Standing("AB1234", (*LINE, Character("9", False, 60.0, 0.0, 10.0, 16.0))),
        Standing("AB1234", LINE[:5]),
    ],
    ids=["mirrored", "narrow and mirrored", "out of order", "apart", "tiny", "without width", "off the page",
         "beside it", "added to", "in a long text", "goes on outside", "not whole"],
)  # fmt: skip
def test_a_number_that_does_not_stand_there_as_its_text_says_is_suspect(place: Standing) -> None:
    found = decide(RULE, Anchored(1, True, place), (), lambda value: True)
    assert isinstance(found, Unknown)
    assert found.reason is ReasonCode.REFERENCE_SUSPECT
    assert "does not show" in found.text


def test_a_number_may_go_on_in_the_next_line_and_in_other_capitals() -> None:
    wrapped = tuple(replace(c, x=c.x - 30, y=20.0) if c.x >= 30 else c for c in LINE)
    lower = tuple(replace(c, text=c.text.lower()) for c in wrapped)
    assert written("AB1234", Standing("AB1234", lower)) == lower


def test_a_wrong_check_digit_is_suspect() -> None:
    rule = RULE.model_copy(update={"check": "luhn", "pattern": r"(?P<reference>\d{10})"})
    found = decide(rule, Anchored(1, True, on_a_line("4400128870")), (), lambda value: True)
    assert isinstance(found, Unknown)
    assert (luhn("7310042176"), luhn("4400128870"), luhn("ABC")) == (True, False, False)


def test_playwrights_own_headless_shell_comes_first_then_the_systems(tmp_path: Path) -> None:
    def program(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
        return path

    chromium, shell = program(tmp_path / "bin/chromium"), tmp_path / "bin/chromium-headless-shell"
    environment = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}
    assert find_browser(environment).path == chromium
    assert find_browser({**environment, "PATH": str(program(shell).parent)}).path == shell
    own = tmp_path / ".cache/ms-playwright/chromium_headless_shell-{}/chrome-linux/headless_shell"
    for revision in (999, 1200):
        program(Path(str(own).format(revision)))
    assert find_browser(environment).path == Path(str(own).format(1200))
    with pytest.raises(ConfigurationError, match=r"No Chromium was found: run `playwright install"):
        find_browser({"PATH": "", "HOME": str(tmp_path / "nobody")})


def test_a_template_of_a_pack_replaces_names_and_nothing_else() -> None:
    assert filled_in("{name} of {size} {0} {x.y}", {"name": "a", "size": "5"}) == "a of 5 {0} {x.y}"
