"""What a portal gives beside its pages: a PDF that the confirmation links, an e-mail. Whose it is, and what it says.

Papers are as hostile as pages. One counts for a claim only when it says all that the pack's `holds` asks for; which
number of it is the reference is decided in `references`, and how an e-mail is found in `mailed`.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Frame

from oem_submissions import pdf
from oem_submissions.domain.evidence import DOCUMENT, PERSONAL_PDF, Artifact
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.domain.outcomes import Reference, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import filling, references
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.capture import filled_in, limit, one_line
from oem_submissions.portal.listing import natural_key_fields
from oem_submissions.portal.locators import in_words, look_up
from oem_submissions.portal.packs import Pack
from oem_submissions.portal.schema import Confirmation, Email, Form, PaperRule, Pdf, names_in
from oem_submissions.portal.scrubbing import Scrubber
from oem_submissions.portal.socks import origin_of
from oem_submissions.portal.steps import Walk
from oem_submissions.ports import Submission

LEAST = 4
"""Characters of a text that can tell a claim: "1" stands on every page."""
TEXT_LIMIT = 256 * 1024
"""Characters of a paper's text: a longer one could say more than was seen, and says nothing."""
_AGAIN_MS = 500
"""Between two tries to fetch a PDF that is not there yet."""
_FETCH = """async ([url, most, milliseconds]) => {
  const whole = {mode: "same-origin", credentials: "same-origin", cache: "no-store"};
  const answer = await fetch(url, {...whole, signal: AbortSignal.timeout(milliseconds)});
  if (answer.status !== 200 || !answer.body) return {status: answer.status};
  if (Number(answer.headers.get("content-length")) > most) return {status: 200};
  const reader = answer.body.getReader(), pieces = [];
  for (let size = 0, piece; !(piece = await reader.read()).done; pieces.push(piece.value)) {
    size += piece.value.length;
    if (size > most) { reader.cancel(); return {status: 200}; }
  }
  const read = new FileReader();
  const done = new Promise(resolve => { read.onload = () => resolve(read.result); });
  read.readAsDataURL(new Blob(pieces));
  return {status: 200, url: await done};
}"""


@dataclass(frozen=True)
class Paper:
    """One document as it came, and what it says."""

    source: str
    """`pdf` or `email`."""
    raw: Artifact
    text: str
    told: Mapping[str, Any]
    """What else is known of it, for people: from where, when."""


def require_whose(adapter: PortalAdapter, pack: Pack) -> None:
    """Raises `ConfigurationError` when a claim's form is missing, or a paper could be another claim's.

    An e-mail must name the dealer where the natural key does: several may share a mailbox. A PDF comes from the
    dealer's own session.
    """
    for claim_type in adapter.claim_types():
        form = pack.form(claim_type)
        key = set(natural_key_fields(adapter, claim_type))
        for rule in form.confirmation.papers:
            if not key & {*form.fields}:
                raise ConfigurationError(
                    f"Pack {pack.version} of {pack.oem}: no field of {claim_type} is called as in the natural key, so a"
                    " document can't be told from another claim's. Call them as the claim does, in a new version."
                )
            needed = key & ({*form.fields, "dealer_code"} if isinstance(rule, Email) else {*form.fields})
            if missing := sorted(needed - set(names_in(rule.holds))):
                raise ConfigurationError(
                    f"Pack {pack.version} of {pack.oem}: holds lacks {', '.join(missing)} of the natural key of"
                    f" {claim_type}, so another claim's document could be taken for it. Add it in a new version."
                )


def wanted(rule: PaperRule, form: Form, values: Mapping[str, str], submission: Submission) -> tuple[str, ...]:
    """What the paper must say, by the claim as its form has it. A text that can't tell a claim is empty."""
    said = {name: filling.expected(field, values.get(name)) for name, field in form.fields.items()}
    said["dealer_code"] = submission.claim.dealer_code
    return filled(rule, said)


def filled(rule: PaperRule, said: Mapping[str, str]) -> tuple[str, ...]:
    """As `wanted`, of what the form holds by field."""
    return tuple(_filled(template, said) for template in rule.holds)


def _filled(template: str, said: Mapping[str, str]) -> str:
    text = references.plain(filled_in(template, said))
    return text if len(text) >= LEAST and all(said.get(name, "").strip() for name in names_in([template])) else ""


def lacks(text: str, wanted: Sequence[str]) -> str:
    """Why this is not the claim's paper, as the end of a sentence; empty when it says everything."""
    said = references.plain(text).casefold()
    for words in wanted:
        if not words:
            return "can't be told from another claim's: what the pack asks for is empty or too short"
        if not _holds(said, words.casefold()):
            return f"does not say '{words}'"
    return ""


