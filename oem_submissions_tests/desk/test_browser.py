"""The desk in a real browser: readable on any screen, usable by keyboard, and hostile texts stay text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from oem_submissions_tests.browser import launch
from oem_submissions_tests.desk.conftest import RunningDesk
from oem_submissions_tests.desk.ledger import ASKED, FILED, REFUSED, SUNK
from oem_submissions_tests.desk.pages import PAGES, RICHEST
from oem_submissions_tests.evidence import samples


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


AXE = next(Path(str(axe_playwright_python.__file__)).parent.glob("axe.min.js")).read_text()
OPTIONS = {"resultTypes": ["violations"], "preload": False}
WHOLE = OPTIONS | {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
CONTRAST = OPTIONS | {"runOnly": ["color-contrast"]}


def complaints_of_axe(page: Page, rules: dict[str, object]) -> list[str]:
    """What it finds, with the element. The policy of the page forbids script tags, not what a debugger evaluates."""
    page.evaluate(AXE)
    found = page.evaluate("rules => axe.run(document, rules)", rules)["violations"]
    return [f"{v['impact']} {v['id']}: {v['nodes'][0]['html']}" for v in found]


def test_every_page_fits_every_screen(page: Page, desk: RunningDesk) -> None:
    for path in PAGES:
        page.goto(desk.url + path)
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)"), path
        for width in (1440, 820, 360):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width, path


@pytest.mark.parametrize("path", RICHEST)
def test_axe_finds_nothing_on_a_page_of_any_kind_in_light_and_dark(page: Page, desk: RunningDesk, path: str) -> None:
    page.goto(desk.url + path)
    assert complaints_of_axe(page, WHOLE) == []
    page.emulate_media(color_scheme="dark")
    assert complaints_of_axe(page, CONTRAST) == []


def test_a_page_says_where_one_is_and_in_what_order(page: Page, desk: RunningDesk) -> None:
    page.goto(f"{desk.url}/review/{ASKED}")
    assert page.locator("nav [aria-current]").all_inner_texts() == ["Review"]
    levels = page.locator("h1, h2, h3").evaluate_all("found => found.map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for landmark in ("banner", "navigation", "main", "contentinfo", "search"):
        assert page.get_by_role(landmark).count() == 1  # type: ignore[arg-type]


def test_a_verdict_is_given_with_the_keyboard_alone(page: Page, desk: RunningDesk, tmp_path: Path) -> None:
    page.goto(f"{desk.url}/review/{ASKED}")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # "Skip to the content"
    assert page.evaluate("document.activeElement.id") == "main"
    seen: list[str] = []
    while (name := page.evaluate("document.activeElement.name || document.activeElement.tagName")) != "verdict":
        seen.append(name)
        assert len(seen) < 40, seen
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", name
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("WC-7")
    page.keyboard.press("Tab")
    page.keyboard.type("In the history, second page.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Record it as filed?").wait_for()
    assert "becomes filed with the claim number WC-7" in page.locator("main").inner_text()
    assert complaints_of_axe(page, WHOLE) == []
    picture = tmp_path / "seen.webp"
    picture.write_bytes(samples.shot("Claim history"))
    page.get_by_label("Picture of the portal’s page").set_input_files(picture)
    page.get_by_role("button", name="Record: filed").press("Enter")
    page.get_by_role("status").wait_for()
    assert desk.operating.asked == [(ASKED, "filed", "ana", "In the history, second page.", "WC-7")]


def test_a_picture_is_zoomed_without_script(page: Page, desk: RunningDesk) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(f"{desk.url}/claims/{FILED}")
    page.get_by_role("link", name="After: the portal’s answer: see it large").click()
    picture = page.locator(".stage img")
    assert picture.evaluate("i => i.clientWidth < i.naturalWidth")
    page.get_by_label("Actual size").check()
    assert picture.evaluate("i => i.clientWidth === i.naturalWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("link", name="← Before: the filled form").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Before: the filled form"


def test_a_claims_page_prints_its_proof_and_nothing_to_press(page: Page, desk: RunningDesk) -> None:
    page.goto(f"{desk.url}/claims/{FILED}")
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in ("nav", "form", ".actions"):
        assert not page.locator(hidden).first.is_visible(), hidden
    for shown in ("h1", ".shots img", ".story", "pre"):
        assert page.locator(shown).first.is_visible(), shown
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


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
        assert page.evaluate("[...document.images].filter(i => !i.src.includes('/static/')).length") == 0
        assert page.title() != "owned"
        assert "<script>document.title='owned'</script>" in page.locator("main").inner_text()
        assert "⟨U+202E⟩{{ 7*7 }}" in page.locator("main").inner_text()
    page.goto(f"{desk.url}/claims/{REFUSED}")
    assert "⟨U+0000⟩⟨U+001B⟩[31m⟨U+D800⟩⟨U+2066⟩=HYPERLINK(1)" in page.locator("main").inner_text()
    page.goto(f"{desk.url}/claims/{SUNK}")
    assert len(page.content()) < 40_000  # the portal's text has two megabytes
