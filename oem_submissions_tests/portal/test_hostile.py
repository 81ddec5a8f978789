"""A page after the click that lies, hides, overflows or never ends: its one number is captured, or none is."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image

from oem_submissions.domain.evidence import (
    PERSONAL_PAGE,
    PICTURE_HEIGHT,
    POST_CONFIRM,
    POST_CONFIRM_ARIA,
    POST_CONFIRM_MHTML,
)
from oem_submissions.domain.outcomes import Filed, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions_tests.portal.hostile import (
    CUSTOMER,
    ENDLESS,
    HIGH,
    LIMITS,
    LYING,
    PLAIN,
    Clicker,
    HostilePage,
    HostilePortal,
    Shown,
    hidden,
    hostile_pages,
    hostile_portal,
    page,
)

NUMBER, OTHER = "WC-2026-141891", "WC-2026-597853"
THOROUGH = settings.get_profile("thorough").max_examples


@pytest.fixture(scope="module")
def portal() -> Iterator[HostilePortal]:
    with hostile_portal() as running:
        yield running


@pytest.fixture(scope="module")
def clicker(chromium: BrowserRuntime, portal: HostilePortal) -> Iterator[Clicker]:
    made = Clicker(chromium.browser(), portal)
    yield made
    made.close()


def check(clicker: Clicker, hostile: HostilePage) -> None:
    """What was captured is what a person reads; what has to be captured was."""
    outcome = clicker.click(hostile.html).outcome
    assert isinstance(outcome, Filed | Unknown), outcome
    if isinstance(outcome, Filed):
        assert outcome.reference.value in hostile.truths
    else:
        assert not hostile.must, outcome.text


@settings(
    max_examples=THOROUGH if settings().max_examples == THOROUGH else 15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(hostile=hostile_pages())
def test_what_is_captured_is_what_a_person_reads(clicker: Clicker, hostile: HostilePage) -> None:
    check(clicker, hostile)


@pytest.mark.parametrize("how", PLAIN)
def test_a_number_that_is_plain_to_see_is_captured(clicker: Clicker, how: str) -> None:
    check(clicker, page(NUMBER, OTHER, PLAIN[how]))


@pytest.mark.parametrize(
    "how",
    [
        "a part of more",
        "zero width after",
        "a space that nobody sees",
        "turned by style",
        "digits by style inside",
        "covered",
        "two",
    ],
)
def test_a_number_that_is_not_what_it_seems_is_not_captured(clicker: Clicker, how: str) -> None:
    check(clicker, page(NUMBER, OTHER, LYING[how]))


@pytest.mark.parametrize("how", ["opacity:0", "color:#fefefe"])
def test_a_number_that_nobody_sees_is_not_captured(clicker: Clicker, how: str) -> None:
    check(clicker, page(NUMBER, OTHER, hidden(how, "all")))


@pytest.mark.parametrize(
    "what", ["a draft in a shadow", "a draft in a frame", "a draft far below", "another number soon", "a dialog"]
)
def test_what_speaks_against_it_is_heard_wherever_it_stands(clicker: Clicker, what: str) -> None:
    check(clicker, page(NUMBER, OTHER, PLAIN["as it is"], hostile=what))


@pytest.mark.parametrize("what", ENDLESS)
def test_a_page_that_never_ends_is_closed_and_the_outcome_is_unknown(
    chromium: BrowserRuntime, portal: HostilePortal, what: str
) -> None:
    impatient = Clicker(chromium.browser(), portal, replace(LIMITS, silence_seconds=1.0))
    outcome = impatient.click(page(NUMBER, OTHER, PLAIN["as it is"], more=ENDLESS[what]).html).outcome
    assert isinstance(outcome, Unknown)
    assert outcome.reason is ReasonCode.OUTCOME_UNKNOWN
    assert "did not react" in outcome.text


@pytest.mark.parametrize(
    "told",
    [
        "Thank you, {name}. Your number is {number}.",
        "<p title='{name}'>{number}</p><p>for {name}</p>",
        "<div style='width:60em'>{name} {name} {name} {name} {name} {name} {name} {name} {number}</div>",
    ],
)
def test_a_number_beside_a_name_is_captured_and_the_name_is_not(clicker: Clicker, told: str) -> None:
    html = told.format(name=CUSTOMER, number=NUMBER)
    answer = clicker.click(page(NUMBER, OTHER, lambda number, _: Shown(html, number, True)).html)
    assert isinstance(answer.outcome, Filed), answer.outcome
    assert answer.outcome.reference.value == NUMBER
    pieces = {piece.name: piece.data for piece in answer.artifacts}
    assert CUSTOMER.encode() in gzip.decompress(pieces[PERSONAL_PAGE])
    assert CUSTOMER.encode() not in gzip.decompress(pieces[POST_CONFIRM_MHTML]) + pieces[POST_CONFIRM_ARIA]


def test_of_a_page_that_is_too_high_for_a_picture_its_beginning_is_kept(clicker: Clicker) -> None:
    answer = clicker.click(page(NUMBER, OTHER, PLAIN["as it is"], more=HIGH).html)
    assert isinstance(answer.outcome, Filed)
    (shot,) = [piece for piece in answer.artifacts if piece.name == POST_CONFIRM]
    assert Image.open(io.BytesIO(shot.data)).height == PICTURE_HEIGHT
