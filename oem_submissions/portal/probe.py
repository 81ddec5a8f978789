"""Walks through every form of a pack, up to the submit button, and says what is not as the pack says. Sends nothing.

The submit gate stays closed all the while. What a page shows is a change; what keeps the portal from being walked
through, such as a maintenance page, is a failure. A failure ends the probe, a change only the form's walk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from playwright.sync_api import ElementHandle, Frame
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from oem_submissions.domain.contracts import Change, ProbedPage, ProbeFailure, ProbeReport, Severity
from oem_submissions.domain.evidence import FAILURE, Artifact
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import REASONS, FailureClass, ReasonCode
from oem_submissions.portal import filling, forms
from oem_submissions.portal.capture import CaptureFailed
from oem_submissions.portal.gate import SubmitGate
from oem_submissions.portal.history import open_list, rows_shown
from oem_submissions.portal.locators import Element, look_up
from oem_submissions.portal.schema import Form, FormPage, History
from oem_submissions.portal.scrubbing import scrubbed
from oem_submissions.portal.steps import LOOK_UP, Walk
from oem_submissions.ports import Submission

log = logging.getLogger(__name__)
HISTORY_PAGE = "history"
"""What reports call the page that lists what was filed."""
_AT_ONCE_MS = 1.0
_NO_SAMPLE = "there is no claim to try it with"


@dataclass(frozen=True)
class OnView:
    """A page of a form that shows just now, before anything is filled in."""

    claim_type: str
    form: Form
    page: FormPage
    frame: Frame
    changes: tuple[Change, ...]
    photograph: Callable[[], Artifact | None]


class _FormEnds(Exception):
    """This form can't be walked any further: why."""


