"""Probes of the simulated portals: every change is found, in words; the portal's truth says that nothing was filed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from oem_submissions.domain.claims import ClaimModel
from oem_submissions.domain.contracts import ProbeReport, Severity
from oem_submissions.domain.evidence import FAILURE
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import filling, forms
from oem_submissions.portal.packs import load_pack, versions
from oem_submissions.portal.probe import OnView
from oem_submissions.portal.proposal import Proposer
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.session import BrowserSession
from oem_submissions.ports import Submission
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.portal.parts import (
    FILES,
    SELECTORS,
    TOTP_SECRET,
    coop,
    delivery,
    incentive,
    prepare,
    session,
    warranty,
    with_pack,
)

BLOCK, WARN, NOTE = Severity
CLAIMS: dict[str, list[ClaimModel]] = {
    "aurora": [warranty("RO-1")],
    "borealis": [coop("INV-1")],
    "cascade": [delivery(1), incentive(2)],
}


def sample(claim: ClaimModel) -> Submission:
    return Submission("claim-1", claim, claim.natural_key("test"), dict(FILES))


def probe(opened: BrowserSession, oem: str) -> ProbeReport:
    return opened.probe([sample(claim) for claim in CLAIMS[oem]])


def said(report: ProbeReport) -> list[tuple[Severity, str, str]]:
    return [(change.severity, change.page, change.words) for change in report.changes]


class Probed:
    """One session per OEM for all rows of the table: a probe leaves it as it was."""

    def __init__(self, chromium: BrowserRuntime, simulator: Simulator) -> None:
        self.chromium, self.client = chromium, simulator.client
        self.simulator = simulator

    def under(self, fault: str | None, oem: str, opened: BrowserSession) -> ProbeReport:
        before = self.client.truth(oem)
        if fault is not None:
            self.client.set_fault(oem, fault)
        try:
            return probe(opened, oem)
        finally:
            self.client.clear_faults()
            assert self.client.truth(oem) == before, "a probe files nothing"


@pytest.fixture(scope="module")
def probed(chromium: BrowserRuntime, running_simulator: Simulator) -> Probed:
    running_simulator.client.reset()
    return Probed(chromium, running_simulator)


@pytest.fixture(scope="module")
def aurora(probed: Probed) -> Iterator[BrowserSession]:
    with session(probed.chromium, probed.simulator, "aurora") as opened:
        yield opened


@pytest.fixture(scope="module")
def borealis(probed: Probed) -> Iterator[BrowserSession]:
    with session(probed.chromium, probed.simulator, "borealis", totp=TOTP_SECRET) as opened:
        yield opened


@pytest.fixture(scope="module")
def cascade(probed: Probed) -> Iterator[BrowserSession]:
    with session(probed.chromium, probed.simulator, "cascade") as opened:
        yield opened


# --- the table of changes ---

SWAPPED = "the submit button: the locator and its witness hit different elements"


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        (None, []),
        ("renamed_label", [
            (BLOCK, "form", "label 'VIN' is now 'Vehicle ID number'"),
            (BLOCK, "form", "field 'vin': the field labelled 'VIN' is not there"),
        ]),
        ("moved_button", [(NOTE, "form", "button 'Submit claim' stands at another place")]),
        ("new_required_field", [
            (BLOCK, "form", "new required field 'Tax jurisdiction' after 'Odometer (miles)'"),
        ]),
        ("new_hidden_input", [(BLOCK, "form", "new hidden input 'form_variant' after '_ssid'")]),
        ("changed_action", [(BLOCK, "form", "the form goes to /aurora/claims/v2 instead of /aurora/claims")]),
        ("swapped_buttons", [
            (BLOCK, "form", SWAPPED),
            (NOTE, "form", "button 'Submit claim later (draft)', button 'Submit claim' stand at another place"),
        ]),
        ("renamed_text", [(WARN, "form", "heading '# Labor' is now '# Labour and technician'")]),
        ("restyled", []),
        ("more_rows", []),
    ],
)  # fmt: skip
def test_every_change_of_a_form_has_its_verdict(
    fault: str | None, changes: list[tuple[Severity, str, str]], probed: Probed, aurora: BrowserSession
) -> None:
    report = probed.under(fault, "aurora", aurora)
    assert (said(report), report.failure) == (changes, None)
    blocked = any(severity is BLOCK for severity, _, _ in changes)
    assert report.red == blocked
    assert report.walked == (() if blocked else ("warranty",))
    assert [page.page for page in report.pages] == ["form", "history"]
    assert [shot.name for shot in report.artifacts] == (["warranty-form.webp"] if changes else [])
    if changes:
        assert f"{changes[0][0]} {changes[0][2]} on page form (warranty)" in report.sentence()


@pytest.mark.parametrize(
    ("fault", "changes", "pages"),
    [
        ("renamed_label", [
            (BLOCK, "vendor", "label 'Vendor invoice number' is now 'Invoice reference'"),
            (BLOCK, "vendor", "field 'vendor_invoice': the field labelled 'Vendor invoice number' is not there"),
        ], 3),
        ("swapped_buttons", [(BLOCK, "review", SWAPPED)], 5),
        ("renamed_text", [
            (WARN, "fund", "text 'Choose the fund that your activity belongs to.' is now 'Choose the fund first.'"),
        ], 5),
    ],
)  # fmt: skip
def test_a_wizard_is_walked_page_by_page(
    fault: str,
    changes: list[tuple[Severity, str, str]],
    pages: int,
    probed: Probed,
    borealis: BrowserSession,
) -> None:
    report = probed.under(fault, "borealis", borealis)
    assert (said(report), len(report.pages), report.failure) == (changes, pages, None)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("restyled", []),
        ("new_required_field", ["new required field 'Mileage at delivery' after 'Lender'",
                                "new required field 'Mileage at delivery' after 'Bill of sale'"]),
    ],
)  # fmt: skip
def test_every_form_of_a_portal_is_walked(
    fault: str, words: list[str], probed: Probed, cascade: BrowserSession
) -> None:
    report = probed.under(fault, "cascade", cascade)
    assert [change.words for change in report.changes] == words
    assert {change.form for change in report.changes} == ({"delivery_report", "incentive"} if words else set())
    assert report.walked == (() if words else ("delivery_report", "incentive"))


# --- filing goes by the same contract ---


def test_filing_stops_at_what_blocks_is_unclean_at_what_warns_and_ignores_the_rest(
    probed: Probed, aurora: BrowserSession
) -> None:
    form = load_pack(SELECTORS, "aurora").form("warranty")
    probed.client.set_fault("aurora", "renamed_text")
    assert prepare(aurora, CLAIMS["aurora"][0]).warnings == (
        "page 'form': heading '# Labor' is now '# Labour and technician'",
    )
    probed.client.clear_faults()
    probed.client.set_fault("aurora", "moved_button")
    assert prepare(aurora, CLAIMS["aurora"][0]).warnings == ()
    assert aurora._ready is not None
    (note,) = forms.contract_changes(form, "warranty", form.pages[0], aurora._ready.frame)
    assert note.severity is NOTE, "what was typed in is no change"
    probed.client.clear_faults()
    probed.client.set_fault("aurora", "swapped_buttons")
    with pytest.raises(StepFailed, match="different elements") as caught:
        prepare(aurora, CLAIMS["aurora"][0])
    assert (caught.value.reason, caught.value.step) == (ReasonCode.PAGE_CONTRACT_MISMATCH, "check contract")
    probed.client.clear_faults()


# --- what is no change of a page ---


@pytest.mark.parametrize(
    ("fault", "reason", "probes", "log_ins"),
    [("maintenance", ReasonCode.PORTAL_MAINTENANCE, 1, 0), ("login_refused", ReasonCode.LOGIN_FAILED, 2, 1)],
)
def test_a_portal_that_lets_nobody_in_is_a_failure_and_one_bad_log_in_is_the_last(
    fault: str, reason: ReasonCode, probes: int, log_ins: int, probed: Probed
) -> None:
    before = posted(probed, "/aurora/login")
    with session(probed.chromium, probed.simulator, "aurora") as opened:
        probed.client.set_fault("aurora", fault)
        for _ in range(probes):
            report = probe(opened, "aurora")
            assert report.failure is not None
            assert (report.failure.reason, report.failure.step, report.red) == (reason, "log in", True)
            assert (report.pages, report.artifacts, report.worst) == ((), (), None)
        probed.client.clear_faults()
    assert posted(probed, "/aurora/login") == before + log_ins


def posted(probed: Probed, path: str) -> int:
    return sum(seen["method"] == "POST" for seen in probed.client.requests(path))


def test_trouble_on_the_way_ends_the_probe_and_keeps_what_it_found(probed: Probed, aurora: BrowserSession) -> None:
    report = probed.under("history_error", "aurora", aurora)
    assert report.failure is not None
    assert (report.failure.reason, report.walked) == (ReasonCode.PORTAL_UNAVAILABLE, ("warranty",))
    assert [shot.name for shot in report.artifacts] == [FAILURE]


def test_without_a_claim_the_first_page_is_looked_at_and_the_report_says_so(borealis: BrowserSession) -> None:
    report = borealis.probe([])
    assert [page.page for page in report.pages] == ["fund", "history"]
    assert (report.red, dict(report.stopped)) == (False, {"coop": "there is no claim to try it with"})


def test_a_claim_that_the_portal_does_not_take_says_nothing_of_its_pages(borealis: BrowserSession) -> None:
    report = borealis.probe([sample(coop("INV-2", fund="2023"))])
    assert (report.red, report.changes) == (False, ())
    assert "BOR-21 Fund 2023 is closed" in report.stopped["coop"]
    missing = replace(sample(coop("INV-2")), files={})
    report = borealis.probe([missing])
    assert [page.page for page in report.pages] == ["fund", "history"]
    assert "the bytes of 'invoice.pdf' are missing" in report.stopped["coop"]


# --- what only the walk finds ---

COVERED_AND_EAGER = """
if (location.pathname === "/aurora/claims/new") addEventListener("DOMContentLoaded", () => {
  const cover = document.createElement("div");
  cover.style = "position: fixed; inset: 0; background: white";
  document.body.append(cover);
  fetch("/aurora/claims", {method: "POST"}).catch(() => 0);
});
"""


def test_a_covered_button_and_a_page_that_submits_by_itself_are_found(probed: Probed) -> None:
    with session(probed.chromium, probed.simulator, "aurora") as opened:
        opened._walk_of("").context.add_init_script(COVERED_AND_EAGER)
        report = probed.under(None, "aurora", opened)
    assert said(report) == [
        (BLOCK, "form", "the submit button can't be clicked: something is in the way"),
        (BLOCK, "form", "the page tried to submit by itself, and the gate stopped it"),
    ]
    assert report.walked == ()


def test_a_button_that_sends_its_form_elsewhere_is_found(chromium: BrowserRuntime) -> None:
    submit = load_pack(SELECTORS, "aurora").form("warranty").submit
    page = chromium.browser().new_page()
    try:
        for goes, trouble in (("/aurora/claims", None), ("/v2", "it goes to /v2 instead of /aurora/claims")):
            button = f'<input class="go" type="submit" value="Submit claim" formaction="http://localhost{goes}">'
            page.set_content(f'<form id="claim">{button}</form>')
            assert filling.button_trouble(page.main_frame, submit.button, submit.request.path) == trouble
    finally:
        page.close()


def test_a_list_without_a_column_of_the_pack_blocks(tmp_path: Path, probed: Probed) -> None:
    selectors = with_pack(tmp_path, "aurora", "heading: Status", "heading: Decision")
    with session(probed.chromium, probed.simulator, "aurora", selectors=selectors) as opened:
        report = opened.probe([])
    assert said(report) == []  # no filing is listed yet, so there is no table
    probed.client.key_in("aurora", "warranty", "10234", filed_fields())
    with session(probed.chromium, probed.simulator, "aurora", selectors=selectors) as opened:
        report = opened.probe([])
    assert said(report) == [(BLOCK, "history", "css 'table#claims' has no column 'Decision'")]


def filed_fields() -> dict[str, Any]:
    names = ("repair_order", "line", "vin", "your_reference", "claim_total")
    return {**dict.fromkeys(names, "1"), "coverage": "basic"}


# --- the next pack ---


def test_a_proposal_is_a_candidate_that_is_right_and_that_nothing_loads(tmp_path: Path, probed: Probed) -> None:
    before = load_pack(SELECTORS, "cascade")
    proposer = Proposer()
    with session(probed.chromium, probed.simulator, "cascade", on_page=proposer.look) as opened:
        report = probed.under("renamed_label", "cascade", opened)
    assert report.red
    folder = tmp_path / "cascade"
    proposal = proposer.write(before, folder, "The VIN is called otherwise.", date(2026, 11, 24))
    following = f"v{int(before.version[1:]) + 1:04d}"
    assert proposal.candidate.name == f"{following}.candidate.yaml"
    assert versions(tmp_path, "cascade") == []
    assert [path.name for path in proposal.pictures] == [
        f"{following}-delivery_report-form.webp", f"{following}-incentive-form.webp",
    ]  # fmt: skip
    assert proposal.diff.read_text() == proposal.text
    assert "+            find: {label: Vehicle identification no.}\n" in proposal.text
    kept = before.path.read_text().splitlines()
    gone = [line for line in proposal.text.splitlines() if line.startswith("-") and not line.startswith("---")]
    assert len(gone) < 12
    assert all(line[1:] in kept for line in gone)
    proposal.candidate.rename(folder / f"{following}.yaml")
    pack = load_pack(tmp_path, "cascade")
    assert (pack.version, pack.data.released, pack.data.why) == (
        following, date(2026, 11, 24), "The VIN is called otherwise.",
    )  # fmt: skip
    with session(
        probed.chromium, probed.simulator, "cascade", selectors=with_goldens(tmp_path), judged=False
    ) as opened:
        report = probed.under("renamed_label", "cascade", opened)
    assert (report.changes, report.red, report.walked) == ((), False, ("delivery_report", "incentive"))


VENDOR = """<base href="http://localhost/">
<form method="post" action="/borealis/wizard/vendor">
  <label for="vendor">Vendor name</label><input type="text" id="vendor" name="vendor">
  <label for="vendor_invoice">Invoice reference</label><input type="text" id="vendor_invoice" name="vendor_invoice">
  <label for="cost">Total cost (USD)</label><input type="text" id="cost" name="cost">
  <button>Back</button><button>Validate</button><button>Continue</button>
</form>"""


def test_what_has_no_witness_is_found_again_by_its_controls_name_or_at_its_place(
    tmp_path: Path, chromium: BrowserRuntime
) -> None:
    pack, proposer = load_pack(SELECTORS, "borealis"), Proposer()
    form = pack.form("coop")
    page = chromium.browser().new_page()
    try:
        page.set_content(VENDOR)
        proposer.look(OnView("coop", form, form.pages[1], page.main_frame, (), lambda: None))
    finally:
        page.close()
    added = proposer.write(pack, tmp_path, "Try.", date(2026, 11, 24)).text.splitlines()
    assert "+          vendor_invoice: {find: {label: Invoice reference}, sensitivity: public}" in added
    assert "+        next: {click: {role: button, name: Continue}}" in added
    assert not any("find:" in line and "vendor_invoice" not in line for line in added if line.startswith("+"))


def with_goldens(folder: Path) -> Path:
    """The proposed pack with the recorded pages of its OEM, as a person would put it among the packs."""
    (folder / "cascade" / "golden").symlink_to(SELECTORS / "cascade" / "golden")
    return folder
