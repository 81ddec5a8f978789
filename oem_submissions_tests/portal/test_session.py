"""What a session does when the portal does not behave: stops before the click, or says that it can't tell."""

from __future__ import annotations

import io
import json
import logging
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Error as PlaywrightError
from starlette.responses import Response

from adapters.aurora.portal import Aurora
from oem_submissions.domain.evidence import FAILURE, POST_CONFIRM, READBACK
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.outcomes import Filed, Unknown, Wire
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.capture import CaptureFailed, check_picture, picture
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.session import BrowserSession
from oem_submissions.portal.steps import STEPS
from oem_submissions.simulator import aurora as simulated
from oem_submissions.simulator.server import Simulator
from oem_submissions.simulator.skin import Visit
from oem_submissions_tests.portal.parts import SELECTORS, file_claim, newest_pack, prepare, session, warranty


def posts(simulator: Simulator) -> int:
    return int(simulator.client.truth("aurora")["submit_posts"])


def page_of(opened: BrowserSession) -> Any:
    """The page, for a test that plays the portal's own script."""
    assert opened._walk is not None
    return opened._walk.page


def spoiled(tmp_path: Path, old: str, new: str) -> Path:
    selectors = Path(shutil.copytree(SELECTORS, tmp_path / "selectors"))
    (selectors / "packs.lock").unlink(missing_ok=True)
    path = newest_pack(selectors, "aurora")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    return selectors


# --- the gate ---


def test_before_the_arming_no_submit_request_leaves(chromium: BrowserRuntime, simulator: Simulator) -> None:
    with session(chromium, simulator, "aurora") as opened:
        prepare(opened, warranty("RO-1"))
        page_of(opened).evaluate("fetch('/aurora/claims', {method: 'POST'}).catch(() => 0)")
        assert posts(simulator) == 0
        answer = opened.submit(lambda wire: None)
    assert isinstance(answer.outcome, Filed)
    assert answer.wire.blocked == 1
    assert posts(simulator) == 1


def test_the_gate_lets_exactly_one_request_through(chromium: BrowserRuntime, simulator: Simulator) -> None:
    simulator.client.set_fault("aurora", "posts_twice")
    sent: list[Wire] = []
    with session(chromium, simulator, "aurora") as opened:
        answer = file_claim(opened, warranty("RO-1"), on_sent=sent.append)
        page_of_claim = opened._walk
        if page_of_claim is not None:
            page_of_claim.page.evaluate("fetch('/aurora/claims', {method: 'POST'}).catch(() => 0)")
    assert len(sent) == 1
    assert answer.wire.blocked >= 1
    assert posts(simulator) == 1
    assert simulator.client.truth("aurora")["filed"] == 1


def test_what_can_not_be_recorded_does_not_leave(chromium: BrowserRuntime, simulator: Simulator) -> None:
    def refuse(wire: Wire) -> None:
        raise RuntimeError("the ledger is gone")

    with session(chromium, simulator, "aurora") as opened:
        answer = file_claim(opened, warranty("RO-1"), on_sent=refuse)
        assert isinstance(answer.outcome, Unknown)
        assert "the ledger is gone" in answer.outcome.text
        assert answer.wire.sent_at is None
        assert posts(simulator) == 0
        assert isinstance(file_claim(opened, warranty("RO-1")).outcome, Filed)


class AnotherClaimsVin(simulated.Aurora):
    """The confirmation has the right number, and repeats what belongs to another claim."""

    another = "1HGCM82633A004352"

    def page(self, template: str, visit: Visit, status: int = 200, **context: Any) -> Response:
        if template == "confirmation.html" and visit.values.get("repair_order") == "RO-2":
            fields = context["claim"].fields | {"vin": self.another}
            context["claim"] = replace(context["claim"], fields=fields)
        return super().page(template, visit, status, **context)


