"""The page after the click, read while it is drawn anew. What the pages at rest say: the packs' goldens."""

from __future__ import annotations

from oem_submissions.portal.classify import AcceptedForLater, NothingYet, classify
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions_tests.portal.parts import SELECTORS

DRAWN_ANEW_AFTER_ITS_TEXT_WAS_READ = """
(after) => Object.defineProperty(document.body, "innerText", {configurable: true, get() {
  delete document.body.innerText;
  const before = document.body.innerText;
  document.body.innerHTML = after;
  return before;
}})
"""


def test_half_of_one_page_and_half_of_the_next_is_no_answer(chromium: BrowserRuntime) -> None:
    """The text was read of the page in process, the marker is seen on the card that says "later"."""
    pack, goldens = load_pack(SELECTORS, "cascade"), SELECTORS / "cascade" / "golden"
    with chromium.browser().new_page() as page:
        page.set_content((goldens / "in_process.html").read_text())
        later = (goldens / "reference_later.html").read_text()
        page.evaluate(DRAWN_ANEW_AFTER_ITS_TEXT_WAS_READ, later)
        form = pack.form("delivery_report")
        torn = classify(page.main_frame, form, pack.markers, 202)
        whole = classify(page.main_frame, form, pack.markers, 202)
    assert isinstance(torn, NothingYet)
    assert isinstance(whole, AcceptedForLater)
