"""A log-in that the system can't finish goes into a person's hands: shown as pictures, done by mouse and keyboard.

The submit gate is closed all the while, and the person sees nothing but the page. Who that is, and how pictures and
deeds get there, is not decided here (`ports.HandOvers`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Frame, Page

from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.hand_over import Click, Deed, Done, HandOverEnding, Key, Press, Typing
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.locators import is_leaving, is_visible, look_up
from oem_submissions.portal.steps import Walk
from oem_submissions.ports import Account, Attendance, EvidenceUnavailable, HandOvers, LedgerUnavailable, OpenHandOver

_ROUND_MS = 300
"""Between two looks; and what a page has to react to a click before it is shown."""
_LIVE_SECONDS, _IDLE_SECONDS = 3.0, 15.0
"""So often the page is shown anew if it looks different, while somebody has it and while nobody has."""


def hand_over(
    walk: Walk, people: HandOvers | None, account: Account, needed: StepFailed, check: Callable[[], None]
) -> None:
    """Have a person finish the log-in that `needed` one; when it returns the portal shows that we are signed in.

    `check` raises LOGIN_FAILED at a refusal, as in any log-in: that ends it, for a second try may lock the account.
    Raises `StepFailed`: `needed` itself where nobody can be asked, MFA_REQUIRED when nobody came, or gave it up, or did
    not do it in time.
    """
    if people is None:
        raise needed
    asks = walk.scrubber.text(walk.said(needed))
    try:
        opened = people.begin(walk.pack.oem, walk.dealer, asks)
    except (LedgerUnavailable, EvidenceUnavailable) as error:
        raise walk.failed(needed.reason, f"{asks}, and nobody could be asked for help: {error}".rstrip(".")) from error
    ending = HandOverEnding.BROKEN
    try:
        last = _InHands(walk, opened, account, check).until_over()
        ending = last.over or HandOverEnding.SIGNED_IN
    except StepFailed as failure:
        if failure.reason is ReasonCode.LOGIN_FAILED:
            ending = HandOverEnding.REFUSED
        raise
    finally:
        opened.end(ending)
    if ending is not HandOverEnding.SIGNED_IN:
        raise walk.failed(needed.reason, f"{asks}, and {_why_not(last, opened.minutes)}")


def _why_not(last: Attendance, minutes: float) -> str:
    if last.taken_by is None:
        return f"nobody took it within {minutes:.0f} minutes"
    if last.over is HandOverEnding.GIVEN_UP:
        return f"{last.taken_by}, who had it, gave it up"
    return f"{last.taken_by}, who had it, was not signed in within {minutes:.0f} minutes"


class _InHands:
    """The page of one log-in, shown and worked on until it is over."""

    def __init__(self, walk: Walk, opened: OpenHandOver, account: Account, check: Callable[[], None]) -> None:
        self._walk, self._opened, self._account, self._check = walk, opened, account, check
        self._home = _site(walk.page)
        """Where the log-in is: nowhere else is a password filled in."""
        self._shown = b""
        self._shown_at = 0.0
        self._number = 0
        self._first = 0
        """The first picture of the page as it is now: what was meant for the page before is not done to it."""
        self._typed = ""

    def until_over(self) -> Attendance:
        """Until the portal shows that we are signed in (`over` is None), or nobody helps any more."""
        walk = self._walk
        page = walk.page
        page.on("framenavigated", self._note_page)
        try:
            attendance, answered = Attendance((), None, None), False
            while attendance.over is None:
                walk.watch.alive()
                walk.pause()
                if is_visible(page.main_frame, walk.pack.login.signed_in):
                    walk.dialogs.undeclared.clear()  # they were the log-in's, and not the form's
                    return attendance
                self._check_still_asked()
                self._show(attendance, answered)
                attendance = self._opened.attendance()
                for done in attendance.done:
                    self._do(done)
                answered = bool(attendance.done)
                page.wait_for_timeout(_ROUND_MS)
            return attendance
        finally:
            page.remove_listener("framenavigated", self._note_page)

    def _note_page(self, frame: Frame) -> None:
        if frame == self._walk.page.main_frame:
            self._first, self._typed = self._number + 1, ""

    def _check_still_asked(self) -> None:
        """Raises `StepFailed` for a refusal, and for what ends any log-in. That a person is needed is known."""
        for popup in self._walk.context.pages:
            if popup is not self._walk.page:
                popup.close()
        try:
            self._check()
        except StepFailed as failure:
            if failure.reason is not ReasonCode.MFA_REQUIRED:
                raise
            self._walk.check_state(still_waiting=True)

    def _show(self, attendance: Attendance, answered: bool) -> None:
        """The page, if it looks different from time to time, and always after something was done."""
        every = _IDLE_SECONDS if attendance.taken_by is None else _LIVE_SECONDS
        fresh = self._number < self._first or not self._shown
        if not (answered or fresh or time.monotonic() - self._shown_at >= every):
            return
        first = self._first
        try:
            if fresh:
                self._fill_again()
            picture = self._picture()
        except PlaywrightError as error:
            if not is_leaving(error):
                raise
            return  # to another page, which is shown at the next look
        if first != self._first:
            return  # it shows the page before
        if picture != self._shown or answered or fresh:
            self._number = self._opened.show(_site(self._walk.page), picture)
        self._shown, self._shown_at = picture, time.monotonic()

    def _fill_again(self) -> None:
        """A log-in form that came back empty, with its puzzle: the person sends it, and need not know the password."""
        login, frame = self._walk.pack.login, self._walk.page.main_frame
        if _site(self._walk.page) != self._home:
            return
        for locator, value in ((login.user, self._account.username), (login.password, self._account.password)):
            found = look_up(frame, locator) if locator is not None else None
            if found is not None and found.count() == 1 and found.is_visible() and found.is_editable():
                found.fill(found.input_value() or value)

    def _picture(self) -> bytes:
        """What the viewport shows, at its own size: a point of the picture is a point of the page.

        Without the password: a page may have a button that shows it.
        """
        page, password = self._walk.page, self._walk.pack.login.password
        hidden = [look_up(page.main_frame, password)] if password is not None else []
        return page.screenshot(type="jpeg", quality=70, scale="css", mask=hidden, mask_color="#777777")

    def _do(self, done: Done) -> None:
        if done.picture < self._first:
            return  # the page is another one than the person saw
        self._learn(done.deed)
        page = self._walk.page
        match done.deed:
            case Click(x, y):
                page.mouse.click(x, y)
            case Typing(text):
                page.keyboard.type(text)
            case Press(key):
                page.keyboard.press(key)

    def _learn(self, deed: Deed) -> None:
        """What is typed is a secret, and so is what it makes together with what was typed just before."""
        match deed:
            case Typing(text):
                self._typed += text
                self._walk.scrubber.learn("what a person typed", [text, self._typed])
            case Press(Key.BACKSPACE):
                self._typed = self._typed[:-1]
            case Click() | Press():
                self._typed = ""


def _site(page: Page) -> str:
    parts = urlsplit(page.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"[:200]
