"""What a selector pack may say: strict, frozen data, nothing executable. Loading and locking are in `packs.py`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

import re2
from pydantic import AfterValidator, Field, model_validator

from oem_submissions import pdf
from oem_submissions.domain.dispositions import Disposition
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import aria
from oem_submissions.portal.locators import ByCss, Element, Locator, Strict

Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Words = Annotated[str, Field(min_length=1, max_length=500)]


def _check_pattern(pattern: str) -> str:
    try:
        re2.compile(pattern)
    except re2.error as error:
        raise ValueError(f"not a google-re2 pattern: {error}") from error
    return pattern


def _check_only_group(pattern: str, name: str) -> str:
    compiled = re2.compile(pattern)
    if compiled.groups != 1 or name not in compiled.groupindex:
        raise ValueError(f"the pattern needs exactly one group, (?P<{name}>…)")
    return pattern


def _check_reference_pattern(pattern: str) -> str:
    if re2.search(pattern, "") is not None:
        raise ValueError("the pattern matches an empty text, so it would find a number anywhere")
    return _check_only_group(pattern, "reference")


def _check_dealer_pattern(pattern: str) -> str:
    return _check_only_group(pattern, "dealer")


def _check_total_pattern(pattern: str) -> str:
    return _check_only_group(pattern, "total")


def _check_code_pattern(pattern: str) -> str:
    return _check_only_group(pattern, "code")


def _check_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("not an IANA time zone, for example America/Chicago")
    return name


def _check_template(text: str) -> str:
    if re.sub(r"\{[a-z_]+\}", "", text).count("{"):
        raise ValueError("in braces stands a name of small letters, nothing else")
    return text


def _check_aria(text: str) -> str:
    aria.read(text)
    return text


Pattern = Annotated[str, AfterValidator(_check_pattern)]
"""Compiled with google-re2: no look-around, no back-references, linear time."""
ReferencePattern = Annotated[Pattern, AfterValidator(_check_reference_pattern)]
DealerPattern = Annotated[Pattern, AfterValidator(_check_dealer_pattern)]
CodePattern = Annotated[Pattern, AfterValidator(_check_code_pattern)]
TotalPattern = Annotated[Pattern, AfterValidator(_check_total_pattern)]
Zone = Annotated[str, AfterValidator(_check_zone)]
AriaLines = Annotated[str, AfterValidator(_check_aria)]
Template = Annotated[Words, AfterValidator(_check_template)]
"""Words with `{name}` where a value goes."""


def names_in(templates: Iterable[str]) -> list[str]:
    """What stands in their braces."""
    return [name for template in templates for name in re.findall(r"\{([a-z_]+)\}", template)]


class Critical(Element):
    """An element that must not be mistaken: two locators, not both CSS, that must hit the same element."""

    witness: Locator

    @model_validator(mode="after")
    def _not_css_alone(self) -> Critical:
        kinds = {type(self.find), type(self.witness)}
        if kinds == {ByCss}:
            raise ValueError("a critical element needs at least one locator that is not css")
        if self.find == self.witness:
            raise ValueError("the witness must be another locator than find")
        return self


class PageField(Element):
    """A control that takes a value of the claim."""

    kind: Literal["text", "select", "check", "radio"] = "text"
    """What is read back: the text, the chosen option's label, or `yes`/`no`."""
    how: Literal["script", "type"] = "script"
    """`script` sets all such fields at once and types only what does not read back equal; `type` always types."""
    sensitivity: Literal["public", "pii", "secret"] = "secret"
    critical: bool = False
    computed: bool = False
    """The page fills it by itself; we only read it back."""
    options: dict[str, Locator] = {}
    """The radio buttons by value, for the kind `radio`."""
    then: Locator | None = None
    """What must be visible once the field is set, where that redraws the form."""
    escape: bool = False
    """Escape is pressed once it is set: it opens something over the form, as a rule a calendar."""

    @model_validator(mode="after")
    def _complete(self) -> PageField:
        if self.critical:
            if self.witness is None:
                raise ValueError("a critical field needs a witness locator")
            Critical(find=self.find, witness=self.witness)
        if (self.kind == "radio") != bool(self.options):
            raise ValueError("a radio field, and no other, lists its options")
        return self


