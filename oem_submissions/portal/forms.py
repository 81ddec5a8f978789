"""Before the click: open the form, check its contract, fill it, attach files, read everything back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import re2
from playwright.sync_api import ElementHandle, FilePayload, Frame

from oem_submissions.domain.claims import Attachment
from oem_submissions.domain.contracts import Change, Severity
from oem_submissions.domain.evidence import DEALER_READBACK, FieldReadback
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import contracts, filling
from oem_submissions.portal.capture import filled_in, one_line
from oem_submissions.portal.classify import known_reason
from oem_submissions.portal.locators import Locator, is_visible, look_up
from oem_submissions.portal.references import TooMuch, numbers_on
from oem_submissions.portal.schema import AttachmentRule, Form, FormPage
from oem_submissions.portal.steps import Walk
from oem_submissions.ports import Submission

log = logging.getLogger(__name__)
SUBMIT_BUTTON = "the submit button"
FILES_HELD = "element => [...element.files].map(file => [file.name, file.size])"
_TEXT_OR_VALUE = """element => ["INPUT", "TEXTAREA"].includes(element.tagName) ? element.value : element.innerText"""

TEXTS_OR_VALUES = """elements => elements.map(element =>
  element.tagName === "SELECT" ? element.selectedOptions[0]?.label ?? ""
    : ["INPUT", "TEXTAREA"].includes(element.tagName) ? element.value : element.innerText)"""


@dataclass
class Filled:
    """A form on its way to the click."""

    frame: Frame
    """Where the form is: the page's own frame, or the iframe."""
    readback: list[FieldReadback] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shown: list[ElementHandle] = field(default_factory=list)
    """Controls of the page as it is now that may stand in a picture."""
    controls: list[filling.Control] = field(default_factory=list)
    """The controls of the page as it is now."""
    numbers: set[str] = field(default_factory=set)
    """What looked like a reference on any page up to now: none of these is the claim's."""


def open_form(walk: Walk, form: Form) -> Frame:
    """Walk through the menu to an empty form. Raises `StepFailed`."""
    walk.begin("open form")
    top = walk.page.main_frame
    walk.dialogs.leaving = True  # an earlier claim's form may be left behind half filled
    for click in form.open:
        walk.click(top, click)
    frame = top
    if form.frame is not None:
        handle = walk.see(top, form.frame, "the frame that holds the form").element_handle()
        inner = handle.content_frame()
        if inner is None:
            raise walk.failed(ReasonCode.SELECTOR_NOT_FOUND, "the element that should hold the form is no frame")
        frame = inner
    walk.see(frame, form.pages[0].marker, f"the form's page '{form.pages[0].name}'")
    walk.dialogs.leaving = False
    return frame


def fill_form(
    walk: Walk,
    form: Form,
    frame: Frame,
    submission: Submission,
    values: Mapping[str, str],
    look: Callable[[FormPage, Filled], None] | None = None,
) -> Filled:
    """Every page up to the last, filled and read back equal. Raises `StepFailed`.

    `look` is called with each page before anything is filled in; without it, a change that blocks stops the walk.
    """
    filled = Filled(frame)
    claim_type = submission.claim.claim_type
    check_attachments(walk, form, submission)
    for page in form.pages:
        walk.see(frame, page.marker, f"the form's page '{page.name}'")
        filled.shown.clear()
        detail = f"page {page.name}" if len(form.pages) > 1 else ""
        if page.contract is not None or look is not None:
            walk.begin("check contract", detail)
            look(page, filled) if look else _check_contract(walk, form, claim_type, page, filled)
        controls = _fill_page(walk, page, frame, values, detail)
        if page.attachments:
            walk.begin("attach", detail)
            _attach(walk, page, frame, submission)
        walk.begin("read back", detail)
        if page.name == form.dealer_page:
            _check_dealer(walk, form, filled, submission.claim.dealer_code)
        _read_back(walk, form, page, filled, values, controls)
        if page.attachments:
            _read_back_files(walk, page, filled, submission)
        note_numbers(walk, form, filled)
        if page.next is not None:
            _go_on(walk, form, page, frame)
    return filled


