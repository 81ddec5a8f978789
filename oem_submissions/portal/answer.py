"""After the gate is armed: one click, then what came of it. What can't be told is `Unknown`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from playwright.sync_api import ElementHandle, Frame
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from oem_submissions.domain.evidence import (
    PERSONAL_PAGE,
    POST_CONFIRM,
    POST_CONFIRM_ARIA,
    POST_CONFIRM_MHTML,
    REQUEST,
    Artifact,
)
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.keys import canonical_json
from oem_submissions.domain.needles import Kind
from oem_submissions.domain.outcomes import Answer, Filed, Outcome, Pending, Reference, Refused, Unknown, Wire
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import archive, aria, documents, filling, forms, history, papers, references
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.capture import CaptureFailed, one_line, visible_text
from oem_submissions.portal.classify import Accepted, AcceptedForLater, InProcess, NothingYet, Page, classify
from oem_submissions.portal.gate import SubmitGate
from oem_submissions.portal.locators import is_busy, is_leaving, is_visible, look_up
from oem_submissions.portal.references import Anchored, Still
from oem_submissions.portal.schema import Form, Pdf
from oem_submissions.portal.scrubbing import scrubbed
from oem_submissions.portal.standing import Standing, inked, written
from oem_submissions.portal.steps import POLL_MS, Walk
from oem_submissions.ports import Submission

EXTRA_MS = 1000.0
"""How long an extra piece of evidence may take."""
EXTRA_TROUBLE = (
    PlaywrightError, archive.ArchiveRefused, ValueError, LookupError, TypeError, AssertionError, RecursionError,
)  # fmt: skip
"""What can come of an extra: the browser's trouble, and what parsers raise at hostile pages."""
READINGS = 3
"""How often a page that says yes is read and photographed until it stays the same meanwhile."""


@dataclass(frozen=True)
class Ready:
    """A prepared claim: everything that the click and the judgement after it need."""

    form: Form
    frame: Frame
    values: dict[str, str]
    seen: frozenset[str]
    """Numbers that looked like a reference before the click."""
    before: bytes
    """The picture before the click."""
    submission: Submission


@dataclass(frozen=True)
class _Reading:
    """A page that says yes, read at once."""

    url: str
    verdict: Page
    place: Anchored
    busy: bool