class Control(Strict):
    """One control of a form, as the fingerprint sees it."""

    name: str
    tag: Literal["input", "select", "textarea", "button"]
    type: str = ""
    required: bool = False
    label: str | None = None
    """None: not compared."""
    maxlength: Annotated[int, Field(gt=0)] | None = None
    """Characters; compared in a contract that has `aria`, where none means without a limit."""
    options: tuple[str, ...] | None = None
    """Labels of a select's options; None: not compared, for a list that is another one for every dealer."""


class Contract(Strict):
    """What the form must look like before anything is filled in."""

    scope: Locator
    """The form, or what holds it where there is none."""
    method: str | None = None
    action: Pattern | None = None
    """The whole path that the form goes to."""
    controls: tuple[Control, ...]
    aria: AriaLines | None = None
    """The normalised aria snapshot, a line for each thing that the page says; None: not compared."""


class Click(Strict):
    """A click on the way, and what must be visible after it."""

    click: Locator
    then: Locator | None = None


class AttachmentRule(Strict):
    """Where files of some kinds go, and how the page shows that they arrived."""

    kinds: tuple[str, ...] = ()
    """Attachment kinds; none means every kind."""
    find: Locator
    media_types: tuple[str, ...]
    max_bytes: Annotated[int, Field(gt=0)]
    max_files: Annotated[int, Field(gt=0)] = 10
    shown: Template | None = None
    """How a row begins when the file arrived, with `{name}` and `{size}` (bytes); none: the input keeps the files."""
    row: Locator | None = None
    """One row of the list of files that arrived, all of them."""
    refused: Locator | None = None
    """The box in which the page says that it does not take a file."""
    sensitivity: Literal["public", "pii", "secret"] = "pii"

    @model_validator(mode="after")
    def _both_or_none(self) -> AttachmentRule:
        if (self.shown is None) != (self.row is None):
            raise ValueError("shown and row belong together")
        return self


class Record(Strict):
    """A filed claim's own page, which the list leads to by a link on the reference."""

    marker: Locator
    add: Annotated[tuple[Click, ...], Field(min_length=1)]
    """From there to the page that asks for a file."""


class Documents(Strict):
    """The pages on which the portal asks for the files once the claim is filed, one file at a time.

    The claim is filed before its first file is sent. So it is confirmed only when the page shows all of them, and a
    look into the history that finds it opens its record, and sends what is missing.
    """

    marker: Locator
    """What is visible where a file is asked for."""
    attachments: Annotated[tuple[AttachmentRule, ...], Field(min_length=1)]
    """Each with `row` and `shown`: where the files that arrived are listed, there and in the record."""
    send: Locator
    """The button that sends a file."""
    again: Locator | None = None
    """The way to the next file; without it there can be one only."""
    done: Click | None = None
    """The way to the confirmation when all are there."""
    record: Record

    @model_validator(mode="after")
    def _shown(self) -> Documents:
        if any(rule.row is None for rule in self.attachments):
            raise ValueError("documents need row and shown: else nobody can tell whether a file arrived")
        if self.again is None and sum(rule.max_files for rule in self.attachments) > 1:
            raise ValueError("without again there can be one file only: set max_files to 1")
        return self


class FormPage(Strict):
    """One page of a form; a wizard has several."""

    name: Key
    marker: Locator
    """What is visible when this page is there."""
    fields: dict[Key, PageField] = {}
    contract: Contract | None = None
    attachments: tuple[AttachmentRule, ...] = ()
    shows: dict[Key, Locator] = {}
    """Where the page repeats fields of earlier pages as plain text: compared with what was filled in."""
    next: Click | None = None
    """To the next page; none on the last."""
    errors: Locator | None = None
    """The box in which the page says why it does not go on."""