def note_numbers(walk: Walk, form: Form, filled: Filled) -> None:
    """What looks like a reference on the page as it is now. Raises `StepFailed` when it can't be looked through."""
    try:
        filled.numbers |= numbers_on(walk.page, form.confirmation.reference.pattern)
    except TooMuch as error:
        raise walk.failed(ReasonCode.PAGE_CONTRACT_MISMATCH, str(error).rstrip(".")) from error


def contract_changes(form: Form, claim_type: str, page: FormPage, frame: Frame) -> tuple[Change, ...]:
    """What the page shows that its contract does not say, and whether the submit button is still the one meant."""
    if page.contract is None:
        return ()
    scope = look_up(frame, page.contract.scope)
    if (times := scope.count()) != 1:
        return (Change(Severity.BLOCK, claim_type, page.name, f"the form is there {times} times"),)
    relied = contracts.relied_on(form, page)
    changes = contracts.compare(page.contract, contracts.scan(scope), claim_type, page.name, relied)
    if page is form.pages[-1]:
        trouble = filling.button_trouble(frame, form.submit.button, form.submit.request.path)
        if trouble is not None:
            changes += (Change(Severity.BLOCK, claim_type, page.name, f"{SUBMIT_BUTTON}: {trouble}"),)
    return changes


def _check_contract(walk: Walk, form: Form, claim_type: str, page: FormPage, filled: Filled) -> None:
    changes = contract_changes(form, claim_type, page, filled.frame)
    by_severity = {severity: [c.words for c in changes if c.severity is severity] for severity in Severity}
    filled.warnings += [f"page '{page.name}': {words}" for words in by_severity[Severity.WARN]]
    for words in by_severity[Severity.NOTE]:
        log.info("page '%s' of %s: %s", page.name, walk.pack.oem, words)
    if by_severity[Severity.BLOCK]:
        words = "; ".join(by_severity[Severity.BLOCK])
        raise walk.failed(ReasonCode.PAGE_CONTRACT_MISMATCH, f"page '{page.name}' is not as its contract says: {words}")


def _fill_page(
    walk: Walk, page: FormPage, frame: Frame, values: Mapping[str, str], detail: str
) -> list[filling.Control]:
    walk.begin("fill", detail)
    try:
        names = list(page.fields)
        controls: list[filling.Control] = []
        while names:  # up to a field that redraws the form, then the rest on the redrawn form
            cut = next((i + 1 for i, name in enumerate(names) if page.fields[name].then), len(names))
            group = filling.find_controls(frame, {name: page.fields[name] for name in names[:cut]}, walk.wait_ms)
            filling.fill(frame, group, values)
            controls += group
            if then := page.fields[names[cut - 1]].then:
                walk.see(frame, then, f"what follows on the field '{names[cut - 1]}'")
            names = names[cut:]
    except filling.ElementNotFound as error:
        walk.check_state()
        raise walk.failed(ReasonCode.SELECTOR_NOT_FOUND, str(error)) from error
    return controls


def _read_back(
    walk: Walk, form: Form, page: FormPage, filled: Filled, values: Mapping[str, str], controls: list[filling.Control]
) -> None:
    held = filling.read(filled.frame, controls)
    if None in held.values():  # the form was redrawn meanwhile
        try:
            controls = filling.find_controls(filled.frame, page.fields, walk.wait_ms)
        except filling.ElementNotFound as error:
            raise walk.failed(ReasonCode.SELECTOR_NOT_FOUND, str(error)) from error
        held = filling.read(filled.frame, controls)
    filled.controls = controls
    for control in controls:
        wanted = filling.expected(control.field, values.get(control.name))
        label = _label(control.field.find, control.name)
        item = FieldReadback(control.name, label, wanted, held[control.name] or "", control.field.sensitivity)
        filled.readback.append(item)
        _must_be_equal(walk, item)
        if control.field.sensitivity == "public":
            filled.shown.append(control.handle)
    for name, locator in page.shows.items():
        spec = form.fields[name]
        actual = one_line(walk.see(filled.frame, locator, f"where the page repeats '{name}'").inner_text())
        wanted = one_line(filling.expected(spec, values.get(name)))
        item = FieldReadback(f"{name}@{page.name}", _label(spec.find, name), wanted, actual, spec.sensitivity)
        filled.readback.append(item)
        _must_be_equal(walk, item)


