"""The page after the click as an archive (MHTML, RFC 2557): rewritten structurally, without what people typed.

Controls lose their values, all texts lose secrets and personal values; what is left opens in Chromium. A second one,
to be kept apart, keeps the personal values. Taken by CDP, which has a session for every page and popup; frames of
other sites that live in a process of their own are in it as Chromium puts them there. Taking it is an extra.
"""

from __future__ import annotations

import email
import email.policy
import gzip
import html
import io
import quopri
import re
from collections.abc import Callable
from email.generator import BytesGenerator
from email.message import Message
from html.parser import HTMLParser

from playwright.sync_api import Page

MAX_BYTES = 8 * 1024 * 1024
"""Of an archive; a larger one is not kept."""
_POLICY = email.policy.compat32.clone(linesep="\r\n", max_line_length=None)
_CAPTIONS = frozenset({"button", "submit", "reset"})
"""Inputs whose value is what stands on them, and no one's data."""
_DATA_ATTRIBUTES = re.compile(r"value|checked|data-.*", re.IGNORECASE)
_TEXTS = ("text/", "image/svg", "application/xhtml", "application/xml", "application/json")
_HTML = ("text/html", "application/xhtml", "image/svg")

Clean = Callable[[str], str]
"""Takes out of a text what may not stand there."""


class ArchiveRefused(Exception):
    """The archive can't be kept: one sentence."""


def snapshot(page: Page) -> bytes:
    """The page as Chromium archives it, with everything in it. Raises `PlaywrightError`."""
    session = page.context.new_cdp_session(page)
    try:
        return str(session.send("Page.captureSnapshot", {"format": "mhtml"})["data"]).encode()
    finally:
        session.detach()


def packed(archive: bytes) -> bytes:
    """Gzipped, the same bytes for the same bytes."""
    return gzip.compress(archive, 6, mtime=0)


def rewritten(archive: bytes, clean: Clean) -> bytes:
    """The archive without values of controls, and with every text and address cleaned. Raises `ArchiveRefused`."""
    if len(archive) > MAX_BYTES:
        raise ArchiveRefused(f"The archived page is larger than {MAX_BYTES // 1024 // 1024} MB.")
    message = email.message_from_bytes(archive, policy=_POLICY)
    if not message.is_multipart() or message.defects:
        raise ArchiveRefused("The archived page is not well-formed.")
    for part in message.walk():
        for name, value in part.items():
            if (cleaned := clean(_unfolded(value))) != value:
                del part[name]
                part[name] = cleaned
        if part.get_content_type().startswith(_TEXTS):
            _rewrite(part, clean)
    buffer = io.BytesIO()
    BytesGenerator(buffer, mangle_from_=False, policy=_POLICY).flatten(message)
    return buffer.getvalue()


def _unfolded(value: str) -> str:
    return re.sub(r"\r?\n[ \t]", " ", str(value))


def _rewrite(part: Message, clean: Clean) -> None:
    body = part.get_payload(decode=True)
    assert isinstance(body, bytes)
    text = body.decode(part.get_content_charset() or "utf-8", "replace")
    if part.get_content_type().startswith(_HTML):
        text = without_values(text)
    part.set_payload(quopri.encodestring(clean(text).encode()).decode("ascii"))
    del part["Content-Transfer-Encoding"]
    part["Content-Transfer-Encoding"] = "quoted-printable"


def without_values(text: str) -> str:
    """The HTML without what stands in its controls: values, ticks, texts of text areas and options, data attributes.

    Without scripts, comments and handlers, too: Chromium leaves them out already, and nobody needs them here.
    """
    stripper = _Stripper()
    stripper.feed(text)
    stripper.close()
    return "".join(stripper.kept)


class _Stripper(HTMLParser):
    """Copies what it reads, as it stands there, but for controls."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.kept: list[str] = []
        self._inside: str | None = None
        """The element whose text is left out."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._inside == "option" and tag in ("option", "optgroup"):  # their end tags may be missing
            self._inside = None
        if self._inside is None:
            self.kept.append(self._tag(tag, attrs))
            if tag in ("textarea", "option", "script"):
                self._inside = tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._inside is None:
            self.kept.append(self._tag(tag, attrs, "/"))

    def _tag(self, tag: str, attrs: list[tuple[str, str | None]], end: str = "") -> str:
        kind = (dict(attrs).get("type") or "").lower()
        control = tag in ("input", "option", "select", "textarea") and not (tag == "input" and kind in _CAPTIONS)
        dropped = [name for name, _ in attrs if (control and _DATA_ATTRIBUTES.fullmatch(name)) or name[:2] == "on"]
        if not dropped:
            return self.get_starttag_text() or ""
        kept = "".join(
            f" {name}" if value is None else f' {name}="{html.escape(value)}"'
            for name, value in attrs
            if name not in dropped
        )
        return f"<{tag}{kept}{end}>"

    def handle_endtag(self, tag: str) -> None:
        if self._inside in (tag, None) or (self._inside == "option" and tag in ("select", "optgroup", "datalist")):
            self._inside = None
            self.kept.append(f"</{tag}>")

    def _keep(self, text: str) -> None:
        if self._inside is None:
            self.kept.append(text)

    def handle_data(self, data: str) -> None:
        self._keep(data)

    def handle_entityref(self, name: str) -> None:
        self._keep(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._keep(f"&#{name};")

    def handle_decl(self, decl: str) -> None:
        self._keep(f"<!{decl}>")

    def handle_comment(self, data: str) -> None:
        pass

    def unknown_decl(self, data: str) -> None:
        self._keep(f"<![{data}]>")

    def handle_pi(self, data: str) -> None:
        self._keep(f"<?{data}>")