class Asker:
    """Clicks once and judges the answer. Made for one claim, used once."""

    def __init__(self, walk: Walk, gate: SubmitGate, adapter: PortalAdapter, ready: Ready) -> None:
        self._walk, self._gate, self._adapter, self._ready = walk, gate, adapter, ready
        self._pages_before: Collection[BrowserPage] = tuple(walk.context.pages)
        self._page = walk.page
        """The page that answers: a popup takes the form's place."""
        self.artifacts: list[Artifact] = []
        self.warnings: list[str] = []
        self.text = ""
        self.url = ""
        self._files_due = bool(documents.due(ready.form.documents, ready.submission))

    def ask(self, on_sent: Callable[[Wire], None]) -> Outcome:
        """The whole way. May raise anything: the session turns that into `Unknown`."""
        try:
            return self._ask(on_sent)
        except StepFailed as failure:
            if failure.reason is ReasonCode.UNEXPECTED_DIALOG:
                return Unknown(failure.reason, failure.text)
            if failure.step == documents.STEP:
                self._walk.stop_loading()
                self._photograph()
                return Unknown(ReasonCode.OUTCOME_UNKNOWN, f"The portal took the claim, but not its files. {failure}")
            raise

    def _ask(self, on_sent: Callable[[Wire], None]) -> Outcome:
        self._walk.begin("submit")
        self._click(on_sent)
        if unknown := self._until_answered():
            self._walk.stop_loading()
            self._photograph()
            return unknown
        self._walk.begin("classify page")
        verdict = self._until_recognised()
        match verdict:
            case Accepted() | AcceptedForLater():
                return self._accepted(verdict)
        self._walk.begin("post-shot")
        if self._photograph() is not None:
            self._take_extras()
        match verdict:
            case Refused() | Unknown():
                return verdict
            case InProcess():
                waited = self._ready.form.confirmation.wait_seconds
                return Unknown(
                    ReasonCode.OUTCOME_UNKNOWN, f"The portal still worked on the claim after {waited} seconds."
                )
            case NothingYet():
                return Unknown(ReasonCode.OUTCOME_UNKNOWN, "The page after the click is none that the pack knows.")

    def answer(self, outcome: Outcome) -> Answer:
        """The outcome with everything that was seen."""
        wire = self._gate.wire
        self.artifacts.append(request_artifact(scrubbed(wire, self._walk.scrubber)))
        return Answer(outcome, wire, tuple(self.artifacts), self.text, self.url, tuple(self.warnings))

    def _click(self, on_sent: Callable[[Wire], None]) -> None:
        submit = self._ready.form.submit
        self._walk.dialogs.declared = submit.dialog.accept if submit.dialog else None
        self._gate.arm(on_sent)
        try:
            look_up(self._ready.frame, submit.button.find).click(
                timeout=self._walk.limits.action_seconds * 1000, no_wait_after=True
            )
        except PlaywrightTimeout:
            pass  # what left is known by the gate, not by the click
        except PlaywrightError as error:
            if not is_leaving(error):
                raise

    def _until_answered(self) -> Unknown | None:
        """Waits for the request to leave and to be answered. None when it was answered."""
        limits, started = self._walk.limits, time.monotonic()
        while not self._gate.finished:
            self._walk.watch.alive()
            elapsed = time.monotonic() - started
            if (said := self._dialog()) is not None:
                return said
            if self._gate.wire.sent_at is None and elapsed > limits.sent_seconds:
                return Unknown(ReasonCode.OUTCOME_UNKNOWN, "No submit request left after the click.")
            if elapsed > limits.answer_seconds:
                return Unknown(
                    ReasonCode.OUTCOME_UNKNOWN,
                    f"The portal did not answer the submission within {limits.answer_seconds:g} seconds.",
                )
            self._walk.page.wait_for_timeout(POLL_MS)
        if self._gate.refusal is not None:
            what = f"The submit request was stopped, because it could not be recorded: {self._gate.refusal}"
            return Unknown(ReasonCode.OUTCOME_UNKNOWN, what)
        if self._gate.lost is not None:
            what = f"The connection was lost before the submission was answered: {self._gate.lost}."
            return Unknown(ReasonCode.OUTCOME_UNKNOWN, what)
        return None

    def _dialog(self) -> Unknown | None:
        """What a dialog that nobody declared says of the outcome: that it can't be told."""
        said = " | ".join(self._walk.dialogs.undeclared)
        if not self._walk.dialogs.undeclared:
            return None
        self._walk.dialogs.undeclared.clear()
        what = f"The page opened a dialog that the pack does not declare: '{said}'."
        return Unknown(ReasonCode.UNEXPECTED_DIALOG, what)

    def _until_recognised(self) -> Page:
        form, status = self._ready.form, self._gate.wire.status
        known = {*form.confirmation.statuses, *(s for refusal in form.refusals for s in refusal.statuses)}
        started = time.monotonic()
        while True:
            # A page that sent twice may wait for the answer to the request that the gate stopped.
            self._walk.watch.alive()
            if (said := self._dialog()) is not None:
                return said
            patience = self._walk.limits.sent_seconds if self._gate.wire.blocked else form.confirmation.wait_seconds
            scope = self._scope()
            verdict = self._look(scope) if scope is not None else NothingYet()
            if isinstance(verdict, NothingYet) and scope is not None and self._asks_for_files(scope):
                self._send_files(scope)
                started = time.monotonic()
                continue
            if self._files_due and isinstance(verdict, Accepted | AcceptedForLater):
                return Unknown(ReasonCode.OUTCOME_UNKNOWN, "The portal took the claim without asking for its files.")
            if not isinstance(verdict, NothingYet | InProcess) or time.monotonic() > started + patience:
                return verdict
            if status not in known:
                return Unknown(ReasonCode.OUTCOME_UNKNOWN, f"The submission was answered with HTTP {status}.")
            self._walk.pause()

    def _asks_for_files(self, scope: Frame) -> bool:
        asks = self._ready.form.documents
        return asks is not None and self._files_due and is_visible(scope, asks.marker)

    def _send_files(self, scope: Frame) -> None:
        """Once the claim is filed. Raises `StepFailed`."""
        asks = self._ready.form.documents
        assert asks is not None
        self._files_due = False
        with self._walk.explained():
            documents.send(self._walk, scope, asks, self._ready.submission)
        self._walk.begin("classify page")

    def _look(self, scope: Frame) -> Page:
        try:
            if scope.evaluate("() => document.readyState") == "loading":
                return NothingYet()  # half a page may hold the first of two references, or not yet the "but"
            return classify(scope, self._ready.form, self._walk.pack.markers, self._gate.wire.status)
        except PlaywrightError as error:
            if is_leaving(error):
                return NothingYet()
            raise

    def _scope(self) -> Frame | None:
        match self._ready.form.confirmation.where:
            case "page":
                return self._walk.page.main_frame
            case "frame":
                return self._ready.frame
            case "popup":
                opened = [
                    page for page in self._walk.context.pages if page not in self._pages_before and not page.is_closed()
                ]
                if not opened:
                    return None
                self._page = opened[-1]
                return self._page.main_frame

    def _photograph(self, meanwhile: Callable[[], None] | None = None) -> Artifact | None:
        """The page after the click; None when there is no picture worth anything."""
        try:
            self._walk.learn_cookies()
            self.url = self._page.url
            self.text = visible_text(self._page)
            frame = self._ready.frame
            known = forms.known_handles(frame, self._ready.form) if self._page is self._walk.page else []
            scope = self._scope()
            known += self._repeated(scope) if scope is frame else []
            shot = self._walk.photograph(POST_CONFIRM, {frame: known}, self._page, meanwhile)
        except (CaptureFailed, PlaywrightError):
            return None
        if shot.data == self._ready.before:
            return None
        self.artifacts = [*(piece for piece in self.artifacts if piece.name != POST_CONFIRM), shot]
        return shot

    def _repeated(self, scope: Frame) -> list[ElementHandle]:
        """Where the page repeats what anybody may see."""
        form = self._ready.form
        public = [where for name, where in form.confirmation.shows.items() if form.fields[name].sensitivity == "public"]
        return [handle for where in public for handle in look_up(scope, where).element_handles()]

    def _another_claims(self) -> str:
        """What the page shows otherwise than it was filled in; empty when it repeats it all."""
        form, scope = self._ready.form, self._scope()
        for name, where in form.confirmation.shows.items():
            texts = look_up(scope, where).evaluate_all(forms.TEXTS_OR_VALUES) if scope is not None else []
            wanted = one_line(filling.expected(form.fields[name], self._ready.values.get(name)))
            if [one_line(text) for text in texts] != [wanted]:
                return name
        return ""

    def _take_extras(self) -> None:
        """The page as an archive and as an outline. Whatever goes wrong with them, what was filed stays filed."""
        page, scrubber = self._page, self._walk.scrubber
        try:
            if self._walk.is_loading:
                raise archive.ArchiveRefused("The page is about to be left")
            outline = aria.stripped(page.locator("body").aria_snapshot(timeout=EXTRA_MS))
            whole = archive.snapshot(page)
            apart = archive.rewritten(whole, lambda text: scrubber.text(text, Kind.SECRET))
            public = archive.rewritten(whole, scrubber.text)
        except EXTRA_TROUBLE as error:
            what = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            self.warnings.append(f"The page after the click was not archived: {what}.")
            return
        now = datetime.now(UTC)
        self.artifacts += [
            Artifact(POST_CONFIRM_ARIA, "application/yaml", scrubber.text(outline).encode("utf-8", "replace"), now),
            Artifact(POST_CONFIRM_MHTML, "application/gzip", archive.packed(public), now),
            Artifact(PERSONAL_PAGE, "application/gzip", archive.packed(apart), now),
        ]

    def _accepted(self, verdict: Accepted | AcceptedForLater) -> Outcome:
        """What the page says must still be so when its picture is taken: it may draw itself anew, or move on."""
        for _ in range(READINGS):
            if (said := self._dialog()) is not None:
                return said
            self._walk.begin("post-shot")
            before, still = self._reading(), self._still()
            pictured: list[list[Standing]] = [[]]
            shot = self._photograph(lambda: pictured.append(self._places()))  # noqa: B023 - called before it returns
            self._walk.begin("reference")
            same = before is not None and before == self._reading() and before.verdict == verdict
            if before is not None and same and still is not None and still.is_so():
                if shot is not None:
                    self._take_extras()
                return self._dialog() or self._judge(before, shot, pictured[-1])
        what = "The page said that the claim was taken, and did not stay so while it was read and photographed."
        return Unknown(ReasonCode.OUTCOME_UNKNOWN, what)

    def _reading(self) -> _Reading | None:
        """The page as it is now; None when it is just being replaced."""
        scope = self._scope()
        if scope is None:
            return None
        try:
            url, verdict = self._page.url, self._look(scope)
            rule = self._ready.form.confirmation.reference
            return _Reading(url, verdict, references.anchored(scope, rule), is_busy(scope))
        except PlaywrightError as error:
            if is_leaving(error):
                return None
            raise

    def _still(self) -> Still | None:
        scope = self._scope()
        try:
            return Still(scope, self._ready.form.confirmation.reference) if scope is not None else None
        except PlaywrightError as error:
            if is_leaving(error):
                return None
            raise

    def _places(self) -> list[Standing]:
        """Where the reference stands now."""
        scope, rule = self._scope(), self._ready.form.confirmation.reference
        return [references.anchored(scope, rule).place] if scope is not None else []

    def _judge(self, page: _Reading, shot: Artifact | None, pictured: Sequence[Standing]) -> Outcome:
        rule = self._ready.form.confirmation.reference
        if isinstance(page.verdict, AcceptedForLater):
            if page.place.times:
                return Unknown(
                    ReasonCode.REFERENCE_SUSPECT, f"The page shows a {rule.kind} and says that it comes later."
                )
            return self._for_later(page.verdict)
        if rule.pdf is not None:
            return self._in_pdf(rule.pdf, page, shot)
        found = references.decide(rule, page.place, self._ready.seen, self._adapter.reference_is_plausible)
        if isinstance(found, Unknown):
            return found
        if why := self._worthless(found, page, shot, pictured):
            what = f"The picture or text of the page that shows {found.value} is worthless: {why}."
            return Unknown(ReasonCode.POST_EVIDENCE_MISSING, what)
        return self._of_this_claim(found)

    def _of_this_claim(self, found: Reference) -> Outcome:
        if other := self._another_claims():
            what = f"The page that gives {found.value} does not repeat the claim's '{other}' as it was filled in."
            return Unknown(ReasonCode.REFERENCE_SUSPECT, what)
        return self._second_oracle(found)

    def _in_pdf(self, rule: Pdf, page: _Reading, shot: Artifact | None) -> Outcome:
        """What the linked document says. It is kept whatever that is, if it is one that can be read."""
        if shot is None or page.busy:
            what = "The picture of the page that says yes is missing, or shows a page that was still busy."
            return Unknown(ReasonCode.POST_EVIDENCE_MISSING, what)
        ready, scope = self._ready, self._scope()
        assert scope is not None
        confirmation = ready.form.confirmation
        paper = papers.linked_pdf(self._walk, scope, rule, confirmation.wait_seconds)
        if isinstance(paper, Unknown):
            return paper
        self.artifacts.append(paper.raw)
        wanted = papers.wanted(rule, ready.form, ready.values, ready.submission)
        if why := papers.lacks(paper.text, wanted):
            return Unknown(ReasonCode.REFERENCE_SUSPECT, f"The PDF that the confirmation links {why}.")
        found = papers.reference_in("The PDF", paper.text, confirmation, ready.seen, self._adapter)
        if isinstance(found, Unknown):
            return found
        outcome = self._of_this_claim(found)
        if isinstance(outcome, Filed):
            self.artifacts.append(papers.document(paper, wanted, self._walk.scrubber))
        return outcome

    def _worthless(self, found: Reference, page: _Reading, shot: Artifact | None, pictured: Sequence[Standing]) -> str:
        """What the evidence after the click does not show; empty when it shows all that it should."""
        if shot is None:
            return "there is no picture, or it shows what stood there before the click"
        if found.value not in references.normal(self.text):
            return "its text does not hold the number"
        if page.busy:
            return "the page was still busy"
        letters = [written(found.value, place) for place in pictured]
        if not letters or any(those is None or not inked(those, shot.data) for those in letters):
            return "the picture does not show the number"
        return ""

    def _for_later(self, verdict: AcceptedForLater) -> Outcome:
        listed = self._listed()
        if isinstance(listed, Unknown):
            return listed
        return Pending(verdict.text)

    def _second_oracle(self, found: Reference) -> Outcome:
        path = self._ready.form.confirmation.json_reference
        if path is not None and (said := self._in_json(path)) != found.value:
            what = f"The page shows {found.value}, the portal's answer holds {said or 'no reference'}."
            return Unknown(ReasonCode.REFERENCE_SUSPECT, what)
        listed = self._listed()
        if isinstance(listed, Unknown):
            return listed
        if listed is not None and listed != found.value:
            return Unknown(
                ReasonCode.REFERENCE_SUSPECT, f"The page shows {found.value}, the portal's history lists {listed}."
            )
        return Filed(found)

    def _in_json(self, path: str) -> str | None:
        assert self._gate.response is not None
        value = self._gate.response.json()
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return None if value is None else str(value)

    def _listed(self) -> str | None | Unknown:
        """What the history says the claim's reference is; None when the pack does not ask it."""
        form = self._ready.form
        if not form.confirmation.history:
            return None
        assert form.history is not None
        try:
            with self._walk.explained():
                rows = history.list_filings(self._walk, form.history, self._ready.values)
        except StepFailed as failure:
            what = f"The page says that the claim was taken, but the history could not be asked: {failure.text}"
            return Unknown(ReasonCode.OUTCOME_UNKNOWN, what)
        if not rows:
            what = "The page says that the claim was taken, but the portal's history does not list it."
            return Unknown(ReasonCode.OUTCOME_UNKNOWN, what)
        if len(rows) > 1:
            what = f"The portal's history lists the claim {len(rows)} times."
            return Unknown(ReasonCode.REFERENCE_AMBIGUOUS, what)
        return rows[0].cells[form.history.reference]


def request_artifact(wire: Wire) -> Artifact:
    """`request.json`: what the gate saw, without bodies and without headers but `Date`."""
    seen = {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in vars(replace(wire)).items()
    }
    return Artifact(REQUEST, "application/json", canonical_json(seen).encode(), datetime.now(UTC))