class Dialog(Strict):
    """The one native dialog that a step may open."""

    accept: Words
    """Its whole text."""


class Previews(Strict):
    """What tells a preview, which a page's script sends to the same path while one types, from a submission.

    Both must hold, of a plain form's body; whatever can't be read is a submission. No preview is let through: it would
    draw the page anew, values and all, while that is photographed.
    """

    has: Words
    """A field that every preview carries."""
    lacks: Words
    """A field that every submission carries and no preview: as a rule the submit button's name."""


class Request(Strict):
    """The request that files the claim: the submit gate watches it."""

    method: Literal["POST", "PUT", "PATCH"] = "POST"
    path: Pattern
    """The whole path, without query."""
    previews: Previews | None = None
    """None: every such request files."""


class Submit(Strict):
    """The click that files the claim, and nothing before it."""

    button: Critical
    request: Request
    dialog: Dialog | None = None


class PaperRule(Strict):
    """What the portal gives beside its pages, with the reference in it."""

    holds: Annotated[tuple[Template, ...], Field(min_length=1)]
    """What it says of its claim, with `{field}` as filled in, and `{dealer_code}`: all of it, as whole words.

    The fields of the natural key must be among them. With the words beside a short value: "Line {line}".
    """


class Pdf(PaperRule):
    """A PDF that the confirmation links: fetched once the page says yes, from the portal's own origin alone."""

    link: Locator
    """A link: what a button makes is not fetched."""
    max_bytes: Annotated[int, Field(gt=0, le=pdf.MAX_BYTES)] = 5_000_000


class Email(PaperRule):
    """A message to the account's secret `mailbox` that comes once the claim is filed."""

    sender: Words
    """The whole address that it comes from."""
    subject: Words
    """Part of the subject."""


class ReferenceRule(Strict):
    """Which number is the reference, and where it stands: by two locators, or by one and the page's title.

    Without a locator no page shows it, but a PDF, or an e-mail that comes later.
    """

    find: Locator | None = None
    witness: Locator | None = None
    kind: Words
    """What the portal calls it."""
    pattern: ReferencePattern
    check: Literal["none", "luhn", "adapter"] = "none"
    """`adapter`: the adapter's own check-digit function decides."""
    title: ReferencePattern | None = None
    """Finds the same number in the title of the page, as the browser's tab shows it."""
    pdf: Pdf | None = None
    """The document in which it stands, in place of the page."""

    @model_validator(mode="after")
    def _twice(self) -> ReferenceRule:
        if self.find is None:
            if self.witness is not None or self.title is not None:
                raise ValueError("a witness and a title stand beside find")
        elif self.pdf is not None:
            raise ValueError("the reference stands on the page or in the pdf: say find or pdf")
        elif self.witness is not None:
            Critical(find=self.find, witness=self.witness)
        elif self.title is None:
            raise ValueError("the reference needs a witness: another locator, or the page's title")
        return self


class Rejection(Strict):
    """A text of the portal's error box, and what it means."""

    text: Words
    """Part of the error's text."""
    reason: Literal[ReasonCode.VALIDATION_REJECTED, ReasonCode.DUPLICATE_AT_PORTAL, ReasonCode.CUTOFF_PASSED,
                    ReasonCode.ATTACHMENT_REJECTED]  # fmt: skip


class Refusal(Strict):
    """How the portal says no: an error box, and a witness that nothing was filed."""

    box: Locator
    marker: Locator
    """What else is there: the form again, or a page of its own that says "not accepted"."""
    statuses: tuple[int, ...]
    """HTTP statuses of the submit request that go with a refusal."""
    rejections: tuple[Rejection, ...]


