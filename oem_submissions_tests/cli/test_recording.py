"""`new-oem` from pages: saved ones, hostile ones, ones without labels, and a walk through a portal in a browser."""

from __future__ import annotations

import ast
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from oem_submissions.cli import recording
from oem_submissions.cli.errors import NotSo
from oem_submissions.cli.new_oem import ClaimType, NewOem, drafted, scaffold
from oem_submissions.cli.recording import Draft, Pages
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import IncentiveClaim
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.goldens import check_goldens
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.recognition import matched, pattern_of
from oem_submissions.portal.recording import ClosedPage, RecordingRefused, closed_page, recorder, saved_page
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.settings import PROJECT
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.acceptance.test_new_oem import ERIDANI, project
from oem_submissions_tests.cli.walking import Person, load_skin

__all__ = ["project"]
VEGA = PROJECT / "docs" / "tutorial" / "vega"
NEW = NewOem("vega", "Vega Motors", ClaimType.INCENTIVE)
ON_THE_PAGES = ("Jane", "Doe", "jane.doe", "Lakeside", "Maria", "Gutierrez", "1HGCM82633A004352", "10234", "SPRING24",
                "T-26-118204", "VG-26-004650", "5f2c9a71d3", "metrics")  # fmt: skip
"""What the saved pages hold of people, claims and sessions."""


class Vega(PortalAdapter):
    """As the scaffold writes it."""

    oem = "vega"
    claim_model = IncentiveClaim
    cadence = Cadence("0 */2 * * 1-6", timezone="America/Chicago", period="day")


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def browser(port: int) -> Iterator[Browser]:
    arguments = (f"--remote-debugging-port={port}",)
    with BrowserRuntime(lambda oem: Vega(), PROJECT / "selectors", {}, browser_arguments=arguments) as runtime:
        yield runtime.browser()


@pytest.fixture(scope="module")
def closed(browser: Browser) -> Iterator[ClosedPage]:
    with closed_page(browser) as page:
        yield page


def draft_of(folder: Path, closed: ClosedPage, **more: str) -> Draft:
    pages, beside = recording.pages_of(folder, closed)
    return drafted(NEW, pages, closed, beside | more, None)


def written(project: Path, draft: Draft, new: NewOem = NEW) -> dict[str, str]:
    return {path: (project / path).read_text() for path in scaffold(new, project, draft) if new.oem in path}


def changed(folder: Path, **edits: tuple[str, str]) -> Path:
    """The saved pages in a folder, with one text of a page in another's place."""
    shutil.copytree(VEGA, folder, dirs_exist_ok=True)
    for page, (before, after) in edits.items():
        text = (folder / f"{page}.html").read_text()
        assert before in text
        (folder / f"{page}.html").write_text(text.replace(before, after))
    return folder


# --- saved pages ---


def test_saved_pages_become_a_pack_that_loads_and_judges_its_goldens(
    closed: ClosedPage, browser: Browser, project: Path
) -> None:
    draft = draft_of(VEGA, closed)
    assert draft.left == ()
    files = written(project, draft)
    pack = load_pack(project / "selectors", "vega")
    check_goldens(pack, Vega(), browser)
    form = pack.form("incentive")
    assert {name: (field.sensitivity, field.critical) for name, field in form.fields.items()} == {
        "vin": ("public", True), "programme": ("public", False), "sale_date": ("public", False),
        "customer_name": ("pii", False), "amount": ("public", True),
    }  # fmt: skip
    contract = form.pages[0].contract
    assert contract is not None
    assert (contract.action, contract.method, len(contract.controls)) == ("/net/incentives/file", "POST", 9)
    assert 'button "Submit to Vega"' in str(contract.aria)
    assert str(form.confirmation.reference.pattern) == r"\b(?P<reference>VG-\d{2}-\d{6})\b"
    assert "sensitivity: secret}   # 'Note to the district office'" in files["selectors/vega/v0001.yaml"]
    held = {path: said for path, text in files.items() for said in ON_THE_PAGES if said in text}
    assert held == {}, "what stood on the pages of people, claims and sessions is in no file"


def test_what_pages_do_not_say_stays_to_be_filled_in_with_what_is_known(
    closed: ClosedPage, project: Path, tmp_path: Path
) -> None:
    folder = changed(tmp_path / "pages", form=("Program code</label>", "Campaign</label>"))
    (folder / "form.html").write_text((folder / "form.html").read_text().replace("progCd", "x7"))
    (folder / "answers.yaml").unlink()
    (folder / "refusal.html").unlink()
    draft = draft_of(folder, closed, **{"settle_minutes": "45"})
    left = "\n".join(draft.left)
    assert "fields.programme.find.label: the label of 'Program'; controls of the page that are left: 'Campaign'" in left
    assert "history.next.name: the link to the list's next page; the page has the links: 'Overview'" in left
    assert "reference.find.beside: the caption beside which the claim's number stands; numbers stand beside: " in left
    assert "golden/refusal.html: no such page was recorded" in left
    assert "settle_minutes" not in left, "it was answered"
    written(project, draft)
    with pytest.raises(ConfigurationError, match="still to be filled in"):
        load_pack(project / "selectors", "vega")


