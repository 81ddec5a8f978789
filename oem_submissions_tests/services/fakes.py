"""A portal that lives in the test: it knows what was filed, whatever the services believe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from oem_submissions.domain.contracts import ProbeReport
from oem_submissions.domain.dispositions import Disposition, Seen
from oem_submissions.domain.evidence import (
    CONTROL,
    HISTORY,
    POST_CONFIRM,
    PRE_SUBMIT,
    READBACK,
    REQUEST,
    Artifact,
    FieldReadback,
)
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.listing import Likeness, ListedFiling, Listing, ListingRules
from oem_submissions.domain.looking import HistoryRules
from oem_submissions.domain.needles import Needles
from oem_submissions.domain.outcomes import Answer, Filed, Hit, LookUp, Outcome, Reference, Refused, Unknown, Wire
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Pins
from oem_submissions.ports import Account, Control, Prepared, SessionShelf, Submission
from oem_submissions_tests.evidence import samples as evidence
from oem_submissions_tests.making import PINS

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)


@dataclass
class FakePortal:
    """Implements the `Portal` port; `filed` is the truth."""

    oem: str = "aurora"
    pins: Pins = PINS
    filed: list[str] = field(default_factory=list)
    """Natural keys, one per filing."""
    log_ins: int = 0
    failures: list[StepFailed] = field(default_factory=list)
    """Raised by the next `prepare`, one each."""
    refuse: Callable[[Submission], str | None] = lambda _: None
    refusal: ReasonCode = ReasonCode.VALIDATION_REJECTED
    lose_reply: bool = False
    lose_request: bool = False
    """The request never arrives, and nobody can tell."""
    rules: HistoryRules | None = HistoryRules(settle_minutes=60, deadline_hours=36)
    history: Callable[[FakePortal, Submission], list[Hit]] = lambda portal, submission: portal.listed(submission)
    """What the portal's history lists of a claim."""
    history_failures: list[StepFailed] = field(default_factory=list)
    """Raised by the next `look_up`, one each."""
    listing_rules_: ListingRules | None = ListingRules(settle_minutes=60, shows_days=395, decision_days=30)
    carried: dict[str, str] = field(default_factory=dict)
    """Claim ids that stood in "your reference", by reference."""
    decisions: dict[str, Seen] = field(default_factory=dict)
    """By reference; a claim that is not here is undecided."""
    rows: Callable[[FakePortal], list[ListedFiling]] = lambda portal: portal.everything()
    """What the portal's whole list shows."""
    complete: bool = True
    listed_since: list[datetime] = field(default_factory=list)
    """One per read of the whole list."""
    probe_report: ProbeReport = field(default_factory=lambda: ProbeReport((), ("warranty",), {}))
    """What the next probes find."""
    probed: list[list[str]] = field(default_factory=list)
    """Claim ids that each probe was tried with."""
    needles: Needles = Needles()
    """What no evidence may hold."""
    session_type: type[FakeSession] | None = None
    looked_up: list[str] = field(default_factory=list)
    """Natural keys, one per look."""

    def listed(self, submission: Submission) -> list[Hit]:
        """The truth."""
        numbers = [number for number, key in enumerate(self.filed, 1) if key == submission.natural_key]
        return [hit(f"WC-{number:06d}") for number in numbers]

    def everything(self) -> list[ListedFiling]:
        """The truth, newest first."""
        return [self.row(f"WC-{number:06d}", key) for number, key in enumerate(self.filed, 1)][::-1]

    def row(self, number: str, key: str, amount: str = "1.00", at: datetime | None = None) -> ListedFiling:
        """A filing as the list shows it; without a number, one whose reference comes later."""
        ours = self.carried.get(number, "")
        return ListedFiling(
            "warranty",
            {"Claim number": number or "pending", "Total": amount},
            hit(number).reference,
            Likeness({"key": key, "ours": ours, "amount": amount}, (key,)),
            ours or None,
            at or datetime.now(UTC),
            self.decisions.get(number, Seen(Disposition.UNDECIDED, "Submitted")),
        )

    def listing_rules(self, claim_type: str) -> ListingRules | None:
        return self.listing_rules_

    def likeness(self, submission: Submission) -> Likeness:
        key = submission.natural_key
        return Likeness({"key": key, "ours": submission.claim_id, "amount": "1.00"}, (key,))

    def history_rules(self, claim_type: str) -> HistoryRules | None:
        return self.rules

    @contextmanager
    def session(
        self, account: Account, shelf: SessionShelf | None = None, *, attended: bool = True
    ) -> Iterator[FakeSession]:
        yield (self.session_type or FakeSession)(self, account)


