"""Portals that give the number in a PDF or by e-mail: real PDFs, a real IMAP server, the real services and ledger."""

from __future__ import annotations

import email.policy
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from adapters import registry
from oem_submissions import pdf
from oem_submissions.domain.evidence import DOCUMENT, HISTORY, PERSONAL_MAIL, PERSONAL_PDF, POST_CONFIRM, RECONCILED
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.looking import Absent, Doubtful, Found, NotYet, conclude
from oem_submissions.domain.outcomes import Filed, Hit, LookUp, Reference, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, NewClaim
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.store import Ledger
from oem_submissions.portal import mailbox
from oem_submissions.portal.mail_authentication import is_authentic
from oem_submissions.portal.mailbox import MailUnavailable, authserv_id
from oem_submissions.portal.mailed import ask_mailbox
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.papers import lacks, reference_in
from oem_submissions.portal.runtime import BrowserPortal, BrowserRuntime
from oem_submissions.ports import Account
from oem_submissions.services.seal import seal_claims
from oem_submissions.simulator.seed_media import document
from oem_submissions.simulator.server import Simulator
from oem_submissions.simulator.truth import Filing
from oem_submissions_tests.evidence.sealing import KEYS, SEALING
from oem_submissions_tests.mail import MailServer, mail_server
from oem_submissions_tests.making import new_claim, warranty_payload
from oem_submissions_tests.portal import papers
from oem_submissions_tests.portal.papers import SENDER, SUBJECT, PaperAurora, lines, right
from oem_submissions_tests.portal.parts import SELECTORS, SHORT, file_claim, newest_pack, warranty
from oem_submissions_tests.services.runs import let_pass, run

AUTHSERV = "mx.dealer.example"
PATIENT = replace(SHORT, sent_seconds=5, answer_seconds=6)
"""A portal that is slow because the machine is must not be taken for one that lost the answer."""