class Later(Strict):
    """The portal took the claim and gives the reference later."""

    says: tuple[Words, ...]
    """Texts of which one must be there."""
    deadline_hours: Annotated[int, Field(gt=0)]
    email: Email | None = None
    """The message that gives it; else the history does."""


class Confirmation(Strict):
    """How the portal says yes."""

    where: Literal["page", "frame", "popup"] = "page"
    marker: Locator
    never: tuple[Words, ...] = ()
    """Texts that must not be there: draft saved, not submitted …"""
    statuses: tuple[int, ...] = (200,)
    """HTTP statuses of the submit request that go with a filing: one of the second oracles."""
    json_reference: str | None = None
    """Dotted path in the response's JSON that must hold the same reference."""
    history: bool = False
    """Whether the history page must list the claim, once, with this reference."""
    reference: ReferenceRule
    shows: dict[Key, Locator] = {}
    """Where it repeats fields of the claim, as text or in controls: they must say what was filled in."""
    in_process: Locator | None = None
    """What is visible while the portal still works on it."""
    wait_seconds: Annotated[int, Field(gt=0, le=120)] = 20
    later: Later | None = None

    @model_validator(mode="after")
    def _second_oracle(self) -> Confirmation:
        if not self.history and self.json_reference is None and 200 in self.statuses and len(self.statuses) > 1:
            raise ValueError("a confirmation needs a second oracle: the history, json_reference or one exact status")
        return self

    @model_validator(mode="after")
    def _somewhere(self) -> Confirmation:
        if self.reference.find is None and self.reference.pdf is None and self.email is None:
            raise ValueError("the reference stands nowhere: say find and witness, pdf, or later.email")
        return self

    @property
    def email(self) -> Email | None:
        """The message that may give the reference later."""
        return self.later.email if self.later else None

    @property
    def papers(self) -> tuple[PaperRule, ...]:
        """Every document that may give the reference."""
        return tuple(paper for paper in (self.reference.pdf, self.email) if paper is not None)


class Submitted(Strict):
    """The column that says when a filing was made."""

    heading: Words
    format: Words
    """As Python's `strptime` reads it."""
    timezone: Zone = "UTC"
    tooltip: bool = False
    """The time is the tooltip of what stands there, which itself says only how long ago it was."""

    @property
    def zone(self) -> ZoneInfo:
        """What the column's times are in."""
        return ZoneInfo(self.timezone)


class Since(Strict):
    """A filter of the list by the day of submission, from that day on."""

    find: Locator
    format: Words
    """As Python's `strftime` writes it."""


class Total(Strict):
    """Where the list says how many rows it has, over all pages."""

    find: Locator
    pattern: TotalPattern


class Decisions(Strict):
    """The column that says what the OEM decided."""

    heading: Words
    texts: Annotated[dict[Words, Disposition], Field(min_length=1)]
    """Whole cells, capitals or not, and what each means. A text that is not here is reported as unknown."""
    deadline_days: Annotated[int, Field(gt=0)]
    """After the filing the OEM should have decided."""

    @model_validator(mode="after")
    def _known(self) -> Decisions:
        if Disposition.UNRECOGNISED in self.texts.values():
            raise ValueError("no text means UNRECOGNISED: leave out what is not known")
        return self


class Listing(Strict):
    """How the list is read as a whole, without a claim to look for."""

    open: Annotated[tuple[Click, ...], Field(min_length=2)]
    """The way there over another page: a list that shows already may be filtered."""
    only: dict[Words, tuple[Words, ...]] = {}
    """Column headings, and the whole cells of rows that are such claims, where the list has other types too."""
    days: Annotated[int, Field(gt=0)]
    """How far back the portal lists filings."""
    submitted: Submitted | None = None
    newest_first: bool = False
    """The list may be left at the first page that is older than what is asked for."""
    since: Since | None = None
    total: Total | None = None
    most_pages: Annotated[int, Field(gt=0)] = 500
    decisions: Decisions | None = None

    @model_validator(mode="after")
    def _dated(self) -> Listing:
        if self.newest_first and self.submitted is None:
            raise ValueError("newest_first needs submitted: else nobody can tell where to stop")
        return self


