"""What evidence is worth something: the artefacts' names and the rules on their content. Pure."""

from __future__ import annotations

import calendar
import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import State

PRE_SUBMIT = "pre_submit.webp"
POST_CONFIRM = "post_confirm.webp"
READBACK = "readback.json"
REQUEST = "request.json"
SUBMISSION = "submission.json"
FAILURE = "failure.webp"
HISTORY = "history.webp"
CONTROL = "control.webp"
RECONCILED = "reconciled.json"
POST_CONFIRM_MHTML = "post_confirm.mhtml.gz"
POST_CONFIRM_ARIA = "post_confirm.aria.yml"
INDEX = "index.html"
PERSONAL_READBACK = "personal_readback.json"
PERSONAL_PAGE = "personal_page.mhtml.gz"
DOCUMENT = "document.json"
"""What a PDF or an e-mail says that gave the reference, and the SHA-256 of it as it came."""
PERSONAL_PDF = "personal_document.pdf"
PERSONAL_MAIL = "personal_document.eml"
MAIL = "mail.webp"
"""A picture of what the e-mail says: it stands in for that of an answer that nobody saw."""

BUNDLED = frozenset(
    {PRE_SUBMIT, POST_CONFIRM, READBACK, REQUEST, HISTORY, RECONCILED, POST_CONFIRM_MHTML, POST_CONFIRM_ARIA, DOCUMENT}
)
"""The captured pieces that a bundle may hold; it adds `SUBMISSION` and `INDEX` of its own."""

PERSONAL = frozenset({PERSONAL_READBACK, PERSONAL_PAGE, PERSONAL_PDF, PERSONAL_MAIL})
"""The captured pieces that hold personal data: kept apart, encrypted under the claim's own key, never in a bundle."""

DEALER_READBACK = "dealer_code"
"""The readback of the dealer code that the page shows."""

PICTURE_HEIGHT = 16_000
"""Pixels of a page from its top that a picture shows: WebP ends at 16,383 (RFC 9649)."""

_CLAIM_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")


@dataclass(frozen=True)
class Artifact:
    """One piece of evidence in memory: captured, not yet durable."""

    name: str
    media_type: str
    data: bytes = field(repr=False)
    captured_at: datetime

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class FieldReadback:
    """What a field of the form held just before the click."""

    name: str
    label: str
    expected: str
    actual: str
    sensitivity: str
    """`public`, `pii` or `secret`; what is not public leaves the process only as an HMAC."""

    @property
    def equal(self) -> bool:
        """Whether the page holds what was to be filed."""
        return self.expected == self.actual


# --- keys of the evidence store ----------------------------------------------------------------------------------


PERSONAL_FOLDERS = ("personal", "attachments")
"""What lies here holds personal data: encrypted under its claim's own key, never locked, so that it can be erased."""

LOCKED_FOLDERS = ("bundles", "keys", "log")
"""What lies here holds no personal data in the clear: locked for the time of retention where the store can do that."""


def is_locked(key: str) -> bool:
    """Whether the key is of the kind that is under retention from the moment it is put."""
    return key.split("/", 1)[0] in LOCKED_FOLDERS


def retained_until(since: datetime, months: int) -> datetime:
    """The end of a retention of so many calendar months; of a month that is too short, its last day."""
    year, month = divmod(since.year * 12 + since.month - 1 + months, 12)
    day = min(since.day, calendar.monthrange(year, month + 1)[1])
    return since.replace(year=year, month=month + 1, day=day)


def check_key(key: str) -> None:
    """Refuse a key that could leave the store or hide in it. Raises `ValueError` with one sentence."""
    parts = key.split("/")
    if len(key.encode("utf-8", "surrogatepass")) > 1000 or any(len(part) > 200 for part in parts):
        raise ValueError("An evidence key has at most 1000 bytes, and 200 characters between two slashes.")
    if any(not part or part.startswith(".") for part in parts):
        raise ValueError(f"The evidence key {key!r} has an empty part or one that begins with a dot.")
    if "\\" in key or not key.isprintable():
        raise ValueError(f"The evidence key {key!r} holds a backslash or a character that can't be printed.")