def test_a_confirmation_that_repeats_another_claims_values_is_not_believed(
    chromium: BrowserRuntime, tmp_path: Path
) -> None:
    marker = "      marker: {role: heading, name: Claim submitted}\n"
    selectors = spoiled(tmp_path, marker, marker + "      shows: {vin: {beside: VIN}}\n")
    with (
        Simulator(skins=[AnotherClaimsVin]) as portal,
        session(chromium, portal, "aurora", selectors=selectors) as opened,
    ):
        assert isinstance(file_claim(opened, warranty("RO-1")).outcome, Filed)
        outcome = file_claim(opened, warranty("RO-2"), "claim-2").outcome
        assert isinstance(outcome, Unknown)
        assert outcome.reason is ReasonCode.REFERENCE_SUSPECT
        assert outcome.text.endswith("does not repeat the claim's 'vin' as it was filled in.")
        assert AnotherClaimsVin.another not in outcome.text
        assert portal.client.truth("aurora")["filed"] == 2, "it is filed: held, and looked up"


def test_a_lost_response_is_unknown_and_the_next_claim_is_filed(chromium: BrowserRuntime, simulator: Simulator) -> None:
    simulator.client.set_fault("aurora", "lost_response", times=1)
    with session(chromium, simulator, "aurora") as opened:
        lost = file_claim(opened, warranty("RO-1"))
        following = file_claim(opened, warranty("RO-2"))
    assert isinstance(lost.outcome, Unknown)
    assert lost.outcome.reason is ReasonCode.OUTCOME_UNKNOWN
    assert (lost.wire.sent_at is None, lost.wire.status) == (False, None)
    assert isinstance(following.outcome, Filed)


