"""The desk in a real browser: readable on any screen, usable by keyboard, and hostile texts stay text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from oem_submissions_tests.browser import launch
from oem_submissions_tests.desk.conftest import RunningDesk
from oem_submissions_tests.desk.ledger import FILED, REFUSED


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launch(playwright) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_page(viewport={"width": 1280, "height": 900}) as page:
        page.set_default_timeout(20_000)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        assert complaints == []


@pytest.mark.parametrize("path", ["/", f"/claims/{FILED}", f"/claims/{REFUSED}", "/?q=nothing"])
@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (820, "dark"), (1440, "light")])
def test_every_page_fits_the_screen(page: Page, desk: RunningDesk, path: str, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(desk.url + path)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")


def test_a_claim_is_found_with_the_keyboard_alone(page: Page, desk: RunningDesk) -> None:
    page.goto(desk.url)
    page.locator("input:focus").wait_for()
    page.keyboard.type("AUR-4471902")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/claims/{FILED}")
    assert page.get_by_role("heading", level=1).inner_text() == "AUR-4471902"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"


def test_the_bundle_can_be_downloaded(page: Page, desk: RunningDesk) -> None:
    page.goto(f"{desk.url}/claims/{FILED}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the bundle").click()
    assert download.value.suggested_filename.endswith(".zip")


def test_hostile_texts_stay_text(page: Page, desk: RunningDesk) -> None:
    for path in (f"/claims/{REFUSED}", "/"):
        page.goto(desk.url + path)
        assert page.evaluate("document.scripts.length") == 0
        assert page.evaluate("document.images.length") == 0
        assert page.title() != "owned"
        assert "<script>document.title='owned'</script>" in page.locator("main").inner_text()
        assert "⟨U+202E⟩{{ 7*7 }}" in page.locator("main").inner_text()