@pytest.fixture(scope="module")
def aurora() -> Iterator[Simulator]:
    with Simulator(skins=[PaperAurora]) as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_should_be(aurora: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    aurora.client.reset()
    aurora.client.add_account("aurora", "10234", "jdoe", "secret-pw-7", "Lakeside Motors")
    for name in ("gives", "link", "pdf"):
        monkeypatch.setattr(PaperAurora, name, getattr(PaperAurora, name))  # whatever a test says, it takes back


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@contextmanager
def portal(chromium: BrowserRuntime, aurora: Simulator, selectors: Path) -> Iterator[BrowserPortal]:
    runtime = BrowserRuntime(registry.adapter, selectors, {"aurora": aurora.http_url}, limits=PATIENT)
    runtime.browser = chromium.browser  # type: ignore[method-assign]
    yield runtime.portal("aurora")


class World:
    """A ledger, a store, a mailbox and the portal; between two runs two hours pass."""

    def __init__(
        self, chromium: BrowserRuntime, aurora: Simulator, ledger: Ledger, selectors: Path, mailbox: str | None = None
    ) -> None:
        self.chromium, self.aurora, self.ledger, self.selectors = chromium, aurora, ledger, selectors
        self.evidence, self.mailbox = MemoryStore(), mailbox

    def add(self, number: int) -> Claim:
        payload = warranty_payload(number, odometer=1200 + number, repair_order=f"RO{datetime.now(UTC):%H%M%S%f}")
        return self.ledger.add_claim(NewClaim(**{**vars(new_claim(number)), "payload": payload}))

    def run(self, **changes: Any) -> None:
        let_pass(self.ledger, 2)
        account = Account("aurora", "10234", "jdoe", "secret-pw-7", mailbox=self.mailbox)
        with portal(self.chromium, self.aurora, self.selectors) as opened:
            run(self.ledger, opened, self.evidence, account=lambda: account, **changes)  # type: ignore[arg-type]

    def now(self, claim: Claim) -> Claim:
        found = self.ledger.claim(claim.claim_id)
        assert found is not None
        return found

    def filing(self) -> Filing:
        """The portal's one."""
        truth = self.aurora.client.truth("aurora")
        assert (truth["filed"], truth["submit_posts"]) == (1, 1)
        return Filing(**truth["filings"][0])

    def pieces(self, claim: Claim) -> dict[str, tuple[str, bytes]]:
        """Key and bytes of what was kept."""
        kept = self.ledger.artifacts(claim.claim_id)
        return {piece.name: (piece.key, self.evidence.get(piece.key)) for piece in kept}

    def sealed(self, claim: Claim) -> dict[str, bytes]:
        """The files of the bundle, which verifies."""
        found = self.now(claim)
        assert seal_claims([found], "run-2", "w", ledger=self.ledger, evidence=self.evidence, **SEALING) == []
        data = self.evidence.get(f"bundles/{claim.claim_id}/{self.now(claim).bundle_digest}.zip")
        assert verify_bundle(data, keys=KEYS).findings == ()
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            return {name.partition("/")[2]: bundle.read(name) for name in bundle.namelist()}


# --- a PDF --------------------------------------------------------------------------------------------------------


def test_the_number_is_taken_from_the_linked_pdf_and_a_stranger_finds_it_in_the_bundle(
    chromium: BrowserRuntime, aurora: Simulator, ledger: Ledger, tmp_path: Path
) -> None:
    asked: list[int] = []

    def not_there_at_first(filing: Filing) -> tuple[int, bytes]:
        asked.append(filing.id)
        return right(filing) if len(asked) > 1 else (404, b"")

    PaperAurora.pdf = not_there_at_first
    world = World(chromium, aurora, ledger, papers.packs(tmp_path, "pdf"))
    claim = world.add(1)
    world.run()
    filing, done = world.filing(), world.now(claim)
    assert (done.state, done.reference) == (State.CONFIRMED, filing.reference)
    assert len(asked) == 2
    pieces = world.pieces(claim)
    key, data = pieces[PERSONAL_PDF]
    assert key.startswith(f"personal/{claim.claim_id}/")
    assert data == right(filing)[1]
    files = world.sealed(claim)
    assert not [name for name in files if name.endswith(".pdf")]
    said = json.loads(files[f"data/{DOCUMENT}"])
    assert (said["source"], said["sha256"]) == ("pdf", sha256_hex(data))
    assert f"Your claim number is {filing.reference}." in said["text"]
    assert "Complaint: [personal]" in said["text"]
    assert "_ssid" not in said["address"]
    assert f"Your claim number is {filing.reference}." in files["data/index.html"].decode()
    (tmp_path / "bundle").mkdir()
    for name, data in files.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(
            data.replace((filing.reference or "").encode(), b"WC-2026-999999-A") if DOCUMENT in name else data
        )
    findings = [str(finding) for finding in verify_bundle(tmp_path / "bundle", keys=KEYS).findings]
    assert f"data/{DOCUMENT}: does not hold the reference {filing.reference}." in findings


MISSING, SUSPECT = ReasonCode.REFERENCE_MISSING, ReasonCode.REFERENCE_SUSPECT
AMBIGUOUS = ReasonCode.REFERENCE_AMBIGUOUS
HOSTILE: dict[str, tuple[Callable[[Filing], tuple[int, bytes]], ReasonCode, str]] = {
    "another line of the same order": (
        lambda f: (200, document("Confirmation", lines(f, line="11"))), SUSPECT, "does not say 'Line 1'"),
    "a page": (lambda f: (200, f"<h1>Sign in</h1>{f.reference}".encode()), MISSING, "links as a PDF is none"),
    "50 MB": (lambda f: (200, right(f)[1] + b" " * 50_000_000), MISSING, "larger than 5000000 bytes"),
}  # fmt: skip


def test_a_pdf_that_is_not_plainly_the_claims_own_gives_no_number(
    chromium: BrowserRuntime, aurora: Simulator, tmp_path: Path
) -> None:
    with (
        portal(chromium, aurora, papers.packs(tmp_path, "pdf")) as opened,
        opened.session(Account("aurora", "10234", "jdoe", "secret-pw-7")) as session,
    ):
        first = file_claim(session, warranty("RO-0"), "c0").outcome
        assert isinstance(first, Filed)
        earlier = first.reference.value
        old = (lambda f: (200, document("C", lines(f, number=earlier))), SUSPECT, "before the click already")
        for number, (what, (pdf, reason, words)) in enumerate({**HOSTILE, "an earlier claim's": old}.items(), 1):
            PaperAurora.pdf = pdf
            outcome = file_claim(session, warranty(f"RO-{number}"), f"c{number}").outcome
            assert isinstance(outcome, Unknown), what
            assert outcome.reason is reason, (what, outcome.text)
            assert re.search(words, outcome.text), (what, outcome.text)
        PaperAurora.pdf, PaperAurora.link = right, "http://localhost:1/aurora/{id}.pdf?{token}"
        elsewhere = file_claim(session, warranty("RO-9"), "c9").outcome
        assert isinstance(elsewhere, Unknown)
        assert "does not lead to the portal itself, but to 'http://localhost:1/aurora/" in elsewhere.text
    truth = aurora.client.truth("aurora")
    assert truth["submit_posts"] == truth["filed"] == len(HOSTILE) + 3


def test_a_pack_whose_document_could_be_another_claims_does_not_load(
    chromium: BrowserRuntime, aurora: Simulator, tmp_path: Path
) -> None:
    selectors = papers.packs(tmp_path, "pdf")
    pack = newest_pack(selectors, "aurora")
    pack.write_text(pack.read_text().replace('"Line {line}", ', ""))
    with (
        pytest.raises(ConfigurationError, match="holds lacks line of the natural key of warranty"),
        portal(chromium, aurora, selectors),
    ):
        pass


SAYS = "RO RO-1, Line 1: your claim number is {}."
GOOD = "WC-2026-004217-U"


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        (SAYS.format("WC-2026-004217-U, and WC-2026-000002-B"), AMBIGUOUS, "2 numbers that may be"),
        (SAYS.format("WC-2026-004217-A"), SUSPECT, "check digit"),
        (SAYS.format("pending"), MISSING, "holds no claim number"),
        (SAYS.format(GOOD) + " A DRAFT IS NOT A CLAIM.", SUSPECT, "says 'A draft is not a claim.'"),
        (SAYS.format(GOOD) + " WC-2026-00\u200b0002-B", SUSPECT, "invisible characters"),
        (SAYS.format("WC-2026-004217-U/7"), SUSPECT, "only as a part of something longer"),
    ],
)
def test_a_text_that_does_not_plainly_say_one_number_gives_none(text: str, reason: ReasonCode, words: str) -> None:
    confirmation = load_pack(SELECTORS, "aurora").form("warranty").confirmation
    said = reference_in("It", text, confirmation, (), registry.adapter("aurora"))
    assert isinstance(said, Unknown)
    assert (said.reason, words in said.text) == (reason, True), said.text


