"""Codes that a portal sends by e-mail: a real IMAP server, and the simulated Borealis asking for one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyotp
import pytest

from adapters import registry
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.evidence.leaks import leaks
from oem_submissions.portal.mailbox import MailUnavailable, opened
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.ports import Account
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.mail import MailServer, mail_server
from oem_submissions_tests.portal.parts import SHORT, TOTP_SECRET, coop, prepare, with_pack

SENDER, SUBJECT = "no-reply@borealis.example", "Your verification code"
ASKS = """  mailed_code:
    find: {label: Verification code}
    go: {role: button, name: Verify}
    sender: no-reply@borealis.example
    subject: verification code
    pattern: 'code is (?P<code>[0-9]{6})'
    seconds: %d
"""
AUTHENTICATOR = """  totp:
    find: {label: Verification code}
    go: {role: button, name: Verify}
    refused: ["BOR-02 The verification code is not valid."]
"""


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@contextmanager
def arriving(deliver: Callable[[], None]) -> Iterator[None]:
    """It arrives, again and again, while the session goes on."""
    over = threading.Event()

    def keep_on() -> None:
        while not over.wait(0.3):
            deliver()

    thread = threading.Thread(target=keep_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def log_in(
    chromium: BrowserRuntime, simulator: Simulator, folder: Path, mailbox: str | None, seconds: int = 30
) -> None:
    """A claim is prepared, for which the session has to be signed in."""
    simulator.client.add_account("borealis", "10234", "jdoe", "secret-pw-7", "Lakeside Motors", TOTP_SECRET)
    selectors = with_pack(folder, "borealis", AUTHENTICATOR, ASKS % seconds)
    runtime = BrowserRuntime(registry.adapter, selectors, {"borealis": simulator.http_url}, limits=SHORT)
    runtime.browser = chromium.browser  # type: ignore[method-assign]
    account = Account("borealis", "10234", "jdoe", "secret-pw-7", mailbox=mailbox)
    with runtime.portal("borealis").session(account) as session:
        prepare(session, coop("INV-1"))


def the_code() -> str:
    return f"Hello, your code is {pyotp.TOTP(TOTP_SECRET).now()}."


def test_the_newest_code_of_the_right_sender_opens_the_portal_and_the_mailbox_stays_as_it_was(
    chromium: BrowserRuntime, simulator: Simulator, mail: MailServer, tmp_path: Path
) -> None:
    mail.deliver(SENDER, SUBJECT, "Hello, your code is 000000.")
    sent = 0

    def deliver() -> None:
        nonlocal sent
        mail.deliver(SENDER, SUBJECT, f"<style>code is 111111</style><p>{the_code()}</p>", html=True)
        mail.deliver("no-reply@borealis.example.evil.example", SUBJECT, "Hello, your code is 222222.")
        mail.deliver(SENDER, "Newsletter", "The campaign's code is 333333.")
        mail.deliver(SENDER, SUBJECT, "Your code is 444444, no: your code is 555555.")
        mail.deliver_raw(b"From: =?x?q?\xff\nContent-Type: text/plain; charset=none\n\nno message at all \xff")
        sent += 5

    before = mail.unread()
    with arriving(deliver):
        log_in(chromium, simulator, tmp_path, mail.address)
    assert mail.unread() == before + sent


def test_a_code_that_came_before_the_portal_was_asked_is_never_given(
    chromium: BrowserRuntime, simulator: Simulator, mail: MailServer, tmp_path: Path
) -> None:
    mail.deliver(SENDER, SUBJECT, the_code())
    with pytest.raises(StepFailed, match="no mailed code came within 1 seconds") as failed:
        log_in(chromium, simulator, tmp_path, mail.address, seconds=1)
    assert (failed.value.reason, failed.value.step) == (ReasonCode.MFA_REQUIRED, "log in")


def test_an_account_without_a_mailbox_is_told_before_the_password_is_sent(
    chromium: BrowserRuntime, simulator: Simulator, tmp_path: Path
) -> None:
    with pytest.raises(StepFailed, match="the account has no mailbox among its secrets"):
        log_in(chromium, simulator, tmp_path, None)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("imap://u:pw-17@mail.example.com/INBOX", "would be read without encryption: use imaps://"),
        ("https://u:pw-17@mail.example.com", "not of the form imaps://user:password@host/FOLDER"),
        ("imaps://mail.example.com", "not of the form"),
        ("imap://u:pw-17@127.0.0.1:1/INBOX", "can't be reached or read"),
        ("imap://u:pw-17@127.0.0.1:99999/INBOX", "can't be reached or read"),
        ("imap://u:pw-17@{server}/INBOX", "refused the log-in"),
        ("imap://dealer%40example.com:p%40ss%2Fword%3A7@{server}/Other", "has no folder 'Other'"),
    ],
)
def test_a_mailbox_that_can_not_be_read_is_one_sentence_without_the_password(
    address: str, says: str, mail: MailServer
) -> None:
    with (
        pytest.raises(MailUnavailable, match=says) as refused,
        opened(address.format(server=f"127.0.0.1:{mail.port}")),
    ):
        pass
    assert "pw-17" not in str(refused.value)


def test_the_mailbox_password_must_not_stand_in_any_evidence(mail: MailServer) -> None:
    account = Account("borealis", "10234", "jdoe", "secret-pw-7", mailbox=mail.address)
    assert leaks("readback.json", b'{"note": "p@ss/word:7"}', account.needles)
