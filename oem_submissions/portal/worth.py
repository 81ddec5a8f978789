"""Whether the evidence before the click is worth something: it shows the right form, and what makes the claim this one.

What the answer must show stands in `answer`. That pictures are not blank is decided where they are taken.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from playwright.sync_api import ElementHandle

from oem_submissions.domain.evidence import Artifact
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import filling
from oem_submissions.portal.capture import limit, visible_text
from oem_submissions.portal.forms import Filled
from oem_submissions.portal.locators import in_words, is_busy, is_visible, look_up
from oem_submissions.portal.schema import Form
from oem_submissions.portal.standing import SCROLL, Character, inked
from oem_submissions.portal.steps import Walk
from oem_submissions.ports import Submission

_FRAME = 3.0
"""Pixels at the edge of a control that may be its border: what is inside them is what it shows."""


def text_before(walk: Walk, form: Form, filled: Filled) -> str:
    """The page's text, and what its fields show to a reader now, if anybody may know it: at most 64 kB.

    Raises `StepFailed` when a field holds another value than was read back from it: the page changed it meanwhile.
    """
    held = filling.read(filled.frame, filled.controls)
    read_back = {item.name: item for item in filled.readback}
    shown = []
    for control in filled.controls:
        item = read_back[control.name]
        if held[control.name] != item.actual:
            what = f"the page changed the field '{item.label}' while it was photographed"
            raise walk.failed(ReasonCode.FIELD_READBACK_MISMATCH, what)
        if control.field.sensitivity == "public" and item.actual:
            shown.append(f"{item.label}: {item.actual}")
    return limit("\n".join([*shown, visible_text(walk.page)]))


def require_worth(
    walk: Walk, form: Form, filled: Filled, places: Mapping[str, Sequence[Character]], shot: Artifact, url: str
) -> None:
    """Raises `StepFailed` (PRE_EVIDENCE_MISSING) when the picture, taken at `url`, is not that of this filled form.

    `places` is what `places()` said while the picture was taken.
    """
    last = form.pages[-1]
    trouble = ""
    if walk.page.url != url:
        trouble = "the page moved on while it was photographed"
    elif not is_visible(filled.frame, last.marker):
        trouble = f"{in_words(last.marker)} is not on the page any more"
    elif is_busy(filled.frame):
        trouble = "the page was still busy when it was photographed"
    else:
        for name, place in places.items():
            if not inked(place, shot.data):
                trouble = f"the picture of the filled form does not show the field '{name}'"
                break
    if trouble:
        raise walk.failed(ReasonCode.PRE_EVIDENCE_MISSING, trouble)


def require_uncovered(walk: Walk, form: Form, filled: Filled, submission: Submission) -> None:
    """Wait until nothing lies over what makes this claim this one. Raises `StepFailed` (PRE_EVIDENCE_MISSING)."""
    handles = _identifying(form, filled, submission)
    deadline = time.monotonic() + walk.limits.action_seconds
    while under := filling.covered(filled.frame, handles):
        if time.monotonic() > deadline:
            raise walk.failed(ReasonCode.PRE_EVIDENCE_MISSING, f"something lies over the field '{under[0]}'")
        walk.pause()


def places(form: Form, filled: Filled, submission: Submission) -> dict[str, list[Character]]:
    """Where the page shows what makes this claim this one, by the field's name."""
    across, down = filled.frame.page.evaluate(SCROLL)
    identifying = _identifying(form, filled, submission)
    return {name: [_inside(handle, across, down)] for name, handle in identifying.items()}


def _identifying(form: Form, filled: Filled, submission: Submission) -> Mapping[str, ElementHandle]:
    """Where the form's last page shows what makes this claim this one, as far as anybody may see it."""
    public = {
        name
        for name in submission.claim.natural_key_fields
        if name in form.fields and form.fields[name].sensitivity == "public"
    }
    filled_in = {item.name for item in filled.readback if item.actual}
    places = {c.name: c.handle for c in filled.controls if c.name in public & filled_in and c.field.kind != "radio"}
    for name, where in form.pages[-1].shows.items():
        if name in public:
            places[name] = look_up(filled.frame, where).first.element_handles()[0]
    return places


def _inside(handle: ElementHandle, across: float, down: float) -> Character:
    """The inner part of a control or of a text, as if it were one big character, on a page that is scrolled so far.

    One that does not show has none.
    """
    box = handle.bounding_box()
    if box is None:
        return Character("", True, -1.0, -1.0, 0.0, 0.0)
    width, height = max(1.0, box["width"] - 2 * _FRAME), max(1.0, box["height"] - 2 * _FRAME)
    return Character("", True, box["x"] + across + _FRAME, box["y"] + down + _FRAME, width, height)