class History(Strict):
    """The page that lists what was filed: second oracle, and where an unknown outcome is looked up."""

    open: tuple[Click, ...]
    marker: Locator
    search: dict[Key, Locator] = {}
    """Fields of the claim that the list can be filtered by."""
    go: Locator | None = None
    table: Locator
    empty: Locator
    """What is visible when nothing matches."""
    key: dict[Key, Words]
    """Fields of the claim, and the column headings under which their values stand: together they identify the claim."""
    reference: Words
    """The heading of the column that holds the reference."""
    reference_pattern: ReferencePattern | None = None
    """How the reference stands in that column, all of the cell; None: as on the confirmation."""
    searched: Template | None = None
    """Text that is visible once the list is filtered, with `{field}`, where a script redraws it."""
    not_filed: dict[Words, tuple[Words, ...]] = {}
    """Column headings, and how a cell begins in a row that is no filing, for example "Rejected"."""
    next: Locator | None = None
    settle_minutes: Annotated[int, Field(ge=1)]
    """How long after the click a filing may take to appear: before that, absence proves nothing."""
    listing: Listing | None = None
    """None: this version can look one claim up, and not list them all."""

    @model_validator(mode="after")
    def _can_be_turned(self) -> History:
        if self.listing and self.listing.since and self.go is None:
            raise ValueError("listing.since needs go, the button that filters")
        return self


class Form(Strict):
    """Everything from the menu to the confirmation, for one claim type."""

    open: tuple[Click, ...]
    """Through the menu; no deep links."""
    frame: Locator | None = None
    """The iframe that holds the form."""
    takes_our_reference: Key | None = None
    """The field that takes our claim id."""
    dealer: Critical
    """Where a page of the form shows the dealer code, as text or as a control's value."""
    dealer_pattern: DealerPattern = r"^(?P<dealer>\S+)$"
    """Where in that text the code stands."""
    dealer_page: Key
    """The page of the form on which it is looked for."""
    pages: Annotated[tuple[FormPage, ...], Field(min_length=1)]
    submit: Submit
    confirmation: Confirmation
    refusals: Annotated[tuple[Refusal, ...], Field(min_length=1)]
    documents: Documents | None = None
    """None: files go with the form, or there are none."""
    history: History | None = None

    @model_validator(mode="after")
    def _hangs_together(self) -> Form:
        names = [page.name for page in self.pages]
        if len(set(names)) != len(names):
            raise ValueError("two pages have the same name")
        if self.dealer_page not in names:
            raise ValueError(f"dealer_page is '{self.dealer_page}', the pages are {', '.join(names)}")
        if any((page.next is None) != (page is self.pages[-1]) for page in self.pages):
            raise ValueError("every page but the last says how to get to the next")
        fields = [name for page in self.pages for name in page.fields]
        if len(set(fields)) != len(fields):
            raise ValueError("two pages have a field of the same name")
        if self.takes_our_reference and self.takes_our_reference not in fields:
            raise ValueError(f"takes_our_reference names '{self.takes_our_reference}', which is no field")
        if unknown := set(self.confirmation.shows) - set(fields):
            raise ValueError(f"confirmation.shows names {', '.join(sorted(unknown))}, which is no field")
        if self.confirmation.history and self.history is None:
            raise ValueError("confirmation.history needs a history section")
        for paper in self.confirmation.papers:
            public = {name for name, field in self.fields.items() if field.sensitivity == "public"} | {"dealer_code"}
            if unknown := set(names_in(paper.holds)) - public:
                raise ValueError(f"holds names {', '.join(sorted(unknown))}, which is no public field")
        if self.documents and self.confirmation.where != "page":
            raise ValueError("documents are asked for on the page itself: confirmation.where must be page")
        if self.history:
            unknown = (set(self.history.search) | set(self.history.key)) - set(fields)
            if unknown:
                raise ValueError(f"history names {', '.join(sorted(unknown))}, which is no field")
        return self

    @property
    def fields(self) -> dict[str, PageField]:
        """Every field of every page."""
        return {name: field for page in self.pages for name, field in page.fields.items()}

    @property
    def attachments(self) -> tuple[AttachmentRule, ...]:
        """Every place that takes files."""
        after = self.documents.attachments if self.documents else ()
        return (*(rule for page in self.pages for rule in page.attachments), *after)

    @property
    def listed_reference(self) -> ReferenceRule:
        """The reference's rule as it holds for the history's column, and for what a person types."""
        rule, pattern = self.confirmation.reference, self.history.reference_pattern if self.history else None
        return rule if pattern is None else rule.model_copy(update={"pattern": pattern})


