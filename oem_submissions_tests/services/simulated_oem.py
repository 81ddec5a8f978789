"""An OEM's portal by the machine's clock: it files what arrives and lists it later, whatever the services believe.

It refuses no second filing of a claim: that the services never send one is what is to be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from oem_submissions.domain.evidence import CONTROL, HISTORY, POST_CONFIRM, PRE_SUBMIT, READBACK, REQUEST, FieldReadback
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.looking import HistoryRules
from oem_submissions.domain.needles import Needles
from oem_submissions.domain.outcomes import (
    Answer,
    Filed,
    Hit,
    LookUp,
    Outcome,
    Pending,
    Reference,
    Refused,
    Unknown,
    Wire,
)
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Pins
from oem_submissions.ports import Account, Control, Prepared, SessionShelf, Submission
from oem_submissions_tests.making import PINS
from oem_submissions_tests.services.fakes import NOW, artifact, hit

SETTLE_MINUTES = 60
SLOWEST = 50 * 60
"""Seconds, at the most, from a request's leaving until the portal lists what it filed: within the settle window."""
LETS_GO_WITHIN = 5
"""Seconds after SENT was noted: a request that is held up for longer, as in a stopped worker, never leaves."""


class Fate(StrEnum):
    """What becomes of a request."""

    ANSWERED = "answered"
    REFUSED = "refused"  # nothing is filed
    CALLED_DUPLICATE = "called a duplicate"  # nothing is filed either
    REPLY_LOST = "reply lost"
    REQUEST_LOST = "request lost"
    ARRIVES_LATE = "arrives late"  # the worker sees no answer, and the portal files it later
    REFERENCE_LATER = "reference later"


@dataclass
class Filing:
    """What the portal has."""

    claim_id: str
    key: str
    number: str
    listed_at: float
    referenced_at: float


@dataclass
class SimulatedOem:
    """The truth. Times are seconds of the machine's clock."""

    now: Callable[[], float]
    left: Callable[[Submission], None] = lambda _: None
    """Told of every request at the moment when it leaves."""
    filings: list[Filing] = field(default_factory=list)
    on_the_way: list[tuple[float, float, Submission]] = field(default_factory=list)
    """When a request arrives, how long after it is listed, and what it says."""
    fates: list[Fate] = field(default_factory=list)
    """Of the next requests, one each; then they are answered."""
    listing_seconds: float = 0.0
    is_down: bool = False
    finds_nothing: bool = False
    """The history's search is broken."""

    def filed(self, key: str) -> int:
        """How often a claim was filed."""
        return sum(filing.key == key for filing in self.filings)

    def is_expected(self, key: str) -> bool:
        """Whether a request of the claim is still on its way."""
        return any(submission.natural_key == key for _, _, submission in self.on_the_way)

    def receive(self, submission: Submission, listing_seconds: float, reference_seconds: float = 0.0) -> Filing:
        """File it."""
        now, number = self.now(), f"WC-{len(self.filings) + 1:06d}"
        listed_at, referenced_at = now + listing_seconds, now + reference_seconds
        self.filings.append(Filing(submission.claim_id, submission.natural_key, number, listed_at, referenced_at))
        return self.filings[-1]

    def land(self) -> None:
        """What had time to arrive, arrives."""
        for arrival in [item for item in self.on_the_way if item[0] <= self.now()]:
            self.on_the_way.remove(arrival)
            self.receive(arrival[2], arrival[1])

    def heal(self) -> None:
        """All is well again."""
        self.is_down = self.finds_nothing = False
        self.fates.clear()
        self.listing_seconds = 0.0

    def lists(self, submission: Submission) -> list[Hit]:
        """What the history shows of a claim."""
        now = self.now()
        found = [f for f in self.filings if f.key == submission.natural_key and f.listed_at <= now]
        return [] if self.finds_nothing else [hit(f.number if f.referenced_at <= now else "") for f in found]