class Prober:
    """One probe of one account's portal. `report()` is right at every moment, also after a failure."""

    def __init__(
        self,
        walk: Walk,
        gate: SubmitGate,
        values_of: Callable[[Form, Submission], dict[str, str]],
        samples: Mapping[str, Submission],
        on_page: Callable[[OnView], None] | None = None,
    ) -> None:
        """`samples` by claim type; `on_page` is called with every page of a form."""
        self._walk, self._gate, self._values_of = walk, gate, values_of
        self._samples, self._on_page = samples, on_page
        self._pages: list[ProbedPage] = []
        self._walked: list[str] = []
        self._stopped: dict[str, str] = {}
        self._artifacts: dict[str, Artifact] = {}
        self._began = time.monotonic()

    def report(self, failure: StepFailed | None = None) -> ProbeReport:
        """What was found so far, and what ended it early."""
        ended = ProbeFailure.of(failure) if failure else None
        artifacts = tuple(self._artifacts.values())
        return ProbeReport(tuple(self._pages), tuple(self._walked), dict(self._stopped), ended, artifacts)

    def walk_through(self) -> None:
        """Every form, and every page that lists what was filed. Raises `StepFailed` on trouble of the portal."""
        try:
            for claim_type, form in self._walk.pack.data.forms.items():
                self._form(claim_type, form)
                if form.history is not None:
                    self._history(claim_type, form, form.history)
        except StepFailed:
            self._keep(FAILURE, self._photograph(FAILURE, None))
            raise

    # --- a form ---

    def _form(self, claim_type: str, form: Form) -> None:
        self._gate.close()
        self._began = time.monotonic()
        page = form.pages[0]
        try:
            with self._drift(claim_type, form, lambda: self._page_under_way(claim_type, form, page)):
                frame = forms.open_form(self._walk, form)
                self._fill(claim_type, form, frame)
        except _FormEnds as ends:
            self._stopped[claim_type] = str(ends)
        else:
            self._walked.append(claim_type)
        self._note_blocked(claim_type, self._page_under_way(claim_type, form, page))

    def _page_under_way(self, claim_type: str, form: Form, first: FormPage) -> str:
        """Where the walk is: on the last page that was looked at."""
        seen = [probed.page for probed in self._pages if probed.form == claim_type]
        return seen[-1] if seen else first.name

    def _fill(self, claim_type: str, form: Form, frame: Frame) -> None:
        sample = self._samples.get(claim_type)
        look = partial(self._look, claim_type, form)
        if sample is None:
            look(form.pages[0], forms.Filled(frame))
            raise _FormEnds(_NO_SAMPLE)
        try:
            filled = forms.fill_form(self._walk, form, frame, sample, self._values_of(form, sample), look)
        except StepFailed as failure:
            if not _is_the_claims(failure):
                raise
            if not any(probed.form == claim_type for probed in self._pages):
                look(form.pages[0], forms.Filled(frame))
            raise _FormEnds(f"the portal does not take the claim that it was tried with: {failure.text}") from failure
        forms.check_button(self._walk, form, filled.frame)
        self._try_button(form, filled.frame)
        self._walk.check_dialogs()

    def _look(self, claim_type: str, form: Form, page: FormPage, filled: forms.Filled) -> None:
        """Everything that can be seen of a page before it is filled in. Raises `_FormEnds` when that blocks."""
        changes = list(forms.contract_changes(form, claim_type, page, filled.frame))
        blocked = any(change.severity is Severity.BLOCK for change in changes)
        said = {change.words for change in changes}
        words = dict.fromkeys(self._not_found(form, page, filled.frame, wait=not blocked))
        changes += [Change(Severity.BLOCK, claim_type, page.name, text) for text in words if text not in said]
        shown = {filled.frame: self._public(form, filled.frame)}
        name = f"{claim_type}-{page.name}.webp"
        if changes:
            self._keep(name, self._photograph(name, shown))
        if self._on_page is not None:
            photograph = partial(self._photograph, name, shown)
            clean = scrubbed(tuple(changes), self._walk.scrubber)
            self._on_page(OnView(claim_type, form, page, filled.frame, clean, photograph))
        self._add_page(claim_type, page.name, changes)
        if any(change.severity is Severity.BLOCK for change in changes):
            raise _FormEnds(f"page '{page.name}' is not as its contract says")

    def _not_found(self, form: Form, page: FormPage, frame: Frame, *, wait: bool) -> Iterator[str]:
        """Elements of the page that the pack does not hit, once and with both locators."""
        for what, element in _elements(form, page):
            wait_ms = self._walk.wait_ms if wait else _AT_ONCE_MS
            try:
                filling.find_element(frame, element, what, wait_ms)
            except filling.ElementNotFound as error:
                self._walk.check_state()
                wait = False
                yield str(error).replace("on the page", "there")

    def _try_button(self, form: Form, frame: Frame) -> None:
        """Everything that a click needs, and no click."""
        try:
            look_up(frame, form.submit.button.find).click(trial=True)
        except PlaywrightTimeout as error:
            what = f"{forms.SUBMIT_BUTTON} can't be clicked: something is in the way"
            raise self._walk.failed(ReasonCode.SELECTOR_NOT_FOUND, what) from error

    def _note_blocked(self, claim_type: str, page: str) -> None:
        if self._gate.wire.blocked:
            words = "the page tried to submit by itself, and the gate stopped it"
            self._add_page(claim_type, page, [Change(Severity.BLOCK, claim_type, page, words)])

    # --- the list ---

    def _history(self, claim_type: str, form: Form, history: History) -> None:
        self._gate.close()
        self._began = time.monotonic()
        pages = len(self._pages)
        try:
            with self._drift(claim_type, form, lambda: HISTORY_PAGE):
                self._walk.begin(LOOK_UP)
                open_list(self._walk, history)
                rows_shown(self._walk, history, _columns(history))
                frame = self._walk.page.main_frame
                for what, element in _filters(history):
                    self._find(frame, element, what)
                self._walk.check_dialogs()
        except _FormEnds as ends:
            log.info("%s: %s", claim_type, ends)
        if len(self._pages) == pages:
            self._add_page(claim_type, HISTORY_PAGE, [])
        self._note_blocked(claim_type, HISTORY_PAGE)

    def _find(self, frame: Frame, element: Element, what: str) -> None:
        try:
            filling.find_element(frame, element, what, self._walk.wait_ms)
        except filling.ElementNotFound as error:
            self._walk.check_state()
            raise self._walk.failed(ReasonCode.SELECTOR_NOT_FOUND, str(error)) from error

    # --- what is kept ---

    @contextmanager
    def _drift(self, claim_type: str, form: Form, page: Callable[[], str]) -> Iterator[None]:
        """A page that is not as the pack says is a change that blocks; any other trouble leaves as it is."""
        try:
            with self._walk.explained():
                yield
        except StepFailed as failure:
            if REASONS[failure.reason].failure_class is not FailureClass.DRIFT:
                raise
            frames = [frame for frame in self._walk.page.frames if not frame.is_detached()]
            name = f"{claim_type}-{page()}.webp"
            self._keep(name, self._photograph(name, {frame: self._public(form, frame) for frame in frames}))
            said = self._walk.said(failure)
            self._add_page(claim_type, page(), [Change(Severity.BLOCK, claim_type, page(), said)])
            raise _FormEnds(said) from failure

    def _add_page(self, claim_type: str, page: str, changes: list[Change]) -> None:
        """Note a page; what is found of it later is added to it."""
        now = time.monotonic()
        seconds, self._began = now - self._began, now
        for change in changes:
            log.info("%s of %s: %s %s", page, self._walk.pack.oem, change.severity, change.words)
        known = next((probed for probed in self._pages if (probed.form, probed.page) == (claim_type, page)), None)
        if known is None:
            self._pages.append(ProbedPage(claim_type, page, seconds, tuple(changes)))
        else:
            both = replace(known, seconds=known.seconds + seconds, changes=(*known.changes, *changes))
            self._pages[self._pages.index(known)] = both

    def _keep(self, name: str, shot: Artifact | None) -> None:
        if shot is not None:
            self._artifacts.setdefault(name, shot)

    def _photograph(self, name: str, shown: dict[Frame, list[ElementHandle]] | None) -> Artifact | None:
        """What the page looks like; nothing of a log-in page, and never a second failure."""
        if self._walk.step == "log in" or self._walk.page.is_closed():
            return None
        try:
            return self._walk.photograph(name, shown)
        except (CaptureFailed, PlaywrightError) as error:
            log.warning("%s: no picture of %s: %s", self._walk.pack.oem, name, str(error).splitlines()[0])
            return None

    @staticmethod
    def _public(form: Form, frame: Frame) -> list[ElementHandle]:
        return forms.known_handles(frame, form)


