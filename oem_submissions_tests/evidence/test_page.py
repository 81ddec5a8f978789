"""The bundle's page in a real browser: it opens from disk, shows both shots, and hostile texts stay text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from oem_submissions.domain.evidence import BundleFacts
from oem_submissions.domain.texts import visible
from oem_submissions.evidence.bundle import build_bundle
from oem_submissions_tests.browser import launch
from oem_submissions_tests.evidence import samples
from oem_submissions_tests.evidence.test_bundle import unzip

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "</title></style><style>body{display:none}</style><a href='javascript:alert(1)'>x</a>{{ 7*7 }}&lt;b&gt;\"'"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launch(playwright) as browser:
        yield browser


def open_page(browser: Browser, facts: BundleFacts, folder: Path, **options: object):  # type: ignore[no-untyped-def]
    bundle = build_bundle(facts, samples.artifacts(**options.pop("pieces", {})))  # type: ignore[arg-type]
    page = browser.new_page(**options)  # type: ignore[arg-type]
    page.console = []
    page.asked = []
    page.on("console", lambda message: page.console.append(message.text))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto((unzip(bundle.zip_bytes, folder) / "data/index.html").as_uri())
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_opens_from_disk_on_any_screen(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    page = open_page(browser, samples.facts(), tmp_path, color_scheme=scheme, viewport={"width": width, "height": 800})
    assert page.console == []
    assert page.locator("h1").inner_text() == "AUR-4471902"
    assert page.locator("mark").inner_text() == "AUR-4471902"
    assert page.evaluate("[...document.images].map(i => i.naturalWidth)") == [640, 640]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert [url.rpartition("/")[2] for url in page.asked] == ["index.html", "pre_submit.webp", "post_confirm.webp"]
    before, after = (page.locator("figure").nth(n).bounding_box() for n in (0, 1))
    assert (before["y"] == after["y"]) is (width > 1000)
    page.close()


def test_personal_data_is_not_shown(browser: Browser, tmp_path: Path) -> None:
    page = open_page(browser, samples.facts(), tmp_path)
    assert "Jane Roe" not in page.content()
    assert page.get_by_role("row", name="Customer").inner_text().startswith("Customer\tnot shown (pii)")
    page.close()


def test_hostile_texts_stay_text(browser: Browser, tmp_path: Path) -> None:
    facts = samples.facts(
        url=HOSTILE,
        browser=HOSTILE,
        natural_key=HOSTILE,
        reference_kind=HOSTILE,
        reference_text=f"{HOSTILE} REF-9",
        reference="REF-9",
        reference_span=(len(HOSTILE) + 1, len(HOSTILE) + 6),
    )
    page = open_page(browser, facts, tmp_path, pieces={"readback_json": samples.readback({HOSTILE: HOSTILE})})
    assert page.title() == "REF-9 · aurora-k3v7q2mxw5la · evidence"
    assert page.console == []
    assert page.evaluate("document.scripts.length") == 0
    assert page.evaluate("document.styleSheets.length") == 1
    assert page.evaluate("[...document.links].every(a => new URL(a.href).protocol === 'file:')")
    assert page.get_by_role("rowheader", name=HOSTILE).inner_text() == HOSTILE
    assert page.get_by_role("cell", name=HOSTILE).inner_text() == HOSTILE
    assert page.locator("h1").is_visible()
    page.close()


def test_the_policy_stops_what_escaping_would_have_missed(browser: Browser, tmp_path: Path) -> None:
    page = open_page(browser, samples.facts(), tmp_path)
    markup = "<b style='color:red' onclick='document.title=1'>"
    page.evaluate("markup => document.body.insertAdjacentHTML('beforeend', markup)", markup)
    page.locator("body > b").evaluate("b => b.click()")
    assert page.title() != "1"
    assert any("Content Security Policy" in line for line in page.console)
    page.close()


def test_a_refused_claim_says_why_and_what_to_do(browser: Browser, tmp_path: Path) -> None:
    facts = samples.rejected_facts(reason_text=f"Labour operation is not covered. {HOSTILE}")
    page = open_page(browser, facts, tmp_path)
    text = page.locator("main").inner_text()
    assert "Refused by the portal" in text
    assert "VALIDATION_REJECTED" in text
    assert f"Labour operation is not covered. {HOSTILE}" in text
    assert "submit it as a new claim" in text
    page.close()


def test_what_can_not_be_seen_is_spelled_out() -> None:
    assert visible("AUR\u202e1234\u200b\0") == "AUR⟨U+202E⟩1234⟨U+200B⟩⟨U+0000⟩"
    assert visible("Ünïcödé 漢字 😀\n\tok") == "Ünïcödé 漢字 😀\n\tok"