def test_a_number_that_also_stands_in_a_link_is_taken_and_its_place_is_kept() -> None:
    confirmation = load_pack(SELECTORS, "aurora").form("warranty").confirmation
    text = f"See https://aurora.example/claims/{GOOD}.\n\u200c\u00ad {SAYS.format(GOOD)}"
    said = reference_in("It", text, confirmation, (), registry.adapter("aurora"))
    assert isinstance(said, Reference)
    assert (said.value, said.raw_text[slice(*said.span)]) == (GOOD, GOOD)
    assert said.raw_text[: said.span[0]].endswith("your claim number is ")


@pytest.mark.parametrize(
    ("text", "is_it"),
    [
        ("Order: ro ro-1 / LINE 1, dealer", True),
        ("RO RO-1, Line 11", False),
        ("RO RO-12, Line 1", False),
        ("RO RO-1-2, Line 1", False),
        ("RO RO-1", False),
    ],
)
def test_a_document_is_a_claims_own_only_by_whole_words(text: str, is_it: bool) -> None:
    assert (lacks(text, ["RO RO-1", "Line 1"]) == "") is is_it
    assert lacks(text, [""])  # what can't tell a claim is never held


def test_a_broken_pdf_is_one_sentence_and_one_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pdf.PdfUnreadable, match="can't be unpacked"):
        pdf.read(document("Confirmation", ["number"])[:300])
    monkeypatch.setattr(pdf, "SECONDS", 1)
    endless = zlib.compress(b"BT /F1 9 Tf " + b"(a) Tj " * 3_000_000 + b"ET")
    page = document("Confirmation", []).replace(b"/Length", b"/Filter /FlateDecode /Length")
    start, end = page.index(b"stream\n") + 7, page.index(b"\nendstream")
    with pytest.raises(pdf.PdfUnreadable, match="can't be read within 1 seconds"):
        pdf.read(page[:start] + endless + page[end:])