class Totp(Strict):
    """The page that asks for the authenticator's code."""

    find: Locator
    go: Locator
    refused: tuple[Words, ...] = ()


class MailedCode(Strict):
    """The page that asks for a code that the portal has sent by e-mail."""

    find: Locator
    go: Locator
    sender: Words
    """The whole address that it comes from."""
    subject: Words
    """Part of the subject."""
    pattern: CodePattern
    """What in the message's text is the code."""
    seconds: Annotated[int, Field(gt=0, le=600)] = 120
    """So long it is waited for."""
    refused: tuple[Words, ...] = ()


class Elsewhere(Strict):
    """The page that says that the account is signed in somewhere else."""

    marker: Locator
    go_on: Locator


class Reuse(Strict):
    """A signed-in session is kept, encrypted, for the account's next run, which then need not log in.

    Cookies and local storage are kept; what a page has in its session storage is not.
    """

    minutes: Annotated[int, Field(gt=0, le=1440)]
    """From the log-in on, however often it is reused: no more than the portal lets a session live."""
    path: str | None = None
    """A page that shows `signed_in`, below the base URL, where `login.path` shows everybody the log-in."""


class Login(Strict):
    """From the portal's entry to being signed in."""

    method: Literal["form", "basic"] = "form"
    """`basic`: HTTP Basic with the account's name and password."""
    path: str
    """Where the portal is entered, below its base URL."""
    user: Locator | None = None
    next: Click | None = None
    """The way from the user's name to the password, where that is asked for on a second page."""
    password: Locator | None = None
    go: Locator | None = None
    refused: tuple[Words, ...] = ()
    """Texts that say that user or password is wrong."""
    totp: Totp | None = None
    mailed_code: MailedCode | None = None
    """The account's secret `mailbox` says where it arrives."""
    needs_person: tuple[Words, ...] = ()
    """Texts that ask for a second factor that only a person has."""
    elsewhere: Elsewhere | None = None
    signed_in: Locator
    sign_out: Locator | None = None
    reuse: Reuse | None = None
    """None: every run logs in."""

    @model_validator(mode="after")
    def _complete(self) -> Login:
        if self.method == "form" and None in (self.user, self.password, self.go):
            raise ValueError("a form log-in needs user, password and go")
        if self.method == "basic" and (self.next or self.reuse):
            raise ValueError("a basic log-in has no pages and no session: leave out next and reuse")
        return self


class Markers(Strict):
    """Texts that any page may show."""

    maintenance: tuple[Words, ...] = ()
    session_expired: tuple[Words, ...] = ()
    unavailable: tuple[Words, ...] = ()


class PackData(Strict):
    """One version of one OEM's selector pack."""

    oem: Key
    version: Annotated[str, Field(pattern=r"^v\d{4}$")]
    released: date
    why: Words
    """What this version is for."""
    markers: Markers
    login: Login
    forms: Annotated[dict[Key, Form], Field(min_length=1)]
    """By claim type."""
