"""The simulated portals over HTTP and in a real browser: every test ends in what the portal says it filed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest
import requests
from playwright.sync_api import Browser, Page, sync_playwright

from oem_submissions.simulator import references
from oem_submissions.simulator.client import SimulatorClient, SimulatorRefused
from oem_submissions.simulator.server import Simulator

TOTP = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
VIN = "1HGCM82633A004352"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
AURORA_CLAIM = {
    "your_reference": "K-1", "vin": VIN, "odometer": "12000", "repair_order": "RO1", "line": "1",
    "coverage": "powertrain", "complaint": "NOISE", "cause": "BEARING WORN", "correction": "REPLACED",
    "causal_part": "P1", "part_1_number": "P1", "part_1_quantity": "1", "part_1_amount": "12.50",
    "labour_operation": "L1", "labour_hours": "1.5", "labour_amount": "100.10", "technician": "T1",
    "claim_total": "112.60",
}  # fmt: skip
REPORT = {
    "kind": "delivery_report", "vin": VIN, "sale_sequence": "1", "sale_type": "retail",
    "salesperson": "E77", "customer_name": "Ann Lee", "lender": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        for oem, secret in (("aurora", None), ("borealis", TOTP), ("cascade", None)):
            simulator.client.add_account(oem, "10234", "jdoe", "right", "Lakeside Motors", secret)
        yield simulator


@pytest.fixture
def sim(running: Simulator) -> Simulator:
    running.client.reset()
    return running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium-headless-shell", args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


class Dealer:
    """Files claims by plain HTTP, as a browser would."""

    def __init__(self, url: str, ca: Path | None = None) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(ca) if ca else True
        answer = self.session.post(f"{url}/aurora/login", {"userid": "jdoe", "password": "right"})
        found = re.search(r"_ssid=(\w+)", answer.text)
        self.token = found[1] if found else ""

    def claim(self, files: list[tuple[str, bytes]] | None = None, **changes: str) -> requests.Response:
        day = _day(-20)
        values = {**AURORA_CLAIM, "opened_on": day, "closed_on": day, "_ssid": self.token, **changes}
        parts = [(name, (None, value)) for name, value in values.items()]
        parts += [("photos", (name, content)) for name, content in files or []]  # type: ignore[misc]
        return self.session.post(f"{self.url}/aurora/claims", files=parts, timeout=20)

    def report(self, **changes: str) -> requests.Response:
        self.session.post(f"{self.url}/cascade/api/login", json={"username": "jdoe", "password": "right"})
        values = {**REPORT, "sale_date": _day(-1, "%Y-%m-%d"), **changes}
        return self.session.post(f"{self.url}/cascade/api/submissions", json=values, timeout=20)

    def history(self, **query: str) -> str:
        return self.session.get(f"{self.url}/aurora/claims/history", params={"_ssid": self.token, **query}).text


def _day(offset: int, form: str = "%m/%d/%Y") -> str:
    return (datetime.now(UTC) + timedelta(days=offset)).strftime(form)


@pytest.fixture
def dealer(sim: Simulator) -> Iterator[Dealer]:
    dealer = Dealer(sim.http_url)
    yield dealer
    dealer.session.close()


def counts(sim: Simulator, oem: str = "aurora") -> tuple[int, int, int]:
    truth = sim.client.truth(oem)
    return truth["filed"], truth["submit_posts"], truth["duplicates"]


def test_the_truth_holds_the_fields_and_the_hash_of_the_bytes_that_arrived(sim: Simulator, dealer: Dealer) -> None:
    answer = dealer.claim([("photo.png", PNG)])
    filing = sim.client.truth("aurora")["filings"][0]
    assert filing["reference"] in answer.text
    assert filing["fields"]["repair_order"] == "RO1"
    assert filing["attachments"] == [
        {"name": "photo.png", "size": len(PNG), "sha256": hashlib.sha256(PNG).hexdigest(), "media_type": "image/png"}
    ]
    assert counts(sim) == (1, 1, 0)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"vin": ""}, "AUR-100 VIN is required"),
        ({"cause": "worn"}, "AUR-110 Cause must be in capital letters"),
        ({"coverage": "basic", "odometer": "36001"}, "AUR-203 Odometer exceeds basic coverage"),
        ({"closed_on": _day(-62)}, "AUR-417 Repair order closed more than 60 days before submission"),
        ({"claim_total": "1.00"}, "AUR-150 Claim total does not match parts and labor"),
    ],
)
def test_a_refused_claim_is_not_filed_and_keeps_its_text(
    sim: Simulator, dealer: Dealer, changes: dict[str, str], error: str
) -> None:
    answer = dealer.claim(**changes)
    assert (answer.status_code, error in answer.text, "BEARING" in answer.text) == (200, True, "cause" not in changes)
    assert counts(sim) == (0, 1, 0)


def test_files_that_are_too_large_or_of_another_type_or_twice_there_are_refused(sim: Simulator, dealer: Dealer) -> None:
    text = dealer.claim([("a.png", PNG + bytes(5 * 1024 * 1024)), ("b.pdf", PNG), ("A.png", PNG)]).text
    assert all(code in text for code in ("AUR-301", "AUR-302", "AUR-303", "Attached files were not kept"))
    assert counts(sim) == (0, 1, 0)


def test_a_second_claim_for_a_line_is_answered_with_the_first_ones_number(sim: Simulator, dealer: Dealer) -> None:
    dealer.claim()
    number = sim.client.truth("aurora")["filings"][0]["reference"]
    assert f"AUR-409 A claim for this repair order line already exists: {number}" in dealer.claim().text
    assert counts(sim) == (1, 2, 0)


def test_a_deep_link_without_the_token_gives_the_forgery_page(sim: Simulator, dealer: Dealer) -> None:
    answer = dealer.session.get(f"{sim.http_url}/aurora/claims/new")
    assert (answer.status_code, "possible cross-site request forgery" in answer.text) == (200, True)


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(("fault", "filed"), [("reset_before_filing", 0), ("reset_after_filing", 1)])
def test_a_reset_is_a_real_one_and_the_truth_knows_on_which_side_it_fell(
    sim: Simulator, secure: bool, fault: str, filed: int
) -> None:
    dealer = Dealer(sim.https_url, sim.ca_path) if secure else Dealer(sim.http_url)
    sim.client.set_fault("aurora", fault, match="ro1", times=1)
    # Python's TLS reports the RST that it reads beneath it as an early end; plain sockets say what it is.
    told = "Connection reset by peer|Remote end closed" if secure else "Connection reset by peer"
    with pytest.raises(requests.ConnectionError, match=told):
        dealer.claim([("photo.png", PNG)])
    assert counts(sim) == (filed, 1, 0)
    dealer.session.close()


@pytest.mark.parametrize(
    ("fault", "status", "filed", "shown"),
    [
        ("error_before_filing", 500, 0, 0),
        ("error_after_filing", 500, 1, 0),
        ("lying_success", 200, 0, 1),
        ("draft_number", 200, 0, 0),
        ("duplicate_answer", 200, 1, 1),
        ("reference_missing", 200, 1, 0),
        ("reference_later", 200, 1, 0),
        ("two_references", 200, 1, 2),
        ("double_processing", 200, 2, 1),
    ],
)
def test_what_the_page_shows_and_what_was_filed_differ_as_the_fault_says(
    sim: Simulator, dealer: Dealer, fault: str, status: int, filed: int, shown: int
) -> None:
    sim.client.set_fault("aurora", fault)
    answer = dealer.claim()
    numbers = set(re.findall(r"WC-\d{4}-\d{6}-[A-Z]", answer.text))
    assert (answer.status_code, len(numbers)) == (status, shown)
    assert counts(sim) == (filed, 1, max(0, filed - 1))


def test_a_lost_response_is_filed_and_never_answered(sim: Simulator, dealer: Dealer) -> None:
    sim.client.set_fault("aurora", "lost_response", seconds=0.2)
    with pytest.raises(requests.ConnectionError):
        dealer.claim()
    assert counts(sim) == (1, 1, 0)


def test_a_session_that_ends_at_the_submit_files_nothing(sim: Simulator, dealer: Dealer) -> None:
    sim.client.set_fault("aurora", "session_expired", match="RO1")
    assert "Your session has expired" in dealer.claim().text
    assert counts(sim) == (0, 1, 0)


def test_a_session_ends_after_idle_time(sim: Simulator, dealer: Dealer) -> None:
    assert "claim(s) found" in dealer.history()
    sim.client.advance(21 * 60)
    assert "Your session has expired" in dealer.history()


def test_the_history_pages_filters_and_may_lag(sim: Simulator, dealer: Dealer) -> None:
    for line in range(1, 13):
        dealer.claim(line=str(line), your_reference=f"K-{line}")
    assert ("12 claim(s) found" in (first := dealer.history()), "Page 1 of 2" in first) == (True, True)
    assert "1 claim(s) found" in dealer.history(ref="k-7")
    assert first.count("<tr>") - 1 == 10
    sim.client.set_fault("aurora", "history_late", seconds=60)
    assert "0 claim(s) found" in dealer.history()
    sim.client.advance(61)
    assert "12 claim(s) found" in dealer.history()


def test_the_nightly_batch_gives_the_references_that_were_promised(sim: Simulator, dealer: Dealer) -> None:
    sim.client.set_fault("cascade", "reference_later", match=VIN)
    assert dealer.report().status_code == 202
    assert sim.client.truth("cascade")["filings"][0]["reference"] is None
    assert sim.client.run_batch("cascade") == 1
    reference = sim.client.truth("cascade")["filings"][0]["reference"]
    sim.client.set_disposition("cascade", reference, "charged back")
    rows = dealer.session.get(f"{sim.http_url}/cascade/api/history", params={"vin": VIN}).json()["rows"]
    assert [(r["reference"], r["disposition"]) for r in rows] == [(reference, "Charged back")]


def test_a_person_keys_a_claim_in_and_the_portal_loses_one(sim: Simulator, dealer: Dealer) -> None:
    reference = sim.client.key_in("aurora", "warranty", "10234", {"repair_order": "HAND", "your_reference": ""})
    (filing,) = sim.client.truth("aurora")["filings"]
    assert (filing["reference"], filing["disposition"], filing["fields"]["repair_order"]) == (
        reference, "submitted", "HAND",
    )  # fmt: skip
    sim.client.set_disposition("aurora", reference, "under audit")
    sim.client.lose("aurora", reference)
    truth = sim.client.truth("aurora")
    assert (truth["filed"], truth["submit_posts"]) == (0, 0)
    for refused in (
        lambda: sim.client.lose("aurora", reference),
        lambda: sim.client.key_in("aurora", "gift", "10234", {}),
        lambda: sim.client.set_disposition("aurora", reference, "approved"),
    ):
        with pytest.raises(SimulatorRefused):
            refused()


def test_cascade_files_a_report_twice_when_asked_twice(sim: Simulator, dealer: Dealer) -> None:
    dealer.report()
    dealer.report()
    assert counts(sim, "cascade") == (2, 2, 1)


def test_a_portal_that_closes_its_connections_says_so_in_every_answer(sim: Simulator) -> None:
    sim.client.set_fault("aurora", "closes_connections")
    for path in ("home", "bulletins"):
        answer = Dealer(sim.http_url).session.get(f"{sim.http_url}/aurora/{path}")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")


def test_faults_that_do_not_exist_or_make_no_sense_are_refused_in_a_sentence(sim: Simulator) -> None:
    with pytest.raises(SimulatorRefused, match="there is no fault 'slw'; there are slow, "):
        sim.client.set_fault("aurora", "slw")
    with pytest.raises(SimulatorRefused, match="'session_elsewhere' makes no sense for cascade: the portal lets"):
        sim.client.set_fault("cascade", "session_elsewhere")
    with pytest.raises(SimulatorRefused, match="the TOTP secret is no base32 text"):
        sim.client.add_account("borealis", "1", "x", "y", "Z", totp_secret="short")


def test_a_seed_gives_the_same_faults_again(sim: Simulator, dealer: Dealer) -> None:
    def statuses() -> list[int]:
        sim.client.clear_faults()
        sim.client.set_fault("aurora", "error_before_filing", probability=0.5, seed=7)
        return [dealer.claim(line=str(line)).status_code for line in range(1, 9)]

    first = statuses()
    sim.client.reset()
    dealer = Dealer(sim.http_url)
    assert (statuses(), set(first)) == (first, {200, 500})
    dealer.session.close()


def test_requests_can_be_waited_for_and_routes_scripted(sim: Simulator, dealer: Dealer) -> None:
    sim.client.set_route("POST", "/aurora/claims", 503, "busy", "text/plain")
    answers: list[requests.Response] = []
    sending = threading.Thread(target=lambda: answers.append(dealer.claim()))
    sending.start()
    seen = sim.client.expect_request("/aurora/claims")
    sending.join()
    assert ("BEARING WORN" in seen["body"], answers[0].status_code, answers[0].text) == (True, 503, "busy")
    assert counts(sim) == (0, 1, 0)
    with pytest.raises(SimulatorRefused, match="no request to /aurora/claims arrived"):
        sim.client.expect_request("/aurora/claims", timeout=0.05)


def test_a_killed_simulator_forgets_nothing_and_gives_no_number_twice(tmp_path: Path) -> None:
    first = _start(tmp_path)
    client = SimulatorClient(first[1])
    client.add_account("aurora", "10234", "jdoe", "right", "Lakeside Motors")
    dealer = Dealer(first[1])
    client.set_fault("aurora", "reset_after_filing")
    with pytest.raises(requests.ConnectionError):
        dealer.claim()
    _end(first[0], signal.SIGKILL)
    again = _start(tmp_path)
    after, other = SimulatorClient(again[1]), Dealer(again[1])
    after.clear_faults()
    number = after.truth("aurora")["filings"][0]["reference"]
    assert number in other.claim().text
    other.claim(line="2")
    assert len({f["reference"] for f in after.truth("aurora")["filings"]}) == 2
    _end(again[0], signal.SIGTERM)
    assert again[0].returncode == 0
    for open_one in (client, after, dealer.session, other.session):
        open_one.close()


def _start(state: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "oem_submissions.simulator", "--state", str(state)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout
    ready = json.loads(process.stdout.readline())
    assert Path(ready["ca"]).exists()
    return process, ready["http"]


def _end(process: subprocess.Popen[str], how: signal.Signals) -> None:
    process.send_signal(how)
    process.wait(timeout=20)
    assert process.stdout
    process.stdout.close()


def test_references_have_their_check_characters() -> None:
    assert references.aurora(4217, 2026) == "WC-2026-004217-U"
    assert references.luhn_digit("7992739871") == "3"
    assert len({references.cascade(n, 2026) for n in range(2_000)}) == 2_000


def aurora_form(page: Page, sim: Simulator) -> None:
    page.goto(f"{sim.http_url}/aurora/")
    page.get_by_label("User ID", exact=True).fill("jdoe")
    page.get_by_label("Password", exact=True).fill("right")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("link", name="New warranty claim", exact=True).click()
    values = {
        "VIN": VIN, "Odometer (miles)": "12000", "Repair order number": "RO1", "Repair order line": "1",
        "RO open date": _day(-9), "RO close date": _day(-8), "Complaint": "NOISE", "Cause": "BEARING",
        "Correction": "REPLACED", "Causal part number": "P1", "Part 1 number": "P1", "Part 1 quantity": "1",
        "Part 1 amount": "12.50", "Labor operation code": "L1", "Labor hours": "1.5", "Labor amount": "100.10",
        "Technician ID": "T1", "Your reference number": "K-1",
    }  # fmt: skip
    for label, value in values.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_label("Coverage", exact=True).select_option(label="Powertrain")


def test_browser_a_warranty_claim_needs_the_confirm(sim: Simulator, page: Page) -> None:
    aurora_form(page, sim)
    submit = page.get_by_role("button", name="Submit claim", exact=True)
    page.once("dialog", lambda dialog: dialog.dismiss())
    submit.click()
    assert counts(sim) == (0, 0, 0)
    page.once("dialog", lambda dialog: dialog.accept())
    submit.click()
    number = page.get_by_role("row", name="Claim number").get_by_role("cell").inner_text()
    assert [f["reference"] for f in sim.client.truth("aurora")["filings"]] == [number]


def test_browser_chromium_sends_a_reset_post_again_by_itself_on_a_used_connection(sim: Simulator, page: Page) -> None:
    aurora_form(page, sim)
    sim.client.set_fault("aurora", "reset_after_filing", times=1)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Submit claim", exact=True).click()
    page.get_by_text("AUR-409").wait_for()
    assert counts(sim) == (1, 2, 0)


def test_browser_a_co_op_claim_goes_through_the_wizard_and_is_confirmed_in_the_popup(
    sim: Simulator, page: Page
) -> None:
    page.goto(f"{sim.http_url}/borealis/")
    page.get_by_label("User name", exact=True).fill("jdoe")
    page.get_by_label("Password", exact=True).fill("right")
    page.get_by_role("button", name="Continue", exact=True).click()
    page.get_by_label("Verification code", exact=True).fill(pyotp.TOTP(TOTP).now())
    page.get_by_role("button", name="Verify", exact=True).click()
    page.get_by_role("link", name="Submit a claim", exact=True).click()
    wizard = page.frame_locator('iframe[title="Claim wizard"]')
    forward = wizard.get_by_role("button", name="Next", exact=True)
    wizard.get_by_label("Activity type", exact=True).select_option(label="Radio")
    wizard.get_by_label("Activity date", exact=True).fill(_day(-30, "%Y/%m/%d"))
    wizard.get_by_label("Pre-approval number", exact=True).fill("PA-12345")
    wizard.get_by_label("Fund", exact=True).select_option(label="2024")
    forward.click()
    wizard.get_by_role("alert").get_by_text("BOR-21 Fund 2024 is closed").wait_for()
    wizard.get_by_label("Fund", exact=True).select_option(label="2026")
    forward.click()
    vendor = {"Vendor name": "Ads", "Vendor invoice number": "I-7", "Total cost (USD)": "1000.50"}
    for label, value in {**vendor, "Claimed percentage": "50"}.items():
        wizard.get_by_label(label, exact=True).fill(value)
    forward.click()
    document = {"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7 x"}
    wizard.get_by_label("Add document", exact=True).set_input_files(document)  # type: ignore[arg-type]
    wizard.get_by_text("All documents uploaded").wait_for()
    forward.click()
    wizard.get_by_label("I certify that this claim is complete and correct").check()
    with page.expect_popup() as opened:
        wizard.get_by_role("button", name="Submit to Borealis", exact=True).click()
    opened.value.get_by_role("heading", name="Claim received").wait_for()
    filing = sim.client.truth("borealis")["filings"][0]
    assert filing["reference"] in opened.value.inner_text("dl")
    assert (filing["fields"]["claimed_amount"], filing["attachments"][0]["name"]) == ("500.25", "a.pdf")
    assert filing["reference"] not in page.content()


@pytest.mark.parametrize(("vin", "state", "filed"), [(VIN, "Retailed", 1), ("1HGCM82633A904352", "RDR Rejected", 0)])
def test_browser_a_delivery_report_ends_after_being_in_process(
    sim: Simulator, page: Page, vin: str, state: str, filed: int
) -> None:
    page.goto(f"{sim.http_url}/cascade/")
    page.get_by_label("Username", exact=True).fill("jdoe")
    page.get_by_label("Password", exact=True).fill("right")
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("link", name="Report a delivery", exact=True).click()
    values = {"VIN": vin, "Sale date": _day(-1, "%Y-%m-%d"), "Salesperson ID": "E77", "Customer name": "Ann Lee"}
    for label, value in values.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_label("Sale type", exact=True).select_option(label="Lease")
    page.get_by_role("button", name="Submit report", exact=True).click()
    page.get_by_role("progressbar", name="Submission in process").wait_for()
    page.get_by_test_id("state").get_by_text(state, exact=True).wait_for()
    assert page.get_by_test_id("reference").count() == filed
    assert counts(sim, "cascade") == (filed, 1, 0)


def test_faults_are_taken_away_by_portal_and_by_name(sim: Simulator) -> None:
    for oem, fault in (("aurora", "slow"), ("aurora", "maintenance"), ("borealis", "slow")):
        sim.client.set_fault(oem, fault)
    sim.client.clear_faults("aurora", "slow")
    assert [(fault["oem"], fault["fault"]) for fault in sim.client.faults()] == [
        ("aurora", "maintenance"),
        ("borealis", "slow"),
    ]
    sim.client.clear_faults("aurora")
    assert [(fault["oem"], fault["fault"]) for fault in sim.client.faults()] == [("borealis", "slow")]