def test_an_undeclared_dialog_stops_the_click_with_its_text(
    tmp_path: Path, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    selectors = spoiled(tmp_path, '      dialog: {accept: "Submit this claim to Aurora?"}\n', "")
    with session(chromium, simulator, "aurora", selectors=selectors) as opened:
        answer = file_claim(opened, warranty("RO-1"))
    assert isinstance(answer.outcome, Unknown)
    assert answer.outcome.reason is ReasonCode.UNEXPECTED_DIALOG
    assert "Submit this claim to Aurora?" in answer.outcome.text
    assert answer.wire.sent_at is None
    assert posts(simulator) == 0


def test_a_script_that_hides_the_confirmation_leaves_no_success(chromium: BrowserRuntime, simulator: Simulator) -> None:
    simulator.client.set_route("POST", "/aurora/claims", 200, "<h1>Claim submitted</h1><p>Batch WC-2026-004217-U</p>")
    with session(chromium, simulator, "aurora") as opened:
        answer = file_claim(opened, warranty("RO-1"))
    simulator.client.clear_routes()
    assert isinstance(answer.outcome, Unknown)
    assert answer.outcome.reason is ReasonCode.REFERENCE_MISSING


def test_an_unknown_error_text_is_reported_and_never_guessed(chromium: BrowserRuntime, simulator: Simulator) -> None:
    simulator.client.set_route(
        "POST", "/aurora/claims", 200, "<h1>New warranty claim</h1><div role=alert>AUR-777 Blue moon</div>"
    )
    with session(chromium, simulator, "aurora") as opened:
        answer = file_claim(opened, warranty("RO-1"))
    simulator.client.clear_routes()
    assert isinstance(answer.outcome, Unknown)
    assert answer.outcome.reason is ReasonCode.PORTAL_UNRECOGNISED
    assert "AUR-777 Blue moon" in answer.outcome.text
    assert POST_CONFIRM in {artifact.name for artifact in answer.artifacts}


# --- before the click ---


@pytest.mark.parametrize(
    ("fault", "reason", "step", "words"),
    [
        ("renamed_label", ReasonCode.PAGE_CONTRACT_MISMATCH, "check contract",
         "label 'VIN' is now 'Vehicle ID number'"),
        ("new_required_field", ReasonCode.PAGE_CONTRACT_MISMATCH, "check contract",
         "new required field 'Tax jurisdiction' after 'Odometer (miles)'"),
        ("new_hidden_input", ReasonCode.PAGE_CONTRACT_MISMATCH, "check contract", "new hidden input 'form_variant'"),
        ("maintenance", ReasonCode.PORTAL_MAINTENANCE, "log in", "down for scheduled maintenance"),
        ("mfa", ReasonCode.MFA_REQUIRED, "log in", "second factor"),
        ("session_expired", ReasonCode.SESSION_EXPIRED, "log in", "Your session has expired."),
    ],
)  # fmt: skip
def test_it_stops_before_the_click_with_reason_and_words(
    fault: str, reason: ReasonCode, step: str, words: str, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    simulator.client.set_fault("aurora", fault)
    with session(chromium, simulator, "aurora") as opened:
        with pytest.raises(StepFailed) as caught:
            prepare(opened, warranty("RO-1"))
        simulator.client.clear_faults()
        assert (caught.value.reason, caught.value.step) == (reason, step)
        assert words in caught.value.text
        assert "claim-1 (aurora, dealer 10234)" in caught.value.text
        pictures = [artifact.name for artifact in caught.value.artifacts]
        assert pictures == ([] if step == "log in" else [FAILURE])
        if reason is not ReasonCode.MFA_REQUIRED:
            assert isinstance(file_claim(opened, warranty("RO-2")).outcome, Filed)


def test_one_bad_log_in_only(chromium: BrowserRuntime, simulator: Simulator) -> None:
    simulator.client.set_fault("aurora", "login_refused")
    with session(chromium, simulator, "aurora") as opened:
        for repair_order in ("RO-1", "RO-2"):
            with pytest.raises(StepFailed, match="AUR-001") as caught:
                prepare(opened, warranty(repair_order))
            assert caught.value.reason is ReasonCode.LOGIN_FAILED
            assert caught.value.artifacts == ()
            assert "secret-pw-7" not in str(caught.value)
    assert len([seen for seen in simulator.client.requests("/aurora/login") if seen["method"] == "POST"]) == 1


def test_another_dealers_code_on_the_page_stops_it(chromium: BrowserRuntime, simulator: Simulator) -> None:
    with session(chromium, simulator, "aurora") as opened, pytest.raises(StepFailed) as caught:
        prepare(opened, warranty("RO-1", dealer_code="99999"))
    assert caught.value.reason is ReasonCode.DEALER_MISMATCH
    assert "'10234', the claim is for '99999'" in caught.value.text


class WrongOption(Aurora):
    """Chooses a coverage that the list does not have."""

    form_values = staticmethod(lambda claim: {**Aurora.form_values(claim), "coverage": "Gold"})


def test_a_field_that_does_not_hold_its_value_stops_it(chromium: BrowserRuntime, simulator: Simulator) -> None:
    with (
        session(chromium, simulator, "aurora", adapter=WrongOption()) as opened,
        pytest.raises(StepFailed, match="the field 'Coverage' holds '' instead of 'Gold'") as caught,
    ):
        prepare(opened, warranty("RO-1"))
    assert caught.value.reason is ReasonCode.FIELD_READBACK_MISMATCH
    assert posts(simulator) == 0


def test_a_field_that_forgets_what_scripts_put_in_is_typed(chromium: BrowserRuntime, simulator: Simulator) -> None:
    simulator.client.set_fault("aurora", "drops_filled_value")
    with session(chromium, simulator, "aurora") as opened:
        assert isinstance(file_claim(opened, warranty("RO-1")).outcome, Filed)


def test_the_steps_are_logged_with_names_and_numbers(
    chromium: BrowserRuntime, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "oem_submissions.portal")
    with session(chromium, simulator, "aurora") as opened:
        file_claim(opened, warranty("RO-1"), "claim-7")
    steps = [record for record in caplog.records if record.getMessage().startswith("STEP ")]
    assert [record.getMessage() for record in steps] == [
        f"STEP {number}/12 {name}" for number, name in enumerate(STEPS, start=1) if name != "arm"
    ]
    assert {getattr(record, "claim_id", None) for record in steps} == {"claim-7"}
    assert "secret-pw-7" not in caplog.text


# --- pictures ---


def test_a_secret_field_is_hidden_in_the_picture_and_in_the_readback(
    tmp_path: Path, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    selectors = spoiled(
        tmp_path,
        "repair_order: {find: {label: Repair order number}, sensitivity: public}",
        "repair_order: {find: {label: Repair order number}}",
    )
    with session(chromium, simulator, "aurora", selectors=selectors) as opened:
        ready = prepare(opened, warranty("RO-77123"))
        field = page_of(opened).get_by_label("Repair order number", exact=True)
        box = field.bounding_box()
        scrolled = page_of(opened).evaluate("() => scrollY")
    shot, readback = ready.artifacts[:2]
    image = Image.open(io.BytesIO(shot.data)).convert("RGB")
    assert image.getpixel((int(box["x"] + 5), int(box["y"] + scrolled + 5))) == (255, 0, 255)
    assert "RO-77123" not in ready.text
    fields = {item["name"]: item for item in json.loads(readback.data)["fields"]}
    assert readback.name == READBACK
    assert fields["repair_order"]["value"] == {"redacted": "secret"}


def test_a_blank_or_lossy_picture_is_refused(chromium: BrowserRuntime) -> None:
    page = chromium.browser().new_page()
    try:
        with pytest.raises(CaptureFailed, match="blank"):
            picture(page, "blank.webp")
        page.set_content("<h1>Something</h1>")
        picture(page, "fine.webp")
        with pytest.raises(CaptureFailed, match="not lossless"):
            check_picture(page.screenshot(type="webp", quality=80))
    finally:
        page.close()


def test_the_picture_is_pixel_for_pixel_the_page(chromium: BrowserRuntime) -> None:
    page = chromium.browser().new_page()
    try:
        page.set_content("<h1>Colours</h1>" + "".join(f"<p style='color:hsl({n} 80% 40%)'>row {n}" for n in range(90)))
        taken = Image.open(io.BytesIO(picture(page, "x.webp").data)).convert("RGB")
        wanted = Image.open(io.BytesIO(page.screenshot(type="png", full_page=True))).convert("RGB")
        assert taken.size == wanted.size
        assert taken.tobytes() == wanted.tobytes()
    finally:
        page.close()


# --- evidence that is worth something ---


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ("field.style.cssText = 'color: #fff; background: #fff'", ReasonCode.PRE_EVIDENCE_MISSING,
         "does not show the field 'repair_order'"),
        ("document.querySelector('h1').ariaBusy = 'true'", ReasonCode.PRE_EVIDENCE_MISSING, "still busy"),
        ("new MutationObserver(() => field.value = 'RO-9').observe(document, {childList: true, subtree: true})",
         ReasonCode.FIELD_READBACK_MISMATCH, "changed the field 'Repair order number' while it was photographed"),
    ],
    ids=["invisible", "busy", "changed meanwhile"],
)  # fmt: skip
def test_a_picture_that_does_not_show_the_filled_form_stops_it_before_the_click(
    change: str, reason: ReasonCode, words: str, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    script = f"""document.addEventListener("change", ({{target: field}}) => {{
        if (field.name === "repair_order" && !window.done) {{ window.done = true; {change} }} }})"""
    with session(chromium, simulator, "aurora") as opened:
        opened._walk_of("claim-1").context.add_init_script(script)
        with pytest.raises(StepFailed) as caught:
            prepare(opened, warranty("RO-1"))
    assert caught.value.reason is reason
    assert words in caught.value.text
    assert posts(simulator) == 0


def test_a_page_that_dies_after_the_click_leaves_an_unknown_outcome_and_the_next_claim_is_filed(
    chromium: BrowserRuntime, simulator: Simulator
) -> None:
    with session(chromium, simulator, "aurora") as opened:
        prepare(opened, warranty("RO-1"))
        page = page_of(opened)
        killer = page.context.new_cdp_session(page)

        def kill(_: Any) -> None:
            with suppress(PlaywrightError):
                killer.send("Page.crash")

        page.on("domcontentloaded", kill)
        answer = opened.submit(lambda wire: None)
        assert isinstance(answer.outcome, Unknown)
        assert answer.outcome.reason is ReasonCode.OUTCOME_UNKNOWN
        assert isinstance(file_claim(opened, warranty("RO-2")).outcome, Filed)
    assert simulator.client.truth("aurora")["filed"] == 2