def _must_be_equal(walk: Walk, item: FieldReadback) -> None:
    if item.equal:
        return
    if item.sensitivity == "public":
        what = f"the field '{item.label}' holds '{item.actual}' instead of '{item.expected}'"
    else:
        what = f"the field '{item.label}' holds {len(item.actual)} characters that are not what was put in"
    raise walk.failed(ReasonCode.FIELD_READBACK_MISMATCH, what)


def _check_dealer(walk: Walk, form: Form, filled: Filled, dealer_code: str) -> None:
    try:
        handle = filling.find_element(filled.frame, form.dealer, "the dealer code", walk.wait_ms)
    except filling.ElementNotFound as error:
        walk.check_state()
        raise walk.failed(ReasonCode.SELECTOR_NOT_FOUND, str(error)) from error
    text = one_line(str(handle.evaluate(_TEXT_OR_VALUE)))
    match = re2.search(form.dealer_pattern, text)
    shown = match.group("dealer") if match else text
    filled.shown.append(handle)
    filled.readback.append(FieldReadback(DEALER_READBACK, "dealer code on the page", dealer_code, shown, "public"))
    if shown != dealer_code:
        raise walk.failed(
            ReasonCode.DEALER_MISMATCH, f"the page shows the dealer code '{shown}', the claim is for '{dealer_code}'"
        )


def _go_on(walk: Walk, form: Form, page: FormPage, frame: Frame) -> None:
    """To the next page of a wizard; what the page says instead is the portal's refusal of what was entered."""
    assert page.next is not None
    following = form.pages[form.pages.index(page) + 1]
    walk.see(frame, page.next.click, f"the way on from page '{page.name}'").click()
    deadline = time.monotonic() + walk.limits.action_seconds
    walk.pause()
    while not is_visible(frame, following.marker):
        if page.errors is not None and is_visible(frame, page.errors):
            said = one_line("; ".join(look_up(frame, page.errors).all_inner_texts()))
            reason = known_reason(said, form) or ReasonCode.PORTAL_UNRECOGNISED
            raise walk.failed(reason, f"the portal does not accept page '{page.name}': {said}")
        if time.monotonic() > deadline:
            walk.check_state()
            raise walk.failed(
                ReasonCode.SELECTOR_NOT_FOUND, f"page '{following.name}' does not follow on '{page.name}'"
            )
        walk.pause()


def check_attachments(walk: Walk, form: Form, submission: Submission) -> None:
    """Every attachment has its bytes and a place in the form. Raises `StepFailed` (ATTACHMENT_REJECTED)."""
    rules = form.attachments
    for attachment in submission.claim.attachments:
        rule = next((rule for rule in rules if _fits(rule, attachment)), None)
        if rule is None:
            what = f"the form takes no {attachment.kind} as {attachment.media_type}, which '{attachment.name}' is"
        elif attachment.name not in submission.files:
            what = f"the bytes of '{attachment.name}' are missing"
        elif len(submission.files[attachment.name]) > rule.max_bytes:
            size = len(submission.files[attachment.name])
            what = f"'{attachment.name}' has {size} bytes, the portal takes {rule.max_bytes}"
        else:
            continue
        raise walk.failed(ReasonCode.ATTACHMENT_REJECTED, what)
    for rule in rules:
        if (count := sum(_fits(rule, a) for a in submission.claim.attachments)) > rule.max_files:
            raise walk.failed(
                ReasonCode.ATTACHMENT_REJECTED, f"the claim has {count} files, the portal takes {rule.max_files}"
            )


def _fits(rule: AttachmentRule, attachment: Attachment) -> bool:
    return attachment.media_type in rule.media_types and (not rule.kinds or attachment.kind in rule.kinds)


def belonging(rule: AttachmentRule, submission: Submission) -> list[Attachment]:
    """The claim's files that go there."""
    return [attachment for attachment in submission.claim.attachments if _fits(rule, attachment)]


def _attach(walk: Walk, page: FormPage, frame: Frame, submission: Submission) -> None:
    for rule in page.attachments:
        files: list[FilePayload] = [
            {"name": a.name, "mimeType": a.media_type, "buffer": submission.files[a.name]}
            for a in belonging(rule, submission)
        ]
        if not files:
            continue
        field_ = look_up(frame, rule.find)
        if field_.count() != 1:
            raise walk.failed(ReasonCode.SELECTOR_NOT_FOUND, f"the field for files is there {field_.count()} times")
        field_.set_input_files(files)
        if rule.row is not None:
            _until_arrived(walk, frame, rule, submission)