# --- an e-mail ----------------------------------------------------------------------------------------------------


def message(filing: Filing, sender: str = SENDER, subject: str = SUBJECT, result: str = "", **other: str) -> bytes:
    """What the portal sends of a filing: HTML alone, as portals do."""
    mail = EmailMessage(policy=email.policy.SMTP)
    if result:
        mail["Authentication-Results"] = result
    mail["From"], mail["To"], mail["Subject"] = f"Aurora Motors <{sender}>", "dealer@example.com", subject
    said = "</td></tr><tr><td>".join(lines(filing, **other))
    mail.set_content(f"<style>p {{color: red}}</style><table><tr><td>{said}</td></tr></table>", subtype="html")
    return mail.as_bytes()


def test_the_number_comes_by_e_mail_and_no_other_message_is_taken_for_it(
    chromium: BrowserRuntime, aurora: Simulator, ledger: Ledger, mail: MailServer, tmp_path: Path
) -> None:
    PaperAurora.gives = "mail"
    world = World(chromium, aurora, ledger, papers.packs(tmp_path, "mail"), mail.address)
    claim = world.add(1)
    world.run()
    waits = world.now(claim)
    assert (waits.state, waits.reason) == (State.AWAITING_REFERENCE, MISSING)
    filing = world.filing()
    mail.deliver_raw(message(filing, line="2", number="WC-2026-000001-A"))
    mail.deliver_raw(message(filing, sender="claims@aurora.example.evil.example", number="WC-2026-000001-A"))
    mail.deliver_raw(message(filing, subject="Newsletter", number="WC-2026-000001-A"))
    mail.deliver_raw(message(filing, number="WC-2026-000001-A"), datetime.now(UTC) - timedelta(hours=5))  # a draft's
    mail.deliver_raw(message(filing, number="to follow"))
    mail.deliver_raw(
        b"From: claims@aurora.example\nSubject: =?x?q?\xff\nContent-Type: text/plain; charset=none\n\n\xff"
    )
    world.run()
    waits = world.now(claim)
    assert (waits.state, waits.looks) == (State.AWAITING_REFERENCE, 1)
    order = filing.fields["repair_order"]
    assert f"looked for was one of {SENDER} with '{SUBJECT}' in its subject" in (waits.reason_text or "")
    assert f"says 'RO {order}', 'Line 1'" in (waits.reason_text or "")
    sent, unread = message(filing), mail.unread()
    mail.deliver_raw(sent)
    world.run()
    done = world.now(claim)
    assert (done.state, done.reference) == (State.CONFIRMED, filing.reference), done.reason_text
    assert mail.unread() == unread + 1
    pieces, files = world.pieces(claim), world.sealed(claim)
    key, data = pieces[PERSONAL_MAIL]
    assert (key.startswith("personal/"), data) == (True, sent)
    said = json.loads(files[f"data/{DOCUMENT}"])
    assert (said["source"], said["from"], said["sha256"]) == ("email", SENDER, sha256_hex(sent))
    assert said["authentic_by"].startswith("nobody")
    assert filing.reference in said["text"]
    assert "RATTLE" not in str(files)
    assert not {HISTORY, f"data/{HISTORY}"} & files.keys()
    assert json.loads(files[f"data/{RECONCILED}"])["found"] == "in an e-mail of the portal"
    assert world.filing() == filing


