"""A dealer's mailbox, read over IMAP (RFC 9051): what a portal sends there. Nothing in it is changed or marked as read.

What a message means is the asker's; mail is hostile input like every page.
"""

from __future__ import annotations

import email.policy
import imaplib
import ipaddress
import re
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import format_datetime
from html.parser import HTMLParser
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

TIMEOUT = 15.0
"""Seconds for each answer of the server."""
LARGEST = 5_000_000
"""Bytes; a larger message is passed over."""
MOST = 50
"""New messages that are looked at, the newest: a mailbox may be flooded."""
MOST_OF_SENDER = 500
"""Messages of one sender that are looked through: of more, nobody can tell what was not seen."""
MOST_SECONDS = 120.0
"""For all of them."""
CLOCKS = timedelta(minutes=2)
"""So much the mail server's clock may be behind the database's."""
_AT_ONCE = 300
_BROKEN = (LookupError, ValueError, TypeError, AttributeError, AssertionError, RecursionError)
"""What the standard library's parser raises at hostile messages."""


class MailUnavailable(Exception):
    """The mailbox can't be read: one sentence, without the password."""


@dataclass(frozen=True)
class Mail:
    """A message."""

    raw: bytes
    """As it came (RFC 5322)."""
    sender: str
    """The address in From, small letters. Anybody can write what he likes there."""
    subject: str
    text: str
    """Its plain text; of a message that is HTML alone, what that shows."""
    whole: str = ""
    """Every text of it, plain ones and what HTML shows: they may say different things."""
    results: tuple[str, ...] = ()
    """Its `Authentication-Results`, the topmost first: anybody may have written those that are not the server's."""
    received: datetime | None = None
    """When the server took it, where that was asked for."""


class Mailbox:
    """A folder that is open for reading."""

    def __init__(self, connection: imaplib.IMAP4, folder: str) -> None:
        self._connection, self._folder = connection, folder
        self._validity = self._number("UIDVALIDITY")

    def mark(self) -> int:
        """What comes from now on has this number or a higher one. Raises `MailUnavailable`."""
        with _explained():
            return self._number("UIDNEXT")

    def since(self, mark: int) -> list[Mail]:
        """What came since the mark, newest first. Raises `MailUnavailable`."""
        with _explained():
            if self._number("UIDVALIDITY") != self._validity:
                raise MailUnavailable("The mailbox was made anew meanwhile: what is new in it can't be told.")
            self._connection.noop()
            _, (found, *_) = self._connection.uid("search", f"UID {mark}:* SMALLER {LARGEST}")
            new = [int(uid) for uid in (found or b"").split() if int(uid) >= mark]  # `n:*` is never empty
            return [mail for uid in sorted(new, reverse=True)[:MOST] if (mail := self._read(uid)) is not None]

    def of_sender(self, sender: str, since: datetime) -> Iterator[Mail]:
        """What came from an address since then, oldest first. Raises `MailUnavailable`, also when that is too much."""
        with _explained():
            self._connection.noop()
            day = format_datetime(since - timedelta(days=2))[5:16].replace(" ", "-")  # in the server's own time zone
            wanted = f"SINCE {day} SMALLER {LARGEST} FROM {_quoted(sender)}"
            _, (found, *_) = self._connection.uid("search", wanted)
            times = self._times([int(uid) for uid in (found or b"").split()])
        new = sorted(uid for uid, at in times.items() if at >= since - CLOCKS)
        if len(new) > MOST_OF_SENDER:
            what = f"More than {MOST_OF_SENDER} messages of {sender} came since {since:%Y-%m-%d %H:%M} UTC"
            raise MailUnavailable(f"{what}: they can't be looked through.")
        deadline = time.monotonic() + MOST_SECONDS
        for uid in new:
            if time.monotonic() > deadline:
                raise MailUnavailable(f"The messages of {sender} can't be read within {MOST_SECONDS:g} seconds.")
            with _explained():
                mail = self._read(uid)
            if mail is not None and mail.sender == sender.lower():
                yield replace(mail, received=times[uid])

    def _times(self, uids: Sequence[int]) -> dict[int, datetime]:
        """When the server took them. Of a few hundred at once: a line of the protocol is not for ever."""
        times = {}
        for first in range(0, len(uids), _AT_ONCE):
            some = ",".join(map(str, uids[first : first + _AT_ONCE]))
            _, rows = self._connection.uid("fetch", some, "(INTERNALDATE)")
            for row in rows or ():
                uid, at = re.search(rb"UID (\d+)", row), imaplib.Internaldate2tuple(row)
                if uid is not None and at is not None:
                    times[int(uid[1])] = datetime.fromtimestamp(time.mktime(at), UTC)
        return times

    def _read(self, uid: int) -> Mail | None:
        _, parts = self._connection.uid("fetch", str(uid), "(BODY.PEEK[])")
        return next((_mail(part[1]) for part in parts or () if isinstance(part, tuple)), None)

    def _number(self, item: str) -> int:
        _, (said, *_) = self._connection.status(_quoted(self._folder), f"({item})")
        return int(said.rpartition(item.encode() + b" ")[2].rstrip(b") "))