def _until_arrived(walk: Walk, frame: Frame, rule: AttachmentRule, submission: Submission) -> None:
    assert rule.row is not None
    wanted = len(belonging(rule, submission))
    deadline = time.monotonic() + walk.limits.action_seconds
    while len(_rows(frame, rule.row)) < wanted or not all(
        seen for _, _, seen in shown_files(frame, rule, belonging(rule, submission))
    ):
        if rule.refused is not None and is_visible(frame, rule.refused):
            said = one_line(look_up(frame, rule.refused).first.inner_text())
            raise walk.failed(ReasonCode.UPLOAD_FAILED, f"the portal did not take a file: {said}")
        if time.monotonic() > deadline:
            walk.check_state()
            raise walk.failed(ReasonCode.UPLOAD_FAILED, "not every file is shown as uploaded")
        walk.pause()


def _rows(frame: Frame, row: Locator) -> list[str]:
    return [one_line(text) for text in look_up(frame, row).all_inner_texts()]


def shown_files(frame: Frame, rule: AttachmentRule, files: Sequence[Attachment]) -> list[tuple[str, str, bool]]:
    """Name, expected text, and whether a row of the page begins with that text."""
    assert rule.row is not None
    assert rule.shown is not None
    rows = _rows(frame, rule.row)
    texts = [(a.name, filled_in(rule.shown, {"name": a.name, "size": str(a.size)})) for a in files]
    return [(name, text, any(f"{row} ".startswith(f"{text} ") for row in rows)) for name, text in texts]


def _read_back_files(walk: Walk, page: FormPage, filled: Filled, submission: Submission) -> None:
    for rule in page.attachments:
        wanted = {a.name: f"{a.name} ({a.size} bytes)" for a in belonging(rule, submission)}
        if rule.row is not None:
            held = {
                name: wanted[name] if seen else ""
                for name, _, seen in shown_files(filled.frame, rule, belonging(rule, submission))
            }
            extra = len(_rows(filled.frame, rule.row)) - len(wanted)
        else:
            files = look_up(filled.frame, rule.find).evaluate(FILES_HELD)
            held = {name: f"{name} ({size} bytes)" for name, size in files}
            extra = len(set(held) - set(wanted))
        for name, text in wanted.items():
            item = FieldReadback(f"attachment {name}", name, text, held.get(name, ""), rule.sensitivity)
            filled.readback.append(item)
            _must_be_equal(walk, item)
        if extra > 0 and wanted:
            raise walk.failed(
                ReasonCode.FIELD_READBACK_MISMATCH, f"the form holds {extra} files that are not of this claim"
            )


def check_button(walk: Walk, form: Form, frame: Frame) -> None:
    """The submit button is there, and no error is shown: what is wrong now is provably not filed."""
    try:
        button = filling.find_element(frame, form.submit.button, SUBMIT_BUTTON, walk.wait_ms)
    except filling.ElementNotFound as error:
        walk.check_state()
        raise walk.failed(ReasonCode.SELECTOR_NOT_FOUND, str(error)) from error
    if not (button.is_visible() and button.is_enabled()):
        raise walk.failed(ReasonCode.SELECTOR_NOT_FOUND, f"{SUBMIT_BUTTON} can't be clicked")
    if is_visible(frame, *(refusal.box for refusal in form.refusals)):
        raise walk.failed(ReasonCode.PAGE_CONTRACT_MISMATCH, "the form shows an error before it was submitted")


def known_handles(frame: Frame, form: Form) -> list[ElementHandle]:
    """The controls on the page now that the pack lets be seen in a picture."""
    if frame.is_detached() or not any(is_visible(frame, page.marker) for page in form.pages):
        return []
    seen = [look_up(frame, field.find) for field in form.fields.values() if field.sensitivity == "public"]
    return [handle for found in (*seen, look_up(frame, form.dealer.find)) for handle in found.element_handles()]


def _label(locator: Locator, name: str) -> str:
    return next((said for part in ("label", "name", "beside") if (said := getattr(locator, part, None))), name)
