"""The named steps, and the walk through one portal's pages: wait, click, and say in words what went wrong.

It knows the pack's texts for log-in, maintenance and ended sessions. Filling, gate and outcome are elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from playwright.sync_api import BrowserContext, ElementHandle, Frame, Page, Request, Response
from playwright.sync_api import Dialog as NativeDialog
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Locator as Found
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from oem_submissions.domain.evidence import Artifact
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.needles import looks_like_token
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.capture import CaptureFailed, limit, picture, visible_text
from oem_submissions.portal.locators import Locator, in_words, is_visible, look_up
from oem_submissions.portal.packs import Pack
from oem_submissions.portal.schema import Click
from oem_submissions.portal.scrubbing import Scrubber
from oem_submissions.portal.watch import Watch

log = logging.getLogger(__name__)
POLL_MS = 20
"""How often a page is looked at while something is waited for."""
DIALOGS = 10
"""Undeclared dialogs that are noted: a page may open them in a loop."""
DIALOG_BYTES = 1000
"""Of an undeclared dialog's text that are noted."""

STEPS = (
    "log in",
    "open form",
    "check contract",
    "fill",
    "attach",
    "read back",
    "pre-shot",
    "arm",
    "submit",
    "classify page",
    "post-shot",
    "reference",
)
"""The whole procedure. `arm` is the service's: it stands between `prepare()` and `submit()`."""
LOOK_UP = "look up"
"""Reading the portal's history for a held claim: no part of that procedure."""


@dataclass(frozen=True)
class Limits:
    """How long the portal may take, in seconds."""

    page_seconds: float = 30.0
    """For a page to load."""
    action_seconds: float = 10.0
    """For an element to appear, and for a click to find it ready."""
    sent_seconds: float = 5.0
    """For the submit request to leave after the click."""
    answer_seconds: float = 30.0
    """For the submit request to be answered."""
    standstill_seconds: float = 30.0
    """How long our own process may stand still while the request is under way; less than any settle window."""
    silence_seconds: float = 60.0
    """How long a page may leave a question unanswered: more than page_seconds and action_seconds together."""


@dataclass
class Dialogs:
    """Answers native dialogs: the declared one once, all others with "cancel" and a note."""

    declared: str | None = None
    undeclared: list[str] = field(default_factory=list)
    leaving: bool = False
    """Whether we leave a page ourselves, so that its "leave this page?" is answered with yes."""

    def install(self, context: BrowserContext) -> None:
        context.on("dialog", self._answer)

    def _answer(self, dialog: NativeDialog) -> None:
        if dialog.type == "beforeunload" and self.leaving:
            dialog.accept()
        elif self.declared is not None and dialog.message == self.declared:
            self.declared = None
            dialog.accept()
        else:
            if len(self.undeclared) < DIALOGS:
                self.undeclared.append(limit(dialog.message, DIALOG_BYTES))
            dialog.dismiss()


