"""From the portal's entry to being signed in: password, authenticator's code, "signed in elsewhere". One try only."""

from __future__ import annotations

import time

import pyotp

from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.capture import visible_text
from oem_submissions.portal.locators import is_visible, look_up
from oem_submissions.portal.steps import Walk
from oem_submissions.ports import Account


def sign_in(walk: Walk, base_url: str, account: Account) -> None:
    """Sign in to the portal.

    Raises `StepFailed`: LOGIN_FAILED at the first refusal (a second try may lock the account), MFA_REQUIRED,
    PORTAL_MAINTENANCE, PORTAL_UNAVAILABLE, SELECTOR_NOT_FOUND.
    """
    login = walk.pack.login
    answer = walk.page.goto(f"{base_url.rstrip('/')}{login.path}", wait_until="domcontentloaded")
    if login.method == "basic" and answer is not None and answer.status in (401, 403):  # the page may be empty
        raise walk.failed(ReasonCode.LOGIN_FAILED, f"the portal refused the log-in with HTTP {answer.status}")
    frame = walk.page.main_frame
    if login.method == "form":
        assert login.user is not None
        assert login.password is not None
        assert login.go is not None
        walk.see(frame, login.user, "the log-in's user field").fill(account.username)
        walk.see(frame, login.password, "the log-in's password field").fill(account.password)
        walk.see(frame, login.go, "the log-in's button").click()
    _until_signed_in(walk, account)


def _until_signed_in(walk: Walk, account: Account) -> None:
    login, frame = walk.pack.login, walk.page.main_frame
    deadline = time.monotonic() + walk.limits.page_seconds
    code_given = went_on = False
    while time.monotonic() < deadline:
        walk.pause()
        if is_visible(frame, login.signed_in):
            return
        if login.totp and not code_given and is_visible(frame, login.totp.find):
            code_given = True
            code = _code(walk, account)
            walk.scrubber.learn("an authenticator's code", [code])
            look_up(frame, login.totp.find).fill(code)
            look_up(frame, login.totp.go).click()
        elif login.elsewhere and not went_on and is_visible(frame, login.elsewhere.marker):
            went_on = True
            look_up(frame, login.elsewhere.go_on).click()
        else:
            _check_refused(walk)
    walk.check_state()
    raise walk.failed(ReasonCode.SELECTOR_NOT_FOUND, "after the log-in the page is none that the pack knows")


def _check_refused(walk: Walk) -> None:
    login, text = walk.pack.login, visible_text(walk.page)
    refusals = (*login.refused, *(login.totp.refused if login.totp else ()))
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
