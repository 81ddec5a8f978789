"""The files that a portal asks for on pages of their own once the claim is filed: sent one by one, looked for later.

By then the claim is filed: what goes wrong here is no reason to file it again, and what is missing is said.
"""

from __future__ import annotations

import time
from collections.abc import Container

from playwright.sync_api import Frame

from oem_submissions.domain.claims import Attachment
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import forms
from oem_submissions.portal.capture import one_line
from oem_submissions.portal.locators import is_visible, look_up
from oem_submissions.portal.schema import AttachmentRule, Documents
from oem_submissions.portal.steps import Walk
from oem_submissions.ports import Submission

STEP = "send files"


def due(documents: Documents | None, submission: Submission) -> list[tuple[AttachmentRule, Attachment]]:
    """The claim's files that go there, in their order."""
    rules = documents.attachments if documents else ()
    return [(rule, attachment) for rule in rules for attachment in forms.belonging(rule, submission)]


def send(
    walk: Walk, frame: Frame, documents: Documents, submission: Submission, only: Container[str] | None = None
) -> None:
    """Every file, or those named, each shown as arrived before the next. The claim is filed.

    Raises `StepFailed` (UPLOAD_FAILED).
    """
    files = [each for each in due(documents, submission) if only is None or each[1].name in only]
    for number, (rule, attachment) in enumerate(files, start=1):
        walk.begin(STEP, f"{number} of {len(files)}")
        _send(walk, frame, documents, rule, attachment, submission.files[attachment.name])
        if number < len(files):
            assert documents.again is not None, "the pack says so when there may be several"
            walk.see(frame, documents.again, "the way to the next file").click()
    if documents.done is not None:
        walk.click(frame, documents.done)


def not_listed(frame: Frame, documents: Documents, submission: Submission) -> tuple[str, ...]:
    """Names of files that the page does not show as arrived."""
    return tuple(file.name for rule, file in due(documents, submission) if not _is_listed(frame, rule, file))


def _is_listed(frame: Frame, rule: AttachmentRule, attachment: Attachment) -> bool:
    ((_, _, seen),) = forms.shown_files(frame, rule, [attachment])
    return seen


def _send(
    walk: Walk, frame: Frame, documents: Documents, rule: AttachmentRule, attachment: Attachment, data: bytes
) -> None:
    walk.see(frame, documents.marker, "the page that asks for a file")
    where = look_up(frame, rule.find)
    where.set_input_files({"name": attachment.name, "mimeType": attachment.media_type, "buffer": data})
    if where.evaluate(forms.FILES_HELD) != [[attachment.name, len(data)]]:
        raise walk.failed(ReasonCode.UPLOAD_FAILED, f"the page does not hold '{attachment.name}' as it is")
    walk.see(frame, documents.send, "the button that sends a file").click()
    _until_listed(walk, frame, rule, attachment)


def _until_listed(walk: Walk, frame: Frame, rule: AttachmentRule, attachment: Attachment) -> None:
    assert rule.row is not None
    deadline = time.monotonic() + walk.limits.action_seconds
    while True:
        walk.pause()
        if is_visible(frame, rule.row) and _is_listed(frame, rule, attachment):
            return
        if rule.refused is not None and is_visible(frame, rule.refused):
            said = one_line(look_up(frame, rule.refused).first.inner_text())
            raise walk.failed(ReasonCode.UPLOAD_FAILED, f"the portal did not take '{attachment.name}': {said}")
        if time.monotonic() > deadline:
            walk.check_state()
            raise walk.failed(ReasonCode.UPLOAD_FAILED, f"'{attachment.name}' is not shown as arrived")
