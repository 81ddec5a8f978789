"""Many locators asked at once: the same elements as one by one, or nothing at all."""

from __future__ import annotations

import pytest

from oem_submissions.portal.locators import Beside, ByCss, ByLabel, ByRole, Locator, find_together, look_up
from oem_submissions.portal.runtime import BrowserRuntime

PAGE = """
<form><p><label>Line <input id="line" name="line"></label></p><p><label>VIN <input id="vin" name="vin"></label></p>
<p><input aria-label="Twice"><input aria-label="Twice"></p>
<table><tr><th>Claim >> "number"</th><td id="number">WC-1</td></tr></table><button>Send</button></form>
"""
VIN, LINE, SEND, NUMBER = (
    ByLabel(label="VIN"), ByLabel(label="Line"), ByRole(role="button", name="Send"), Beside(beside='Claim >> "number"')
)  # fmt: skip


def css(selector: str) -> ByCss:
    return ByCss(css=selector, because="the test's own page")


def test_each_locator_gets_its_element_in_the_order_asked(chromium: BrowserRuntime) -> None:
    """Not in the order of the page, and as often as it is asked."""
    asked: list[Locator] = [VIN, NUMBER, SEND, LINE]
    with chromium.browser().new_page() as page:
        page.set_content(PAGE)
        for _ in range(2):
            found = find_together(page.main_frame, asked, {0: css("[name=vin]"), 3: css("p #line")})
            assert found is not None
            one_by_one = [look_up(page.main_frame, where).element_handle() for where in asked]
            same = "pairs => pairs.map(([one, other]) => one === other)"
            assert page.evaluate(same, [list(pair) for pair in zip(found, one_by_one, strict=True)]) == [True] * 4


@pytest.mark.parametrize(
    ("asked", "witnesses"),
    [
        ([VIN, ByLabel(label="Mileage")], {}),
        ([VIN, ByLabel(label="Twice")], {}),
        ([VIN, css("#vin")], {}),
        ([VIN, LINE], {0: css("#line")}),
        ([VIN, LINE], {0: css("#line"), 1: css("#vin")}),
        ([VIN, LINE], {1: css("#no")}),
        ([VIN, LINE], {1: css("p > label > input")}),
    ],
    ids=["missing", "there twice", "the same twice", "another's", "swapped", "no witness", "a witness of both"],
)
def test_anything_but_exactly_one_of_each_is_nothing(
    chromium: BrowserRuntime, asked: list[Locator], witnesses: dict[int, Locator]
) -> None:
    with chromium.browser().new_page() as page:
        page.set_content(PAGE)
        assert find_together(page.main_frame, asked, witnesses) is None
        assert find_together(page.main_frame, [VIN, LINE], {0: css("#vin")}) is not None  # nothing is left of it