def _holds(said: str, words: str) -> bool:
    start = said.find(words)
    while start >= 0:
        if references.stands_alone(said, start, start + len(words)):
            return True
        start = said.find(words, start + 1)
    return False


def reference_in(
    paper: str, text: str, confirmation: Confirmation, seen: Collection[str], adapter: PortalAdapter
) -> Reference | Unknown:
    """The reference in the text of a paper of this claim. `paper` is what it is: the beginning of a sentence. Pure."""
    said = references.plain(text).casefold()
    if words := next((words for words in confirmation.never if references.plain(words).casefold() in said), None):
        return Unknown(ReasonCode.REFERENCE_SUSPECT, f"{paper} says '{words}'.")
    return references.in_text(confirmation.reference, text, seen, adapter.reference_is_plausible, paper)


def document(paper: Paper, wanted: Sequence[str], scrubber: Scrubber) -> Artifact:
    """`document.json`: what the paper says, without personal data and secrets, and the digest of it as it came."""
    lines = [one_line(line) for line in references.normal(paper.text).splitlines()]
    text = "\n".join(line for line in lines if line)
    said = {
        "source": paper.source,
        "sha256": paper.raw.sha256,
        "bytes": len(paper.raw.data),
        **paper.told,
        "says_of_the_claim": list(wanted),
        "text": text,
    }
    clean = {name: scrubber.text(value) if isinstance(value, str) else value for name, value in said.items()}
    data = json.dumps(clean, indent=2, ensure_ascii=False).encode("utf-8", "replace")
    return Artifact(DOCUMENT, "application/json", data, paper.raw.captured_at)


# --- the PDF that the confirmation links --------------------------------------------------------------------------


def linked_pdf(walk: Walk, scope: Frame, rule: Pdf, seconds: float) -> Paper | Unknown:
    """The linked PDF, fetched by the page's own cookies and through its tunnel: a GET, which files nothing.

    It is waited for so long, and tried again while the portal says that it is not there yet.
    """
    deadline = time.monotonic() + seconds
    url = _address(walk, scope, rule, deadline)
    if isinstance(url, Unknown):
        return url
    while True:
        walk.watch.alive()
        left = min(max(1.0, deadline - time.monotonic()), walk.limits.page_seconds)
        try:
            answer = scope.evaluate(_FETCH, [url, rule.max_bytes, left * 1000])
        except PlaywrightError as error:
            why = error.message.splitlines()[0].removeprefix("Frame.evaluate: ").rstrip(".")
            return _missing(f"The PDF could not be fetched within {left:.0f} seconds: {why}.")
        if answer["status"] == 200:
            break
        if time.monotonic() + _AGAIN_MS / 1000 > deadline:
            return _missing(f"The PDF could not be fetched: the portal answered HTTP {answer['status']}.")
        walk.page.wait_for_timeout(_AGAIN_MS)
    if "url" not in answer:
        return _missing(f"The PDF is larger than {rule.max_bytes} bytes.")
    return _read(base64.b64decode(answer["url"].partition(",")[2]), url)


def _address(walk: Walk, scope: Frame, rule: Pdf, deadline: float) -> str | Unknown:
    """Where the one link leads, if that is the portal itself."""
    links = look_up(scope, rule.link)
    while not (times := links.count()) and time.monotonic() < deadline:
        walk.pause()
    if times != 1:
        return _missing(f"{in_words(rule.link)}, the link to the PDF, is on the page {times} times.")
    url = str(links.evaluate("link => link.closest('a[href]')?.href || ''"))
    if not _is_of_portal(url, scope.url):
        return _missing(f"{in_words(rule.link)} does not lead to the portal itself, but to '{_place(url)}'.")
    return url


def _is_of_portal(url: str, page: str) -> bool:
    try:
        return origin_of(url) == origin_of(page)
    except ValueError:  # no address of the web: a script, a blob
        return False


def _place(url: str) -> str:
    """The address without what may tell a session."""
    return limit(url.partition("#")[0].partition("?")[0], 200)


def _read(data: bytes, url: str) -> Paper | Unknown:
    if b"%PDF-" not in data[:1024]:
        return _missing("What the confirmation links as a PDF is none.")
    try:
        text = pdf.read(data).text
    except pdf.PdfUnreadable as why:
        return _missing(f"The PDF that the confirmation links {why}.")
    if len(text) > TEXT_LIMIT:
        return _missing("The PDF that the confirmation links holds more text than can be looked through.")
    raw = Artifact(PERSONAL_PDF, "application/pdf", data, datetime.now(UTC))
    return Paper("pdf", raw, text, {"address": _place(url)})


def _missing(what: str) -> Unknown:
    return Unknown(ReasonCode.REFERENCE_MISSING, what)
