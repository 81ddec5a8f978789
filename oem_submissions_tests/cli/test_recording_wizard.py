"""A wizard with radio buttons, walked through once: what is written files at the portal and at the redrawn one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from playwright.sync_api import Page

from oem_submissions.cli import recording
from oem_submissions.cli.new_oem import ClaimType, NewOem, drafted, scaffold
from oem_submissions.conformance.stage import make_subject
from oem_submissions.conformance.suite import Outcome
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import PartsReturn
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.goldens import check_goldens
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.recording import closed_page, recorder
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.settings import PROJECT
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.acceptance.test_new_oem import project
from oem_submissions_tests.cli.lyra.skin import Lyra
from oem_submissions_tests.cli.walking import Person, load_module, load_skin
from oem_submissions_tests.conformance.conftest import Run, run_on

__all__ = ["project", "run_on"]
NEW = NewOem("lyra", "Lyra Parts Net", ClaimType.PARTS_RETURN)
TYPED = {
    "user": "jdoe-4711",
    "password": "correct-horse",
    "invoice": "PI774411",
    "part": "38616-6A0",
    "amount": "184.25",
}
ANSWERS = {
    "reference": "LY-2026-004217", "markers.maintenance": "The portal is down for maintenance",
    "markers.session_expired": "Your session is over. Sign in again.", "markers.unavailable": "Internal server error",
    "login.refused": "User or password is wrong.", "login.needs_person": "We sent a code to your phone.",
    "rejections.0": "is missing", "rejections.2": "This claim exists already", "history.empty": "Nothing was found.",
    "choices.reason.damaged": "Arrived damaged", "history.next": "Next page",
    "settle_minutes": "45", "listing.days": "400", "timezone": "UTC",
}  # fmt: skip


class Adapter(PortalAdapter):
    """As the scaffold writes it."""

    oem = "lyra"
    claim_model = PartsReturn
    cadence = Cadence("0 */2 * * 1-6", timezone="America/Chicago", period="day")


def closes_the_window(page: Page) -> None:
    with page.context.expect_page() as opened:
        page.close()
    opened.value.wait_for_url("**/lyra/**")


def begins(page: Page) -> None:
    page.get_by_role("link", name="Return a part").click()
    page.get_by_label("Pieces").wait_for()


def signs_in(page: Page) -> None:
    page.get_by_label("User").fill(TYPED["user"])
    page.get_by_label("Password").fill(TYPED["password"])
    page.get_by_role("button", name="Sign in").click()
    begins(page)


def names_the_part(page: Page, pieces: str = "999") -> None:
    page.get_by_label("Invoice number").fill(TYPED["invoice"])
    page.get_by_label("Invoice date").fill("10/02/2026")
    page.get_by_label("Part number").fill(TYPED["part"])
    page.get_by_label("Pieces").fill(pieces)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Remarks").wait_for()


def says_why(page: Page) -> None:
    page.get_by_label("Arrived damaged").check()
    page.get_by_label("Amount, USD").fill(TYPED["amount"])
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Send the return").wait_for()


def is_refused(page: Page) -> None:
    page.get_by_role("button", name="Send the return").click()
    page.get_by_role("alert").wait_for()


def files_another(page: Page) -> None:
    begins(page)
    names_the_part(page, "2")
    says_why(page)
    page.get_by_role("button", name="Send the return").click()
    page.get_by_text("RMA number").wait_for()


def looks_at_the_list(page: Page) -> None:
    page.get_by_role("link", name="Returns", exact=True).click()
    page.get_by_role("heading", name="Returns").wait_for()


@pytest.fixture
def walked(project: Path) -> Path:
    """A copy of the project with what the walk has written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    told: list[str] = []
    runtime = BrowserRuntime(
        lambda oem: Adapter(), PROJECT / "selectors", {}, browser_arguments=(f"--remote-debugging-port={port}",)
    )
    with Simulator(skins=[Lyra]) as simulator, runtime, closed_page(runtime.browser()) as closed:
        person = Person(port, "/lyra", [
            ("1/5", closes_the_window, ""), ("2/5", signs_in, ""), ("a next page?", None, ""),
            ("a next page?", names_the_part, ""), ("a next page?", says_why, ""), ("a next page?", None, "-"),
            ("3/5", is_refused, ""),
            ("4/5", files_another, ""), ("5/5", looks_at_the_list, ""),
        ])  # fmt: skip
        simulator.client.add_account("lyra", "D0417", TYPED["user"], TYPED["password"], "Lakeside", None)
        try:
            with recorder(runtime.browser(), f"{simulator.http_url}/lyra/") as walking:
                pages = recording.walk(walking, closed, person.ask, told.append)
        finally:
            person.leave()
        assert any(said.startswith("The window was closed, and is open again at ") for said in told)
        assert "That page was read already: go on to the next, or answer with - if there is none." in told
        draft = drafted(NEW, pages, closed, ANSWERS, None)
        assert draft.left == ()
        paths = scaffold(NEW, project, draft)
        check_goldens(load_pack(project / "selectors", "lyra"), Adapter(), runtime.browser())
    files = {path: (project / path).read_text() for path in paths if "lyra" in path}
    assert {path for path, text in files.items() for said in TYPED.values() if said in text} == set()
    return project


def test_a_recorded_wizard_files_at_its_portal_and_at_the_redrawn_one(walked: Path, run_on: Run) -> None:
    form = load_pack(walked / "selectors", "lyra").form("parts_return")
    assert [list(page.fields) for page in form.pages] == [list(fields) for fields in Lyra.steps]
    reason = form.fields["reason"]
    assert (reason.kind, list(reason.options)) == ("radio", ["Core", "Arrived damaged", "Wrong part", "Overstock"])
    assert set(form.pages[2].shows) == {"source_invoice", "part_number", "quantity", "reason"}
    mapping = load_module(walked / "adapters/lyra/mapping.py")
    made = type("Made", (Adapter,), {"form_values": staticmethod(mapping.form_values)})()
    redrawn = load_skin(walked / "oem_submissions/simulator/lyra.py", "Lyra")
    for skin in (Lyra, redrawn):
        results = run_on(make_subject(made, skin, walked / "selectors"), "plain")
        assert [(one.outcome, one.problems) for one in results] == [(Outcome.PASSED, ())], skin
