"""Looks for the e-mail that gives a claim's reference. It files nothing, and leaves the mailbox as it is.

A From can be forged. Where the mailbox' address names its server's `authserv_id`, a message counts only when that
server found it to be the sender's.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from playwright.sync_api import Browser

from oem_submissions.domain.evidence import MAIL, PERSONAL_MAIL, Artifact
from oem_submissions.domain.outcomes import Reference, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import papers
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.capture import limit, one_line, picture
from oem_submissions.portal.mail_authentication import is_authentic
from oem_submissions.portal.mailbox import Mail, MailUnavailable, authserv_id, opened
from oem_submissions.portal.papers import Paper
from oem_submissions.portal.schema import Email, Form
from oem_submissions.portal.scrubbing import Scrubber
from oem_submissions.ports import Account

_PAGE = """<!doctype html><meta charset="utf-8"><title>E-mail</title>
<style>body {{ font: 16px/1.5 sans-serif; margin: 2rem; }} pre {{ white-space: pre-wrap; font: inherit; }}</style>
<p>An e-mail, written out by oem_submissions from the message as it came.</p>
<p>From: {sender}<br>Subject: {subject}<br>Received: {received}</p>
<p>It says: “<b>{said}</b>”</p><hr><pre>{text}</pre>"""
MOST = 20
"""Messages about one claim that are looked at: more are no portal's."""
_MOST_SHOWN = 16 * 1024
"""Bytes of its text that the picture shows below the words with the number."""


@dataclass(frozen=True)
class Mailed:
    """What the mailbox says of one claim."""

    found: Reference | Unknown
    paper: Paper | None = None
    """The message that says the reference, the first one."""


def ask_mailbox(
    account: Account, form: Form, adapter: PortalAdapter, wanted: tuple[str, ...], since: datetime
) -> Mailed:
    """What came since the click. Raises nothing: a mailbox that can't be read says nothing yet."""
    rule = form.confirmation.email
    assert rule is not None
    if account.mailbox is None:
        return Mailed(_nothing("The number comes by e-mail, and the account has no `mailbox` among its secrets."))
    try:
        trusted = authserv_id(account.mailbox)
        found = list(islice(_about(account.mailbox, rule, wanted, since, trusted), MOST + 1))
    except MailUnavailable as error:
        return Mailed(_nothing(f"The number comes by e-mail, which can't be read. {error}"))
    if len(found) > MOST:
        what = f"More than {MOST} e-mails of {rule.sender} say that they are about the claim."
        return Mailed(Unknown(ReasonCode.REFERENCE_AMBIGUOUS, what))
    said = [(paper, papers.reference_in("The e-mail", paper.text, form.confirmation, (), adapter)) for paper in found]
    doubts = [one for _, one in said if isinstance(one, Unknown) and one.reason is not ReasonCode.REFERENCE_MISSING]
    if doubts:
        return Mailed(doubts[0])
    given = [(paper, one) for paper, one in said if isinstance(one, Reference)]
    if not given:
        return Mailed(_nothing(_not_there(rule, wanted, since, trusted)))
    if len(numbers := sorted({reference.value for _, reference in given})) > 1:
        what = f"Several e-mails give the claim different numbers: {', '.join(numbers[:5])}."
        return Mailed(Unknown(ReasonCode.REFERENCE_AMBIGUOUS, what))
    return Mailed(given[0][1], given[0][0])


def _about(mailbox: str, rule: Email, wanted: tuple[str, ...], since: datetime, trusted: str | None) -> Iterator[Paper]:
    """The messages that are about the claim, oldest first."""
    with opened(mailbox) as folder:
        for mail in folder.of_sender(rule.sender, since):
            paper = _paper(mail, trusted)
            right = (
                len(paper.text) <= papers.TEXT_LIMIT
                and one_line(rule.subject).casefold() in one_line(mail.subject).casefold()
            )
            authentic = trusted is None or is_authentic(mail.results, mail.sender, trusted)
            if right and authentic and not papers.lacks(paper.text, wanted):
                yield paper


def _paper(mail: Mail, trusted: str | None) -> Paper:
    received = mail.received or datetime.now(UTC)
    told = {
        "from": mail.sender,
        "subject": limit(one_line(mail.subject), 500),
        "received": received.isoformat(),
        "authentic_by": trusted or "nobody: the mailbox' address names no authserv_id",
    }
    raw = Artifact(PERSONAL_MAIL, "message/rfc822", mail.raw, received)
    return Paper("email", raw, f"{mail.subject}\n{mail.whole}", told)


def _not_there(rule: Email, wanted: tuple[str, ...], since: datetime, trusted: str | None) -> str:
    says = ", ".join(f"'{words}'" for words in wanted)
    by = f", and that {trusted} found authentic" if trusted else ""
    return (
        f"No e-mail gives the number: looked for was one of {rule.sender} with '{rule.subject}' in its subject that"
        f" came since {since:%Y-%m-%d %H:%M} UTC and says {says}{by}."
    )


def _nothing(what: str) -> Unknown:
    return Unknown(ReasonCode.REFERENCE_MISSING, what)


def photograph(browser: Browser, paper: Paper, reference: Reference, scrubber: Scrubber) -> Artifact:
    """What the e-mail says as a picture, in a browser without a network. Raises `CaptureFailed`, `PlaywrightError`."""
    context = browser.new_context(offline=True, service_workers="block", viewport={"width": 1280, "height": 600})
    try:
        page = context.new_page()
        shown = {
            "sender": paper.told["from"],
            "subject": paper.told["subject"],
            "received": paper.told["received"],
            "said": reference.raw_text,
            "text": limit(paper.text, _MOST_SHOWN),
        }
        page.set_content(_PAGE.format(**{name: html.escape(value) for name, value in shown.items()}))
        return picture(page, MAIL, scrubber=scrubber)
    finally:
        context.close()