@dataclass
class WorkersPortal:
    """The `Portal` as one worker reaches it: it stops before whatever it does there."""

    truth: SimulatedOem
    pause: Callable[[str], None]
    settle_minutes: int = SETTLE_MINUTES
    oem: str = "aurora"
    pins: Pins = PINS

    def history_rules(self, claim_type: str) -> HistoryRules | None:
        return HistoryRules(self.settle_minutes, 36)

    @contextmanager
    def session(
        self, account: Account, shelf: SessionShelf | None = None, *, attended: bool = True
    ) -> Iterator[WorkersSession]:
        yield WorkersSession(self.truth, self.pause)


@dataclass
class WorkersSession:
    """The `PortalSession` of one worker."""

    truth: SimulatedOem
    pause: Callable[[str], None]
    submission: Submission | None = None
    needles: Needles = Needles()

    def prepare(self, submission: Submission) -> Prepared:
        self.pause("prepare")
        self._reach("fill")
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
        noted_at = self.truth.now()
        self.pause("let the request go")
        if self.truth.now() - noted_at > LETS_GO_WITHIN:
            unknown = Unknown(ReasonCode.OUTCOME_UNKNOWN, "The request was held up for too long, and did not leave.")
            return Answer(unknown, wire, (artifact(REQUEST, self.submission),), "", "http://portal/form")
        return self._send(wire)

    def _send(self, wire: Wire) -> Answer:
        assert self.submission is not None
        self.truth.left(self.submission)
        outcome = self._asked(self.submission)
        self.pause("take the answer")
        shots = [artifact(REQUEST, self.submission)]
        if isinstance(outcome, Unknown):
            return Answer(outcome, wire, tuple(shots), "", "http://portal/form")
        shots.append(artifact(POST_CONFIRM, self.submission))
        text = outcome.reference.raw_text if isinstance(outcome, Filed) else "done"
        return Answer(outcome, replace(wire, responded_at=NOW, status=200), tuple(shots), text, "http://portal/done")

    def _asked(self, submission: Submission) -> Outcome:
        truth = self.truth
        fate = truth.fates.pop(0) if truth.fates else Fate.ANSWERED
        lost = Unknown(ReasonCode.OUTCOME_UNKNOWN, "The connection broke before an answer came.")
        if truth.is_down or fate is Fate.REQUEST_LOST:
            return lost
        match fate:
            case Fate.REFUSED:
                return Refused(ReasonCode.VALIDATION_REJECTED, "Odometer too high.", "HTTP 422")
            case Fate.CALLED_DUPLICATE:
                return Refused(ReasonCode.DUPLICATE_AT_PORTAL, "A claim for this line exists.", "HTTP 409")
            case Fate.ARRIVES_LATE:
                truth.on_the_way.append(
                    (truth.now() + SLOWEST / 2, min(truth.listing_seconds, SLOWEST / 2), submission)
                )
                return lost
            case Fate.REFERENCE_LATER:
                truth.receive(submission, truth.listing_seconds, 10 * 3600)
                return Pending("The number comes overnight.")
            case _:
                filing = truth.receive(submission, truth.listing_seconds)
        if fate is Fate.REPLY_LOST:
            return lost
        return Filed(Reference(filing.number, "claim number", filing.number, (0, len(filing.number))))

    def look_up(self, submission: Submission, control: Control | None = None, since: datetime | None = None) -> LookUp:
        self.pause("look the claim up")
        self._reach("look up")
        hits = self.truth.lists(submission)
        artifacts = [artifact(HISTORY, submission)]
        found = None
        if control is not None and not hits:
            known = self.truth.lists(control.submission)
            found = any(isinstance(k.reference, Reference) and k.reference.value == control.reference for k in known)
            artifacts.append(artifact(CONTROL, control.submission))
        return LookUp(tuple(hits), found, tuple(artifacts), "history", "http://portal/history")

    def _reach(self, step: str) -> None:
        if self.truth.is_down:
            raise StepFailed(ReasonCode.PORTAL_UNAVAILABLE, "The portal answered HTTP 503.", step)