def test_an_answer_to_nothing_or_to_many_is_refused(closed: ClosedPage, tmp_path: Path) -> None:
    shutil.copy(VEGA / "form.html", tmp_path)
    with pytest.raises(NotSo, match="The answer 'colour' is for nothing that is left to fill in"):
        draft_of(tmp_path, closed, colour="red")
    with pytest.raises(NotSo, match="'markers' is for markers.maintenance.0, markers.session_expired.0"):
        draft_of(tmp_path, closed, markers="down")


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (["Address line", "Line number"], {"line": 1}),
        (["Address line"], {}),
        (["Total", "Claim total"], {}),
        (["RO no.", "TOTAL AMT"], {"repair_order": 0, "claim_total": 1}),
    ],
)
def test_a_label_is_a_fields_only_beyond_doubt(labels: list[str], found: dict[str, int]) -> None:
    wordings = {
        "line": ["Line"],
        "claim_total": ["Claim total", "total", "total amount"],
        "repair_order": ["RO number"],
    }
    assert matched(wordings, [{"label": label} for label in labels]) == found


def test_a_folder_without_a_form_says_what_to_save(closed: ClosedPage, tmp_path: Path) -> None:
    with pytest.raises(RecordingRefused, match=r"There is no form\.html in .*login\.html"):
        draft_of(tmp_path, closed)


def test_controls_without_labels_are_found_by_other_means_or_left_to_the_engineer(
    closed: ClosedPage, tmp_path: Path
) -> None:
    unlabelled = re.sub(r"<label[^>]*>.*?</label>", "", (VEGA / "form.html").read_text())
    unlabelled = unlabelled.replace('name="incAmt"', 'name="amount" placeholder="Amount in USD"')
    unlabelled = unlabelled.replace('name="progCd"', 'name="programCode"').replace('name="vehVin"', 'name="vin"')
    repeated = "Maria Gutierrez is no customer of yours"
    folder = changed(tmp_path, refusal=("Program SPRING24 is not open for this vehicle", repeated))
    (folder / "form.html").write_text(unlabelled)
    draft = draft_of(folder, closed)
    assert "Gutierrez" not in draft.pack, "what the page says holds what was typed into it"
    assert any("rejections.1.text: part of what it says when a value is refused" in one for one in draft.left)
    assert "find: {role: textbox, name: Amount in USD}" in draft.pack
    assert re.search(
        r"programme: {find: {css: 'form \[name=\"programCode\"\]', because: the page gives this", draft.pack
    )
    (vin,) = (one for one in draft.left if "fields.vin.find" in one)
    assert "the page has it as 'vin', without a label: it needs a locator that is no css" in vin


# --- hostile pages ---

EVIL = """{{ ''.__class__ }}{% for x in y %}"]}: *a\\n\u202e'''; import os #"""


def test_a_hostile_page_runs_nothing_reaches_nobody_and_breaks_out_of_no_file(
    closed: ClosedPage, project: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        there = f"http://127.0.0.1:{listening.getsockname()[1]}"
        attack = (
            f'<meta http-equiv="refresh" content="0;url={there}/refresh">'
            f'<script>document.body.innerHTML = "ran"</script>'
            f'<link rel="preconnect" href="{there}"><link rel="stylesheet" href="{there}/a.css">'
            f'<img src="{there}/i.png" onerror="document.title = 1">'
            f'<iframe src="{there}/f" srcdoc="<img src={there}/s>"></iframe>'
            f'<link rel="stylesheet" href="../../../../etc_files/passwd.css"><h1>Incentive claim</h1>'
        )
        evil = EVIL.replace("'", "&#39;").replace('"', "&#34;")
        folder = changed(tmp_path, form=("<h1>Incentive claim</h1>", attack), confirmation=("Transmission", evil))
        form = (folder / "form.html").read_text()
        form = form.replace("Program code", f"Program code {evil}").replace(
            "</form>", f"<label>{evil}<input></label></form>"
        )
        (folder / "form.html").write_text(form)
        draft = draft_of(folder, closed)
        with pytest.raises(BlockingIOError):
            listening.accept()
    files = written(project, draft)
    assert "Incentive claim" in files["selectors/vega/v0001.yaml"]
    assert "ran" not in files["oem_submissions/simulator/templates/vega/form.html"].split()
    for path, text in files.items():
        assert "\u202e" not in text
        if path.endswith(".py"):
            imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import)]
            assert "os" not in {name.name for node in imported for name in node.names}
        if path.endswith(".html"):
            assert "__class__ }}" not in text
            assert "{% for x" not in text
    skin = load_skin(project / "oem_submissions" / "simulator" / "vega.py", "Vega")
    assert skin.oem == "vega"