@dataclass
class FakeSession:
    portal: FakePortal
    account: Account
    submission: Submission | None = None

    @property
    def needles(self) -> Needles:
        return self.portal.needles

    def prepare(self, submission: Submission) -> Prepared:
        self.portal.log_ins += 1
        if self.portal.failures:
            raise self.portal.failures.pop(0)
        self.submission = submission
        dealer, order = submission.claim.dealer_code, submission.natural_key
        readback = (
            FieldReadback("dealer_code", "dealer", dealer, dealer, "public"),
            FieldReadback("repair_order", "RO", order, order, "public"),
        )
        artifacts = (artifact(PRE_SUBMIT, submission), artifact(READBACK, submission))
        return Prepared(readback, artifacts, f"form {dealer} {order}", "http://portal/form", "fake 1", (1280, 800))

    def submit(self, on_sent: Callable[[Wire], None]) -> Answer:
        assert self.submission is not None
        wire = Wire(sent_at=NOW, method="POST", path="/claims", body_sha256="0" * 64)
        try:
            on_sent(wire)
        except Exception as error:  # noqa: BLE001 - as the gate does: what is not durable may not leave
            unknown = Unknown(ReasonCode.OUTCOME_UNKNOWN, f"Nothing left: {error}")
            return Answer(unknown, Wire(blocked=1), (), "", "http://portal/form")
        outcome: Outcome
        refusal = self.portal.refuse(self.submission)
        if self.portal.lose_request:
            outcome = Unknown(ReasonCode.OUTCOME_UNKNOWN, "The connection broke before an answer came.")
            return Answer(outcome, wire, (artifact(REQUEST, self.submission),), "", "http://portal/form")
        if refusal is not None:
            outcome = Refused(self.portal.refusal, refusal, "HTTP 422")
        else:
            self.portal.filed.append(self.submission.natural_key)
            number = f"WC-{len(self.portal.filed):06d}"
            self.portal.carried[number] = self.submission.claim_id
            outcome = Filed(Reference(number, "claim number", number, (0, len(number))))
        if self.portal.lose_reply:
            outcome = Unknown(ReasonCode.OUTCOME_UNKNOWN, "The connection broke before an answer came.")
        wire = replace(wire, responded_at=NOW, status=200)
        artifacts = (artifact(POST_CONFIRM, self.submission), artifact(REQUEST, self.submission))
        text = outcome.reference.raw_text if isinstance(outcome, Filed) else "done"
        return Answer(outcome, wire, artifacts, text, "http://portal/done")

    def probe(self, samples: Sequence[Submission]) -> ProbeReport:
        self.portal.log_ins += 1
        self.portal.probed.append([sample.claim_id for sample in samples])
        return self.portal.probe_report

    def list_history(self, since: datetime) -> Listing:
        self.portal.listed_since.append(since)
        if self.portal.history_failures:
            raise self.portal.history_failures.pop(0)
        rows = tuple(self.portal.rows(self.portal))
        return Listing("aurora", rows, ("warranty",), since, 1 + len(rows) // 10, self.portal.complete)

    def look_up(self, submission: Submission, control: Control | None = None, since: datetime | None = None) -> LookUp:
        self.portal.looked_up.append(submission.natural_key)
        if self.portal.history_failures:
            raise self.portal.history_failures.pop(0)
        hits = self.portal.history(self.portal, submission)
        artifacts = [artifact(HISTORY, submission)]
        found = None
        if control is not None and not hits:
            known = self.portal.history(self.portal, control.submission)
            found = any(isinstance(k.reference, Reference) and k.reference.value == control.reference for k in known)
            artifacts.append(artifact(CONTROL, control.submission))
        return LookUp(tuple(hits), found, tuple(artifacts), "history", "http://portal/history")


def hit(number: str, differs: tuple[str, ...] = ()) -> Hit:
    """A row of the history; without a number, one whose reference comes later."""
    if not number:
        return Hit({"Claim number": "pending"}, Unknown(ReasonCode.REFERENCE_MISSING, "'pending' is none."), differs)
    return Hit({"Claim number": number}, Reference(number, "claim number", number, (0, len(number))), differs)


def artifact(name: str, submission: Submission) -> Artifact:
    """A piece of evidence that looks a little like one."""
    samples = evidence.artifacts()
    data = evidence.shot(name, (submission.claim_id,)) if name.endswith(".webp") else samples[name]
    return Artifact(name, "image/webp" if name.endswith(".webp") else "application/json", data, NOW)