def is_personal(name: str) -> bool:
    """Whether a piece holds personal data; something may stand before its name, as of a look or a verdict."""
    return name.endswith(tuple(PERSONAL))


def artifact_key(claim_id: str, attempt_id: int, name: str) -> str:
    """Where the store keeps one captured piece of evidence; what is personal is kept apart."""
    folder = "personal" if is_personal(name) else "artifacts"
    return f"{folder}/{claim_id}/{attempt_id}/{name}"


def attachment_key(claim_id: str, sha256: str) -> str:
    """Where the store keeps a claim's attachment, as it came from the CRM."""
    return f"attachments/{claim_id}/{sha256}"


def bundle_key(claim_id: str, digest: str) -> str:
    """Where the store keeps a sealed bundle."""
    return f"bundles/{claim_id}/{digest}.zip"


def public_key_key(key_fingerprint: str) -> str:
    """Where the store keeps a public key that signed bundles: for people to find, never for trust."""
    return f"keys/{key_fingerprint}.pem"


# --- the bundle --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BundleFacts:
    """What `submission.json` says. All times are aware; they are written in UTC."""

    claim_id: str
    oem: str
    dealer: str
    period: str
    claim_type: str
    natural_key: str
    crm_record_id: str
    payload_sha256: str

    run_id: str
    attempt: int
    """1, 2, … over the claim's whole life."""
    fencing_token: int
    adapter_digest: str
    pack_version: str
    pack_digest: str

    started_at: datetime
    armed_at: datetime
    sent_at: datetime | None
    responded_at: datetime | None
    confirmed_at: datetime | None

    outcome: State
    """`CONFIRMED` or `REJECTED`."""
    reference: str | None
    reference_kind: str | None
    reference_text: str | None
    """The portal's text that the reference was taken from; untrusted."""
    reference_span: tuple[int, int] | None
    """Where in `reference_text` it stands."""
    reason: ReasonCode | None
    reason_text: str | None
    """What the portal said when it refused; untrusted."""

    browser: str
    viewport: tuple[int, int]
    """Width and height in CSS pixels."""
    url: str
    """Of the page after the click; untrusted."""

    late: tuple[str, ...] = ()
    """Pieces that came after the claim was held: from the portal's history, from a person, or from the ledger."""

    @property
    def settled_at(self) -> datetime:
        """The last thing that happened: it dates the bundle."""
        return self.confirmed_at or self.responded_at or self.sent_at or self.armed_at


@dataclass(frozen=True)
class Bundle:
    """A sealed bundle in memory."""

    digest: str
    """Hex SHA-256 of `tagmanifest-sha256.txt`: covers everything but the later signature and log proof."""
    tag_manifest: bytes = field(repr=False)
    """`tagmanifest-sha256.txt` itself: what is signed."""
    zip_bytes: bytes = field(repr=False)
    """Without signature and log proof: those are added when it is stored."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a bundle."""

    file: str
    problem: str
    """One sentence that follows the file's name."""

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


@dataclass(frozen=True)
class Verification:
    """What checking a bundle brought to light."""

    ok: bool
    digest: str | None
    """None when there is no tag manifest to digest."""
    findings: tuple[Finding, ...]
    facts: BundleFacts | None
    """None when `submission.json` can't be read."""


def facts_problems(facts: BundleFacts) -> list[str]:
    """What is wrong with the facts by themselves, each as a sentence; empty when nothing is."""
    problems = []
    if not _CLAIM_ID.fullmatch(facts.claim_id):
        problems.append(f"The claim id {facts.claim_id!r} is not one.")
    for name in ("started_at", "armed_at", "sent_at", "responded_at", "confirmed_at"):
        moment = getattr(facts, name)
        if moment is not None and moment.tzinfo is None:
            problems.append(f"The time {name} has no time zone.")
    match facts.outcome:
        case State.CONFIRMED:
            problems += _confirmed_problems(facts)
        case State.REJECTED:
            if facts.reference is not None:
                problems.append("A rejected claim has no reference.")
            if facts.reason is None:
                problems.append("A rejected claim needs a reason code.")
        case _:
            problems.append(f"The outcome {facts.outcome} is neither CONFIRMED nor REJECTED.")
    return problems