def _is_the_claims(failure: StepFailed) -> bool:
    """Whether it says something of the claim that the form was tried with, and nothing of the page."""
    refused = failure.reason is ReasonCode.PORTAL_UNRECOGNISED  # a wizard's own words against what was entered
    return refused or REASONS[failure.reason].failure_class is FailureClass.BUSINESS


def _elements(form: Form, page: FormPage) -> Iterator[tuple[str, Element]]:
    """What the pack hits on a page before anything is filled in. `then` redraws it: what follows comes later."""
    for name, field in page.fields.items():
        yield f"field '{name}'", field
        for value, option in field.options.items():
            yield f"field '{name}', option '{value}'", Element(find=option)
        if field.then is not None:
            break
    if page.name == form.dealer_page:
        yield "the dealer code", form.dealer
    for rule in page.attachments:
        yield "the field for files", Element(find=rule.find)
    for name, where in page.shows.items():
        yield f"where the page repeats '{name}'", Element(find=where)
    if page.next is not None:
        yield f"the way on from page '{page.name}'", Element(find=page.next.click)
    if page is form.pages[-1]:
        yield forms.SUBMIT_BUTTON, form.submit.button


def _filters(history: History) -> Iterator[tuple[str, Element]]:
    for name, where in history.search.items():
        yield f"the filter by '{name}'", Element(find=where)
    if history.go is not None:
        yield "the button that filters", Element(find=history.go)


def _columns(history: History) -> set[str]:
    """Headings that only the reading of the whole list needs."""
    listing = history.listing
    if listing is None:
        return set()
    dated = {listing.submitted.heading} if listing.submitted else set()
    decided = {listing.decisions.heading} if listing.decisions else set()
    return dated | decided | set(listing.only)
