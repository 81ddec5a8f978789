"""From the portal's entry to being signed in: password, a code by authenticator or e-mail, "signed in elsewhere".

One try only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import pyotp
import re2

from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.capture import visible_text
from oem_submissions.portal.hand_over import hand_over
from oem_submissions.portal.locators import Locator, is_visible, look_up
from oem_submissions.portal.mailbox import Mail, Mailbox, MailUnavailable, opened
from oem_submissions.portal.schema import MailedCode, Totp
from oem_submissions.portal.steps import Walk
from oem_submissions.ports import Account, HandOvers

_MAIL_MS = 1000
"""Between two looks into the mailbox."""
_BLINK = 1.0
"""Seconds that a log-in form stands there before it counts: a script may take it away for who is signed in."""


def sign_in(walk: Walk, base_url: str, account: Account, people: HandOvers | None = None) -> None:
    """Sign in to the portal; what only a person can answer is handed over to `people`, if there are any.

    Raises `StepFailed`: LOGIN_FAILED at the first refusal (a second try may lock the account), MFA_REQUIRED,
    PORTAL_MAINTENANCE, PORTAL_UNAVAILABLE, SELECTOR_NOT_FOUND.
    """
    needed = None
    with _mail(walk, account) as mail:
        try:
            _enter(walk, base_url, account)
            _until_signed_in(walk, account, mail)
        except StepFailed as failure:
            if failure.reason is not ReasonCode.MFA_REQUIRED:
                raise
            needed = failure
    if needed is not None:
        hand_over(walk, people, account, needed, partial(_check_refused, walk))


def find_signed_in(walk: Walk, base_url: str) -> None:
    """Enter the portal, which should take us for signed in. Nothing is filled in, so nothing can be refused.

    Raises `StepFailed` when it does not.
    """
    login, frame = walk.pack.login, walk.page.main_frame
    path = (login.reuse.path if login.reuse else None) or login.path
    walk.page.goto(_at(base_url, path), wait_until="domcontentloaded")
    forms = [one for one in (login.user, login.password) if one]
    deadline = time.monotonic() + walk.limits.action_seconds
    while time.monotonic() < deadline:
        walk.pause()
        if is_visible(frame, login.signed_in):
            return
        if is_visible(frame, *forms):
            deadline, forms = min(deadline, time.monotonic() + _BLINK), []
        walk.check_state(still_waiting=True)
    raise walk.failed(ReasonCode.SESSION_EXPIRED, "the portal does not know the kept session any more")


def _at(base_url: str, path: str) -> str:
    return f"{base_url.rstrip('/')}{path}"


def _enter(walk: Walk, base_url: str, account: Account) -> None:
    login = walk.pack.login
    answer = walk.page.goto(_at(base_url, login.path), wait_until="domcontentloaded")
    if login.method == "basic" and answer is not None and answer.status in (401, 403):  # the page may be empty
        raise walk.failed(ReasonCode.LOGIN_FAILED, f"the portal refused the log-in with HTTP {answer.status}")
    frame = walk.page.main_frame
    if login.method == "form":
        assert login.user is not None
        assert login.password is not None
        assert login.go is not None
        walk.see(frame, login.user, "the log-in's user field").fill(account.username)
        if login.next is not None:
            walk.see(frame, login.next.click, "the log-in's way to the password").click()
            _until_password(walk, login.next.then or login.password)
        walk.see(frame, login.password, "the log-in's password field").fill(account.password)
        walk.see(frame, login.go, "the log-in's button").click()


def _until_password(walk: Walk, marker: Locator) -> None:
    """Raises `StepFailed` when the portal refuses the user, or asks for something else."""
    deadline = time.monotonic() + walk.limits.page_seconds
    while time.monotonic() < deadline:
        walk.pause()
        if is_visible(walk.page.main_frame, marker):
            return
        _check_refused(walk)
    raise walk.failed(ReasonCode.SELECTOR_NOT_FOUND, "after the user's name the portal does not ask for the password")


def _until_signed_in(walk: Walk, account: Account, mail: _Mail | None) -> None:
    login, frame = walk.pack.login, walk.page.main_frame
    deadline = time.monotonic() + walk.limits.page_seconds
    code_given = mailed_given = went_on = False
    while time.monotonic() < deadline:
        walk.pause()
        if is_visible(frame, login.signed_in):
            return
        if login.totp and not code_given and is_visible(frame, login.totp.find):
            code_given = True
            _give(walk, login.totp, "an authenticator's code", _code(walk, account))
        elif mail and not mailed_given and is_visible(frame, mail.rule.find):
            mailed_given = True
            _give(walk, mail.rule, "a mailed code", mail.code(walk))
            deadline = time.monotonic() + walk.limits.page_seconds
        elif login.elsewhere and not went_on and is_visible(frame, login.elsewhere.marker):
            went_on = True
            look_up(frame, login.elsewhere.go_on).click()
        else:
            _check_refused(walk)
    walk.check_state()
    raise walk.failed(ReasonCode.SELECTOR_NOT_FOUND, "after the log-in the page is none that the pack knows")


def _give(walk: Walk, asked: Totp | MailedCode, kind: str, code: str) -> None:
    walk.scrubber.learn(kind, [code])
    look_up(walk.page.main_frame, asked.find).fill(code)
    look_up(walk.page.main_frame, asked.go).click()


def _check_refused(walk: Walk) -> None:
    login, text = walk.pack.login, visible_text(walk.page)
    asked = (one for one in (login.totp, login.mailed_code) if one)
    refusals = (*login.refused, *(words for one in asked for words in one.refused))
    if said := next((words for words in refusals if words in text), None):
        raise walk.failed(ReasonCode.LOGIN_FAILED, f"the portal refused the log-in: '{said}'")
    if said := next((words for words in login.needs_person if words in text), None):
        raise walk.failed(
            ReasonCode.MFA_REQUIRED, f"the portal asks for a second factor that only a person has: '{said}'"
        )
    walk.check_state(still_waiting=True)


def _code(walk: Walk, account: Account) -> str:
    if account.totp_secret is None:
        raise walk.failed(
            ReasonCode.MFA_REQUIRED, "the portal asks for an authenticator's code, and the account has no TOTP secret"
        )
    return pyotp.TOTP(account.totp_secret).now()


# --- codes by e-mail ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mail:
    """The mailbox that the code comes to, as it was before the portal was asked for one."""

    rule: MailedCode
    mailbox: Mailbox
    mark: int

    def code(self, walk: Walk) -> str:
        """The newest message's. Raises `StepFailed` (MFA_REQUIRED) when none came in time."""
        deadline = time.monotonic() + self.rule.seconds
        while time.monotonic() < deadline:
            with _readable(walk):
                found = next(filter(None, map(self._code_in, self.mailbox.since(self.mark))), None)
            if found:
                return found
            walk.page.wait_for_timeout(_MAIL_MS)
            walk.check_state(still_waiting=True)
        raise walk.failed(ReasonCode.MFA_REQUIRED, f"no mailed code came within {self.rule.seconds} seconds")

    def _code_in(self, mail: Mail) -> str | None:
        if mail.sender != self.rule.sender.lower() or self.rule.subject not in mail.subject:
            return None
        codes = {match.group("code") for match in re2.finditer(self.rule.pattern, mail.text)}
        return codes.pop() if len(codes) == 1 else None


@contextmanager
def _mail(walk: Walk, account: Account) -> Iterator[_Mail | None]:
    """Opened before the portal is asked, so that an older code is never taken for the new one."""
    rule = walk.pack.login.mailed_code
    if rule is None:
        yield None
        return
    if account.mailbox is None:
        what = "the portal sends a code by e-mail, and the account has no mailbox among its secrets"
        raise walk.failed(ReasonCode.MFA_REQUIRED, what)
    with ExitStack() as stack:
        with _readable(walk):
            mailbox = stack.enter_context(opened(account.mailbox))
            mark = mailbox.mark()
        yield _Mail(rule, mailbox, mark)


@contextmanager
def _readable(walk: Walk) -> Iterator[None]:
    try:
        yield
    except MailUnavailable as error:
        raise walk.failed(ReasonCode.MFA_REQUIRED, f"the mailed code can't be read: {error}".rstrip(".")) from error