@contextmanager
def opened(address: str) -> Iterator[Mailbox]:
    """The mailbox at `imaps://user:password@host[:port]/FOLDER[?authserv_id=ID]`; user and password percent-encoded.

    Without encryption (`imap://`) only on this machine. Raises `MailUnavailable`.
    """
    with _explained():
        place = urlsplit(address)
        folder = unquote(place.path.strip("/")) or "INBOX"
        connection = _connected(place)
    try:
        with _explained():
            connection.login(unquote(place.username or ""), unquote(place.password or ""))
            done, _ = connection.select(_quoted(folder), readonly=True)
            if done != "OK":
                raise MailUnavailable(f"The mailbox at {place.hostname} has no folder {folder!r}.")
            mailbox = Mailbox(connection, folder)
        yield mailbox
    finally:
        try:
            connection.logout()
        except (imaplib.IMAP4.error, OSError):
            pass  # it is gone, which is what was wanted


def authserv_id(address: str) -> str | None:
    """Whose `Authentication-Results` are the mailbox' own, where its address says so. Raises `MailUnavailable`."""
    query = parse_qs(urlsplit(address).query, keep_blank_values=True)
    match [*query], query.get("authserv_id"):
        case [], _:
            return None
        case [_], [name] if name:
            return name
    raise MailUnavailable("The mailbox' address may end in ?authserv_id=ID, and in nothing else.")


def _connected(place: SplitResult) -> imaplib.IMAP4:
    if not place.hostname or not place.username or place.scheme not in ("imaps", "imap"):
        raise MailUnavailable("The mailbox' address is not of the form imaps://user:password@host/FOLDER.")
    if place.scheme == "imaps":
        context = ssl.create_default_context()
        return imaplib.IMAP4_SSL(place.hostname, place.port or 993, ssl_context=context, timeout=TIMEOUT)
    if place.hostname != "localhost" and not _is_loopback(place.hostname):
        raise MailUnavailable(f"The mailbox at {place.hostname} would be read without encryption: use imaps://.")
    return imaplib.IMAP4(place.hostname, place.port or 143, timeout=TIMEOUT)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _explained() -> Iterator[None]:
    """What the server's trouble is in one sentence: never what it said itself, which may repeat the password."""
    try:
        yield
    except imaplib.IMAP4.error as error:
        raise MailUnavailable("The mail server refused the log-in, or does not speak IMAP as it should.") from error
    except (OSError, ValueError, TypeError) as error:
        raise MailUnavailable(f"The mail server can't be reached or read ({type(error).__name__}).") from error


def _quoted(folder: str) -> str:
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# --- messages -----------------------------------------------------------------------------------------------------


def _mail(raw: bytes) -> Mail | None:
    """None for what is no message that can be read."""
    try:
        message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(raw)
        senders: Sequence[Address] = getattr(message["From"], "addresses", ())
        sender = senders[0].addr_spec.lower() if len(senders) == 1 else ""
        body = message.get_body(("plain", "html"))
        text = str(body.get_content()) if body is not None else ""
        if body is not None and body.get_content_subtype() == "html":
            text = _shown(text)
        results = tuple(str(one) for one in message.get_all("Authentication-Results", ()))
        return Mail(raw, sender, str(message["Subject"] or ""), text, _every_text(message), results)
    except _BROKEN:
        return None


def mail_text(raw: bytes) -> str:
    """The subject and every text of a message; nothing of one that can't be read."""
    mail = _mail(raw)
    return f"{mail.subject}\n{mail.whole}" if mail else ""


def _every_text(message: EmailMessage) -> str:
    """Nothing when one of them can't be read: what it says could be what counts."""
    texts = []
    try:
        for part in message.walk():
            kind = part.get_content_type()
            if kind in ("text/plain", "text/html") and not part.is_attachment():
                content = str(part.get_content())
                texts.append(_shown(content) if kind == "text/html" else content)
    except _BROKEN:
        return ""
    return "\n".join(texts)


class _Shown(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += tag in ("script", "style", "head", "template")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style", "head", "template")

    def handle_data(self, data: str) -> None:
        if self._hidden <= 0:
            self.texts.append(data)


def _shown(html: str) -> str:
    parser = _Shown()
    parser.feed(html)
    return " ".join(" ".join(parser.texts).split())