def test_a_page_that_is_too_large_is_refused(closed: ClosedPage, tmp_path: Path) -> None:
    path = tmp_path / "form.html"
    path.write_text("<p>" + "x" * 5_000_001)
    with pytest.raises(RecordingRefused, match="larger than 5 MB"):
        saved_page(path, closed)


@pytest.mark.parametrize(
    ("reference", "pattern"),
    [
        ("E26/0004217", r"\b(?P<reference>E\d{2}/\d{7})\b"),
        ("00471100", r"\b(?P<reference>\d{8})\b"),
        ("A1b.2C", r"\b(?P<reference>A\d{1}[a-z]{1}\.\d{1}[A-Z]{1})\b"),
    ],
)
def test_a_number_gives_the_pattern_of_its_like(reference: str, pattern: str) -> None:
    assert pattern_of(reference) == pattern


# --- a walk through a portal ---


SECRETS = {"user": "jdoe-4711", "password": "correct-horse", "customer": "MRS. PETRA HOLLINGWORTH SAYS NOISE"}


def signs_in(page: Page) -> None:
    page.get_by_label("Your name here").fill(SECRETS["user"])
    page.get_by_label("Password").fill(SECRETS["password"])
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Enter a warranty claim").click()
    page.get_by_role("heading", name="Enter a warranty claim").wait_for()


def is_refused(page: Page) -> None:
    page.get_by_label("Customer says").fill(SECRETS["customer"])
    page.get_by_role("button", name="Send to Eridani").click()
    page.get_by_role("alert").wait_for()


def looks_at_the_list(page: Page) -> None:
    page.get_by_role("link", name="Claims sent").click()
    page.get_by_role("heading", name="Claims sent").wait_for()


def test_an_engineer_walks_through_a_portal_files_nothing_and_leaves_no_secret(
    browser: Browser, closed: ClosedPage, port: int, project: Path
) -> None:
    skin = load_skin(ERIDANI / "portal" / "oem_submissions" / "simulator" / "eridani.py", "Eridani")
    confirmation = ERIDANI / "engineer" / "selectors" / "eridani" / "golden" / "confirmation.html"
    person = Person(port, "/eridani", [
        ("2/5", signs_in, ""), ("a next page?", None, "-"), ("3/5", is_refused, ""), ("4/5", None, str(confirmation)),
        ("5/5", looks_at_the_list, ""),
        ("number of the claim", None, "E26/0004217"), ("choices.coverage.basic", None, "New vehicle"),
        ("history.settle_minutes", None, "45"),
    ])  # fmt: skip
    told: list[str] = []
    new = NewOem("eridani", "Eridani Motors", ClaimType.WARRANTY)
    with Simulator(skins=[skin]) as simulator:
        simulator.client.add_account("eridani", "D0001", SECRETS["user"], SECRETS["password"], "Lakeside", None)
        try:
            with recorder(browser, f"{simulator.http_url}/eridani/") as walking:
                pages: Pages = recording.walk(walking, closed, person.ask, told.append)
            draft = drafted(new, pages, closed, {}, person.ask)
        finally:
            person.leave()
        posts: list[Mapping[str, Any]] = [
            r for r in simulator.client.requests("/eridani/claims") if r["method"] == "POST"
        ]
        assert (len(posts), simulator.client.truth("eridani")["filings"]) == (1, []), (
            "the person's one, which was refused"
        )
    assert "is really filed" in told[0]
    files = written(project, draft, new)
    held = {(path, name) for path, text in files.items() for name, said in SECRETS.items() if said in text}
    assert held == set(), "what was typed is in no file"
    pack, right = (Path(path).read_text() for path in (
        project / "selectors/eridani/v0001.yaml", ERIDANI / "engineer/selectors/eridani/v0001.yaml"
    ))  # fmt: skip
    fields = re.compile(r"(?m)^          (\w+): {find: {label: (.*?)}.*sensitivity")
    assert dict(fields.findall(pack)) == {name: said.replace('"', "'") for name, said in fields.findall(right)}
    for line in ("go: {role: button, name: Log in}", "- click: {role: link, name: Enter a warranty claim}",
                 "find: {beside: Claim no.}", "settle_minutes: 45",
                 "sign_out: {role: link, name: Log out}"):  # fmt: skip
        assert line in pack
    assert '"basic": "New vehicle"' in files["adapters/eridani/mapping.py"]
    assert [one.split(":")[0] for one in draft.left if one.startswith("choices")] == [
        f"choices.coverage.{name}" for name in ("powertrain", "campaign", "goodwill")
    ]