@dataclass
class Walk:
    """One session's way through a portal: where it is, for which claim, at which step."""

    context: BrowserContext
    page: Page
    pack: Pack
    dealer: str
    limits: Limits
    extra: Mapping[str, str]
    """Goes with every log record, for example the run's id."""
    scrubber: Scrubber
    """The session's."""
    claim_id: str = ""
    step: str = ""
    dialogs: Dialogs = field(default_factory=Dialogs)
    _statuses: dict[Frame, int] = field(default_factory=dict)
    _pending: set[Request] = field(default_factory=set)
    """Navigations without an answer yet. In a page that waits for one, Chromium evaluates nothing, without time-out."""

    def __post_init__(self) -> None:
        self.watch = Watch(lambda: close(self.context), self.limits.silence_seconds)
        self.dialogs.install(self.context)
        self.context.on("request", self._note_request)
        self.context.on("response", self._note_status)
        self.context.on("requestfailed", self._note_failure)
        self.context.set_default_timeout(self.limits.action_seconds * 1000)
        self.context.set_default_navigation_timeout(self.limits.page_seconds * 1000)

    @property
    def wait_ms(self) -> float:
        """How long an element may take to appear."""
        return self.limits.action_seconds * 1000

    def begin(self, step: str, detail: str = "") -> None:
        """Start a step. Raises `StepFailed` when the step before opened a dialog that nobody declared."""
        self.check_dialogs()
        self.watch.alive()
        self.step = step
        record = {"oem": self.pack.oem, "dealer": self.dealer, "claim_id": self.claim_id, "step": step, **self.extra}
        number = f"{STEPS.index(step) + 1}/{len(STEPS)}" if step in STEPS else "–"
        log.info("STEP %s %s%s", number, step, f" ({detail})" if detail else "", extra=record)

    def check_dialogs(self) -> None:
        """Raises `StepFailed` (UNEXPECTED_DIALOG) with the dialog's text."""
        if self.dialogs.undeclared:
            said = " | ".join(self.dialogs.undeclared)
            self.dialogs.undeclared.clear()
            raise self.failed(
                ReasonCode.UNEXPECTED_DIALOG, f"the page opened a dialog that the pack does not declare: '{said}'"
            )

    def failed(self, reason: ReasonCode, what: str) -> StepFailed:
        """The exception to raise: one sentence that names claim, OEM, dealer, step and what happened."""
        return StepFailed(reason, f"{self._where()}{what}.", self.step)

    def said(self, failure: StepFailed) -> str:
        """What happened, without where: that of a failure of this walk's present step."""
        return failure.text.removeprefix(self._where()).rstrip(".")

    def _where(self) -> str:
        claim = f"Claim {self.claim_id}" if self.claim_id else "The session"
        return f"{claim} ({self.pack.oem}, dealer {self.dealer}) at '{self.step}': "

    @contextmanager
    def explained(self) -> Iterator[None]:
        """The page is watched, and what Playwright raises leaves as `StepFailed`, by what the page says."""
        self.watch.alive()
        try:
            with self._timeouts_explained():
                yield
        except PlaywrightError as error:
            self.check_dialogs()
            said = self.silence or f"the portal or the browser failed: {error.message.splitlines()[0]}"
            raise self.failed(ReasonCode.PORTAL_UNAVAILABLE, said) from error
        finally:
            self.watch.rest()

    @contextmanager
    def _timeouts_explained(self) -> Iterator[None]:
        try:
            yield
        except PlaywrightTimeout as error:
            self.check_state()
            what = f"the portal did not answer within {self.limits.page_seconds:g} seconds"
            raise self.failed(ReasonCode.PORTAL_UNAVAILABLE, what) from error

    @property
    def silence(self) -> str:
        """What to say when a page was given up because it did not react; else nothing."""
        seconds = self.limits.silence_seconds
        return f"the page did not react for {seconds:g} seconds and was closed" if self.watch.closed else ""

    def pause(self) -> None:
        """Wait a moment, and longer while a page is being loaded. Raises `StepFailed` when that takes too long."""
        waited = 0.0
        while True:
            self.page.wait_for_timeout(POLL_MS)
            waited += POLL_MS
            if not self._pending:
                return
            if waited >= self.limits.page_seconds * 1000:
                self.check_state()
                what = f"the portal did not answer within {self.limits.page_seconds:g} seconds"
                raise self.failed(ReasonCode.PORTAL_UNAVAILABLE, what)

    def stop_loading(self) -> None:
        """Give up what the pages still wait for, so that they can be read."""
        for page in self.context.pages:
            try:
                self.context.new_cdp_session(page).send("Page.stopLoading")
            except PlaywrightError as error:  # it is closed, or has just got its answer
                log.debug("Nothing to stop: %s", error.message)
        self._pending.clear()

    def see(self, scope: Frame, locator: Locator, what: str) -> Found:
        """Wait until exactly this is visible. Raises `StepFailed` with what the page is instead."""
        found = look_up(scope, locator)
        if self._pending:
            self.pause()
        if self._statuses.get(scope, 0) >= 500 and not found.first.is_visible():
            self.check_state()  # what a page of an error lacks does not appear by waiting
        try:
            found.first.wait_for(state="visible", timeout=self.wait_ms)
        except PlaywrightTimeout:
            self.check_dialogs()
            self.check_state()
            raise self.failed(
                ReasonCode.SELECTOR_NOT_FOUND, f"{what}: {in_words(locator)} is not on the page"
            ) from None
        self.watch.alive()
        return found

    def photograph(
        self,
        name: str,
        shown: dict[Frame, list[ElementHandle]] | None = None,
        page: Page | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Artifact:
        """The page, or the one that is given, without what the session has to hide; `meanwhile` as `picture` says.

        Raises `CaptureFailed`: always for a page that asks for log-in, whatever else is on it.
        """
        page = page or self.page
        if self._asks_for_log_in(page):
            raise CaptureFailed("A page that asks for log-in is not photographed.")
        return picture(page, name, shown, self.scrubber, meanwhile)

    def _asks_for_log_in(self, page: Page) -> bool:
        login, frame = self.pack.login, page.main_frame
        codes = [one.find for one in (login.totp, login.mailed_code) if one]
        if is_visible(frame, *([login.password] if login.password else []), *codes):
            return True
        if login.next is None or login.user is None:
            return False
        # The first page of two. Both: a field or a button like these may stand in a form, too.
        return is_visible(frame, login.user) and is_visible(frame, login.next.click)

    def learn_cookies(self) -> None:
        """What the portal tells us apart by is secret: cookies that no script may read, or that were made by chance."""
        try:
            cookies = self.context.cookies()
        except PlaywrightError as error:  # the browser died; what it has shown is no picture any more either
            log.info("The cookies can't be read: %s", error.message)
            return
        learn_cookies(self.scrubber, cookies)

    @property
    def is_loading(self) -> bool:
        """Whether a page waits for an answer, and would answer nothing itself."""
        return bool(self._pending)

    def click(self, scope: Frame, click: Click) -> None:
        """Click, and wait for what must be there then."""
        self.see(scope, click.click, "a link or button on the way").click()
        if click.then is not None:
            self.see(scope, click.then, "the page behind it")

    def check_state(self, *, still_waiting: bool = False) -> None:
        """Raises `StepFailed` when the page says maintenance, session over, or server error.

        Gives up what is still loading, so that the page can be read at all, unless it is `still_waiting` for it.
        """
        if self._pending:
            if still_waiting:
                return
            self.stop_loading()
        if self.page.is_closed():
            raise self.failed(ReasonCode.PORTAL_UNAVAILABLE, "the page was closed or the browser died")
        text = visible_text(self.page)
        markers = self.pack.markers
        for reason, texts in (
            (ReasonCode.PORTAL_MAINTENANCE, markers.maintenance),
            (ReasonCode.SESSION_EXPIRED, markers.session_expired),
            (ReasonCode.PORTAL_UNAVAILABLE, markers.unavailable),
        ):
            if said := next((words for words in texts if words in text), None):
                raise self.failed(reason, f"the page says '{said}'")
        if self.step not in ("", STEPS[0]) and self._asks_for_log_in(self.page):
            raise self.failed(ReasonCode.SESSION_EXPIRED, "the page asks for log-in again")
        worst = max((self._statuses.get(frame, 0) for frame in self.page.frames), default=0)
        if worst >= 500:
            raise self.failed(ReasonCode.PORTAL_UNAVAILABLE, f"the portal answered HTTP {worst}")

    def _note_request(self, request: Request) -> None:
        if request.is_navigation_request():
            self._pending.add(request)

    def _note_failure(self, request: Request) -> None:
        self._pending.discard(request)

    def _note_status(self, response: Response) -> None:
        request = response.request
        if request.is_navigation_request():
            self._pending.discard(request)
            self._statuses[request.frame] = response.status


def learn_cookies(scrubber: Scrubber, cookies: Iterable[Mapping[str, Any]]) -> None:
    """Those that no script may read, or that were made by chance, are secret."""
    for cookie in cookies:
        value = cookie.get("value", "")
        if len(value) >= 8 and (cookie.get("httpOnly") or looks_like_token(value)):
            scrubber.learn(f"the cookie {cookie.get('name', '')}", [value, unquote(value)])


def close(context: BrowserContext) -> None:
    """Close it, also when it is closed or its browser died."""
    try:
        context.close()
    except PlaywrightError as error:
        log.info("Closing the browser context failed: %s", error.message.splitlines()[0])