def test_a_claim_whose_answer_was_lost_is_confirmed_by_its_authentic_e_mail(
    chromium: BrowserRuntime, aurora: Simulator, ledger: Ledger, mail: MailServer, tmp_path: Path
) -> None:
    PaperAurora.gives = "mail"
    world = World(chromium, aurora, ledger, papers.packs(tmp_path, "mail"), mail.address + f"?authserv_id={AUTHSERV}")
    claim = world.add(2)
    aurora.client.set_fault("aurora", "lost_response", times=1)
    world.run()
    filing = world.filing()
    assert world.now(claim).state is State.OUTCOME_UNKNOWN
    mail.deliver_raw(message(filing, number="WC-2026-000001-A"))  # forged, and nobody says otherwise
    mail.deliver_raw(
        message(filing, number="WC-2026-000001-A", result=f"{AUTHSERV}; dmarc=fail header.from=aurora.example")
    )
    world.run()
    held = world.now(claim)
    assert held.state is State.OUTCOME_UNKNOWN
    assert f"and that {AUTHSERV} found authentic" in (held.reason_text or "")
    mail.deliver_raw(
        message(filing, result=f"{AUTHSERV} 1; spf=pass; dmarc=pass (p=REJECT) header.from=aurora.example")
    )
    world.run()
    done = world.now(claim)
    assert (done.state, done.reference) == (State.CONFIRMED, filing.reference), done.reason_text
    files = world.sealed(claim)
    assert json.loads(files[f"data/{RECONCILED}"])["late"] == [DOCUMENT, POST_CONFIRM]


