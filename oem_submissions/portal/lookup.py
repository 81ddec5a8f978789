"""Looks a claim up in the portal's history: rows, references, a picture. It decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection

from playwright.sync_api import ElementHandle
from playwright.sync_api import Error as PlaywrightError

from oem_submissions.domain.evidence import CONTROL, HISTORY, Artifact
from oem_submissions.domain.outcomes import Hit, LookUp, Reference
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import documents
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.capture import CaptureFailed, visible_text
from oem_submissions.portal.history import Row, differences, read_list
from oem_submissions.portal.locators import look_up
from oem_submissions.portal.references import in_cell
from oem_submissions.portal.schema import Form, History
from oem_submissions.portal.steps import Walk
from oem_submissions.ports import Control, Submission

Values = Callable[[Form, Submission], dict[str, str]]
"""A claim as its form wants it, by field name."""


def ask_history(
    walk: Walk, adapter: PortalAdapter, values_of: Values, submission: Submission, control: Control | None
) -> LookUp:
    """What the history lists of the claim, and, when that is nothing, whether it lists the control.

    Nothing is nothing only if the claim is listed neither before the control was found nor after.
    """
    search = _Search(walk, adapter, values_of, submission, HISTORY)
    hits = search.hits()
    text, url = visible_text(walk.page), walk.page.url
    if len(hits) == 1:
        search.complete(hits[0])
    if hits or control is None:
        return LookUp(hits, None, (search.shot(),), text, url)
    second = _Search(walk, adapter, values_of, control.submission, CONTROL)
    found = any(
        isinstance(hit.reference, Reference) and hit.reference.value == control.reference and not hit.differs
        for hit in second.hits()
    )
    if found:
        # The history may have been broken for the first search and whole again for the control's: absence is only
        # what was seen on both sides of it.
        again = _Search(walk, adapter, values_of, submission, HISTORY)
        if hits := again.hits():
            text, url = visible_text(walk.page), walk.page.url
            if len(hits) == 1:
                again.complete(hits[0])
            return LookUp(hits, None, (again.shot(),), text, url)
    return LookUp((), found, (search.shot(), second.shot()), text, url)


class _Search:
    """One search for one claim, with a picture of the page that shows what was found, or that nothing was."""

    def __init__(
        self, walk: Walk, adapter: PortalAdapter, values_of: Values, submission: Submission, name: str
    ) -> None:
        self._form = walk.pack.form(submission.claim.claim_type)
        assert self._form.history is not None, "who asks has read the history's rules first"
        self._walk, self._adapter, self._name = walk, adapter, name
        self._submission = submission
        self._history: History = self._form.history
        self._values = values_of(self._form, submission)
        self._identifying = identifying(self._form, submission)
        self._shot: Artifact | None = None

    def hits(self) -> tuple[Hit, ...]:
        rows = read_list(self._walk, self._history, self._values, self._see)
        if self._shot is None:
            self._photograph()
        return tuple(self._hit(row) for row in rows if self._concerns(row))

    def complete(self, hit: Hit) -> None:
        """Send the files that the filing's own page lacks: it may have been filed, and no more. Raises `StepFailed`."""
        asks = self._form.documents
        if asks is None or not documents.due(asks, self._submission) or hit.differs:
            return
        walk, frame = self._walk, self._walk.page.main_frame
        table, cell = look_up(frame, self._history.table), hit.cells[self._history.reference]
        table.get_by_role("link", name=cell, exact=True).click()
        walk.see(frame, asks.record.marker, "the claim's own page")
        missing = documents.not_listed(frame, asks, self._submission)
        if not missing:
            return
        for click in asks.record.add:
            walk.click(frame, click)
        documents.send(walk, frame, asks, self._submission, missing)

    def shot(self) -> Artifact:
        assert self._shot is not None
        return self._shot

    def _see(self, rows: list[Row]) -> None:
        if self._shot is None and any(self._concerns(row) for row in rows):
            self._photograph()

    def _concerns(self, row: Row) -> bool:
        return resembles(differences(row, self._history, self._values), self._form, self._history, self._identifying)

    def _hit(self, row: Row) -> Hit:
        cells, rule = row.cells, self._form.listed_reference
        text = "\t".join(cells.values())
        reference = in_cell(rule, cells[self._history.reference], text, self._adapter.reference_is_plausible)
        differ = differences(row, self._history, self._values)
        return Hit(cells, reference, tuple(self._history.key[name] for name in differ))

    def _photograph(self) -> None:
        try:
            frame = self._walk.page.main_frame
            self._shot = self._walk.photograph(self._name, {frame: self._public_filters()})
        except (CaptureFailed, PlaywrightError) as error:
            what = f"the history's picture is worthless: {str(error).splitlines()[0]}"
            raise self._walk.failed(ReasonCode.POST_EVIDENCE_MISSING, what) from error

    def _public_filters(self) -> list[ElementHandle]:
        """The filter's inputs that hold what anybody may see; every other one is masked in the picture."""
        frame, fields = self._walk.page.main_frame, self._form.fields
        public = [where for name, where in self._history.search.items() if fields[name].sensitivity == "public"]
        return [handle for where in public for handle in look_up(frame, where).element_handles()]


def identifying(form: Form, submission: Submission) -> frozenset[str]:
    """The key columns that stand for the claim's business identity, by field."""
    assert form.history is not None
    return frozenset(form.history.key) & frozenset(submission.claim.natural_key_fields)


def resembles(differ: Collection[str], form: Form, history: History, identity: Collection[str]) -> bool:
    """Whether a row is the claim, or says so: it carries our reference, or the claim's business identity. Pure."""
    if not differ:
        return True
    ours = form.takes_our_reference
    if ours is not None and ours in history.key and ours not in differ:
        return True
    return bool(identity) and not set(identity) & set(differ)