def _confirmed_problems(facts: BundleFacts) -> list[str]:
    if not facts.reference or not facts.reference_kind or not facts.reference_text or facts.reference_span is None:
        return ["A confirmed claim needs a reference with its kind, its text and its place in the text."]
    if facts.confirmed_at is None:
        return ["A confirmed claim needs the time of its confirmation."]
    start, end = facts.reference_span
    if not 0 <= start < end <= len(facts.reference_text):
        return ["The reference's place lies outside of the text that it was taken from."]
    if _plain(facts.reference_text[start:end]) != _plain(facts.reference):
        return ["The reference is not what stands at its place in the portal's text."]
    return []


def _plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split()).casefold()


def missing_evidence(outcome: State, names: Collection[str]) -> tuple[ReasonCode, str] | None:
    """The first mandatory piece that is not there, with the reason code that its absence has; None when all are."""
    mandatory = [PRE_SUBMIT, READBACK, POST_CONFIRM]
    if outcome is State.CONFIRMED:
        # A portal can refuse a claim in the page, without a request ever leaving.
        mandatory.append(REQUEST)
    return next(((reason_of(name), name) for name in mandatory if name not in names), None)


def reason_of(piece: str) -> ReasonCode:
    """The reason code of a piece of evidence that is missing, or shows nothing."""
    before = piece in (PRE_SUBMIT, READBACK)
    return ReasonCode.PRE_EVIDENCE_MISSING if before else ReasonCode.POST_EVIDENCE_MISSING


def worth_before(
    readback: Sequence[FieldReadback], text: str, natural_key_fields: Collection[str], dealer: str
) -> tuple[ReasonCode, str] | None:
    """What the evidence before the click lacks, with its reason code; None when it is worth something.

    `text` is that of the page that was photographed, with what its public fields show.
    """
    if wrong := [item.name for item in readback if not item.equal]:
        what = f"Read back from the page, these fields differ from the claim: {', '.join(wrong)}."
        return ReasonCode.FIELD_READBACK_MISMATCH, what
    codes = {item.actual for item in readback if item.name == DEALER_READBACK}
    if dealer not in codes:
        return ReasonCode.DEALER_MISMATCH, f"The dealer code {dealer} was not read from the page."
    identifying = [
        item
        for item in readback
        if item.name.partition("@")[0] in natural_key_fields and item.name != DEALER_READBACK
        if item.sensitivity == "public"
    ]
    # The last page of a wizard need not repeat what earlier ones asked; that it shows its own fields is the portal's.
    if identifying and not any(shows(text, item.actual) for item in identifying):
        names = ", ".join(dict.fromkeys(f"'{item.label}'" for item in identifying))
        return ReasonCode.PRE_EVIDENCE_MISSING, f"The page that was photographed shows none of the claim's {names}."
    return None


def shows(text: str, words: str) -> bool:
    """Whether a page's text holds these words; white space, capitals and the form of a letter don't count."""
    return _plain(words) in _plain(text)


def document_problem(document: object, reference: str | None) -> str | None:
    """What is wrong with `DOCUMENT`, read as JSON, as the end of a sentence: it must hold the reference."""
    said = document if isinstance(document, dict) else {}
    text, digest = said.get("text"), said.get("sha256")
    if not isinstance(text, str) or not isinstance(digest, str) or not isinstance(said.get("source"), str):
        return "does not say what the document is, and what it says."
    if reference is not None and not shows(text, reference):
        return f"does not hold the reference {reference}."
    return None


def document_texts(pieces: Iterable[Artifact]) -> list[str]:
    """What the documents among these pieces say that are ours, and not the portal's: `DOCUMENT`."""
    return [str(json.loads(piece.data).get("text", "")) for piece in pieces if piece.name == DOCUMENT]


def is_blank(histogram: Sequence[int]) -> bool:
    """Whether a picture shows nothing, by how many pixels have each of 256 grey levels.

    Blank means that fewer than one pixel in 10,000 differs visibly (by more than 16 levels) from the commonest one.
    """
    total = sum(histogram)
    commonest = max(range(len(histogram)), key=histogram.__getitem__)
    near = sum(histogram[max(0, commonest - 16) : commonest + 17])
    return (total - near) * 10_000 < total