def test_two_messages_with_different_numbers_are_a_persons_and_a_flood_tells_nothing(
    mail: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = load_pack(papers.packs(tmp_path, "mail"), "aurora").form("warranty")
    account = Account("aurora", "10234", "jdoe", "secret-pw-7", mailbox=mail.address)
    filing = replace(papers.SAMPLE, fields=papers.SAMPLE.fields | {"repair_order": "RO-TWICE"})
    since, wanted = datetime.now(UTC), ("RO RO-TWICE", "Line 1")

    def ask() -> Reference | Unknown:
        return ask_mailbox(account, form, registry.adapter("aurora"), wanted, since).found

    for number, kind in (("WC-2026-004217-U", Reference), ("WC-2026-004218-E", Unknown)):
        mail.deliver_raw(message(filing, number=number))
        said = ask()
        assert isinstance(said, kind)
    assert isinstance(said, Unknown)
    assert (said.reason, "different numbers: WC-2026-004217-U, WC-2026-004218-E" in said.text) == (AMBIGUOUS, True)
    monkeypatch.setattr(mailbox, "MOST_OF_SENDER", 1)
    said = ask()
    assert isinstance(said, Unknown)
    assert (said.reason, "they can't be looked through" in said.text) == (MISSING, True)


def test_without_a_mailbox_or_a_message_a_claim_waits_until_its_deadline_and_is_a_persons_then(
    chromium: BrowserRuntime, aurora: Simulator, ledger: Ledger, tmp_path: Path
) -> None:
    PaperAurora.gives = "mail"
    world = World(chromium, aurora, ledger, papers.packs(tmp_path, "mail", hours=3), None)
    claim = world.add(4)
    world.run()
    world.run()
    waits = world.now(claim)
    assert (waits.state, waits.looks) == (State.AWAITING_REFERENCE, 1)
    assert "the account has no `mailbox` among its secrets" in (waits.reason_text or "")
    world.mailbox = "imap://u:pw-17@127.0.0.1:1/INBOX"
    world.run()
    over = world.now(claim)
    assert over.state is State.OUTCOME_UNKNOWN
    assert "has not given the reference within 3 hours. The number comes by e-mail, which can't be read" in str(
        over.reason_text
    )
    world.run(look_hours=0)
    assert world.now(claim).state is State.NEEDS_REVIEW
    assert world.filing().reference


RESULTS = {
    f"{AUTHSERV}; dmarc=pass header.from=aurora.example": True,
    f"{AUTHSERV.upper()} 1; dkim=pass (2048-bit key) header.d=aurora.example header.s=s1; dmarc=none": True,
    f"{AUTHSERV}; dkim=fail header.d=aurora.example; dkim = pass header.d = aurora.example": True,
    f"{AUTHSERV}; dmarc=fail header.from=aurora.example": False,
    f"{AUTHSERV}; dmarc=pass header.from=evil.example": False,
    f"{AUTHSERV}; dkim=pass header.d=example": False,
    f"{AUTHSERV}; dkim=pass header.d=rora.example": False,
    f"{AUTHSERV}; spf=pass smtp.mailfrom=claims@aurora.example": False,
    f'{AUTHSERV}; spf=fail smtp.mailfrom="x; dmarc=pass header.from=aurora.example; "@evil.example': False,
    f"{AUTHSERV}; dmarc=fail (; dmarc=pass header.from=aurora.example ;) header.from=aurora.example": False,
    f"{AUTHSERV}; dmarc=fail (not closed; dmarc=pass header.from=aurora.example": False,
    f"{AUTHSERV}.evil.example; dmarc=pass header.from=aurora.example": False,
    f"{AUTHSERV}; dmarc=pass header.from=aurora.example" + " " * 20_000: False,
    "": False,
}


def test_only_the_own_servers_topmost_result_makes_a_message_its_senders() -> None:
    assert {text: is_authentic([text], "claims@aurora.example", AUTHSERV) for text in RESULTS} == RESULTS
    yes, no = (text for text in list(RESULTS)[0:4:3])
    other = "mx.evil.example; dmarc=pass header.from=aurora.example"
    assert is_authentic([other, yes, no], "claims@aurora.example", AUTHSERV)
    assert not is_authentic([no, yes], "claims@aurora.example", AUTHSERV)
    assert not is_authentic([], "claims@aurora.example", AUTHSERV)


@pytest.mark.parametrize("query", ["authserv=mx", "authserv_id=", "authserv_id=a&authserv_id=b", "authserv_id=a&b=c"])
def test_a_mistyped_authserv_id_is_said_and_never_taken_for_none(query: str) -> None:
    with pytest.raises(MailUnavailable, match=r"may end in \?authserv_id=ID, and in nothing else"):
        authserv_id(f"imaps://u:p@mail.example.com/INBOX?{query}")


# --- what history and e-mail say together -------------------------------------------------------------------------


def reference(number: str) -> Reference:
    return Reference(number, "claim number", number, (0, len(number)))


NOT_YET = Unknown(MISSING, "none")
TOGETHER = [
    # listed, settled, mailed, conclusion
    (reference("A-1"), True, reference("A-1"), Found),
    (reference("A-1"), True, reference("A-2"), Doubtful),
    (reference("A-1"), True, NOT_YET, Found),
    (NOT_YET, True, reference("A-1"), Found),
    (NOT_YET, True, NOT_YET, NotYet),
    (None, False, reference("A-1"), NotYet),
    (None, True, reference("A-1"), Doubtful),
    (None, True, NOT_YET, Absent),
    (reference("A-1"), True, Unknown(AMBIGUOUS, "two"), Doubtful),
]


@pytest.mark.parametrize(("listed", "settled", "mailed", "wanted"), TOGETHER)
def test_an_e_mail_never_overrules_the_history(
    listed: Reference | Unknown | None, settled: bool, mailed: Reference | Unknown, wanted: type
) -> None:
    hits = (Hit({}, listed),) if listed else ()
    look = LookUp(hits, True, (), "", "", mailed)
    assert isinstance(conclude(look, settled=settled), wanted)
    alone = conclude(replace(look, hits=(), control_found=None, has_history=False), settled=False)
    assert not isinstance(alone, Absent)  # that no message came proves nothing
