"""The ledger's rows as the services see them: frozen copies, never live objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from oem_submissions.domain.breaker import Ending
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import AT_REST, State


@dataclass(frozen=True)
class Pins:
    """What a run may use for its whole life: the code and the pack, by digest."""

    adapter_digest: str
    pack_version: str
    pack_digest: str


@dataclass(frozen=True)
class NewClaim:
    """A due CRM record on its way into the ledger. `reason` is set when it can't be filed as it is."""

    oem: str
    dealer: str
    period: str
    claim_type: str
    crm_record_id: str
    natural_key: str | None
    payload: dict[str, Any]
    due_on: date
    source_sha256: str
    """Of the record as the CRM has it, files included: equal means that nothing was corrected."""
    reason: ReasonCode | None = None
    reason_text: str | None = None


@dataclass(frozen=True)
class Claim:
    """One claim as it stands in the ledger."""

    claim_id: str
    oem: str
    dealer: str
    period: str
    claim_type: str
    crm_record_id: str
    natural_key: str | None
    payload: dict[str, Any]
    payload_sha256: str
    source_sha256: str
    due_on: date
    state: State
    version: int
    """Rises with every move; the compare-and-set compares it."""
    attempts: int
    """Begun since the claim came due or was redriven."""
    reason: ReasonCode | None
    reason_text: str | None
    reference: str | None
    reference_kind: str | None
    run_id: str | None
    """The last run that worked on it."""
    bundle_digest: str | None
    crm_version: int | None
    """The `version` that the CRM was last told; None when it was never told."""
    created_at: datetime
    updated_at: datetime
    confirmed_at: datetime | None
    look_again_at: datetime | None = None
    """When a held claim is looked up in the portal's history next; None: now, if it is held for that."""
    looks: int = 0
    """Begun since the claim was held."""
    absences: int = 0
    """How often it was found never to have been filed, and returned, in its whole life."""
    erased_at: datetime | None = None
    """When its personal data was erased: the payload's is replaced, and what was encrypted can't be read any more."""
    pruned_at: datetime | None = None
    """When its evidence was given up, past its retention: that the bundle is missing is no loss."""
    in_doubt_since: datetime | None = None
    """When the ledger was put back to an older time: it may have forgotten a filing. Absence proves nothing earlier."""

    @property
    def is_to_be_filed(self) -> bool:
        """Whether it waits to be filed, and nothing else has to be known before."""
        return self.state is State.READY and self.in_doubt_since is None

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing more happens to it by itself; a refusal is at rest once it is sealed."""
        return self.state in AT_REST and (self.state is not State.REJECTED or self.bundle_digest is not None)


@dataclass(frozen=True)
class Attempt:
    """One go at one claim by one run. What is None did not happen."""

    attempt_id: int
    claim_id: str
    number: int
    """1, 2, … over the claim's whole life."""
    run_id: str
    worker: str
    pins: Pins
    fencing_token: int
    started_at: datetime
    armed_at: datetime | None
    sent_at: datetime | None
    responded_at: datetime | None
    response_status: int | None
    ended_at: datetime | None
    step: str | None
    reason: ReasonCode | None
    reason_text: str | None


@dataclass(frozen=True)
class Lease:
    """The right to work with one portal account, for a time."""

    lease_id: int
    oem: str
    dealer: str
    run_id: str
    worker: str
    fencing_token: int
    """Rises with every lease of every account; a write with an old token is refused."""
    expires_at: datetime


@dataclass(frozen=True)
class KeptArtifact:
    """A piece of evidence that is durable."""

    claim_id: str
    attempt_id: int
    name: str
    media_type: str
    key: str
    """Where the evidence store has it."""
    sha256: str
    size: int
    captured_at: datetime


@dataclass(frozen=True)
class Event:
    """One link of a claim's hash chain."""

    claim_id: str
    sequence: int
    at: datetime
    actor: str
    kind: str
    from_state: State | None
    to_state: State | None
    run_id: str | None
    fencing_token: int | None
    details: dict[str, Any]
    previous_hash: str
    hash: str


@dataclass(frozen=True)
class Hold:
    """A legal hold: nothing of the claim may be deleted or erased until a person lifts it."""

    claim_id: str
    at: datetime
    by: str
    why: str


@dataclass(frozen=True)
class DueWork:
    """One unit of the queue: an account's claims of one period that still need work."""

    oem: str
    dealer: str
    period: str
    claims: int
    oldest_due_at: datetime
    untried: int = 0
    """Of the claims, those that were never attempted."""
    ready: int = 0
    """Those that wait to be filed."""
    first_due_on: date | None = None
    """Of those, the day on which the first came due."""
    goes_on: bool = False
    """Whether there is something to do besides filing: what is under way, a look-up, word to the CRM."""
    priority: int = 0
    """In Dagster's queue: more goes first."""


@dataclass(frozen=True)
class HeldClaim:
    """A claim whose look-up in the portal's history is due."""

    claim: Claim
    attempt: Attempt | None
    """The last one that was armed; None when the ledger knows of none: it was restored, and may have forgotten one."""
    seconds: float
    """Since its request left, or since it was armed, or since the ledger was restored; by the database's clock."""


@dataclass(frozen=True)
class Restore:
    """That an OEM's part of the ledger was put back to an older time, and whether that is over for new claims."""

    at: datetime
    oem: str
    since: datetime
    """What was filed after it, the ledger may have forgotten."""
    is_over: bool
    by: str
    why: str


@dataclass(frozen=True)
class DueLook:
    """A partition with a claim whose look-up is due: the one that waits longest."""

    work: DueWork
    claim_id: str
    version: int
    """Of the claim: it rises with every look."""
    overdue_seconds: float


@dataclass(frozen=True)
class EnqueueRequest:
    """Somebody asked for an OEM's due work to be put in the queue."""

    request_id: int
    oem: str
    dealers: tuple[str, ...]
    """All, when empty."""
    period: str | None
    requested_by: str


@dataclass(frozen=True)
class Death:
    """That a claim became a dead letter, as its chain has it. A claim may die several times."""

    claim_id: str
    sequence: int
    """Of the event in the claim's chain."""
    at: datetime
    oem: str
    dealer: str
    period: str
    claim_type: str
    reason: ReasonCode | None
    run_id: str | None
    """None: it was no valid claim when it was taken in."""


class AlertKind(StrEnum):
    """What an alert is about. `domain.alerting` has the rule of each; `docs/alerts.md` an anchor of this name."""

    WORKER_LOST = "worker_lost"
    BREAKER_OPEN = "breaker_open"
    ACCOUNT_REFUSED = "account_refused"
    RELEASE_PASSED = "release_passed"
    RELEASE_SUSPENDED = "release_suspended"
    STREAK_LOST = "streak_lost"
    DRIFT = "drift"
    PROBE_RED = "probe_red"
    CHECK_FAILED = "check_failed"
    RUN_FAILED = "run_failed"
    DEAD_LETTERS = "dead_letters"
    UNKNOWN_OUTCOME = "unknown_outcome"
    QUEUE_AGE = "queue_age"
    DEADLINE_AT_RISK = "deadline_at_risk"
    EVIDENCE_LOG_BROKEN = "evidence_log_broken"
    SCHEDULER_SILENT = "scheduler_silent"
    CHANNEL_BROKEN = "channel_broken"
    HEARTBEAT_FAILED = "heartbeat_failed"
    PERSON_NEEDED = "person_needed"


class AlertSeverity(StrEnum):
    """How much it matters."""

    WARNING = "warning"
    CRITICAL = "critical"


class AlertChange(StrEnum):
    """What people are told of an alert."""

    RAISED = "raised"
    ESCALATED = "escalated"  # it got worse, or is open for too long
    REPEATED = "repeated"  # it is still open, and was counted since
    RESOLVED = "resolved"


@dataclass(frozen=True)
class NewAlert:
    """Something that people should know at once."""

    key: str
    """One cause: while its alert is open, the same again is only counted."""
    kind: AlertKind
    text: str
    oem: str | None = None
    dealer: str | None = None
    run_id: str | None = None
    claim_ids: tuple[str, ...] = ()
    severity: AlertSeverity | None = None
    """None: as the kind's rule says."""
    count: int | None = None
    """How often it is so now; None: once more than before."""


@dataclass(frozen=True)
class Alert:
    """An alert as the ledger has it."""

    alert_id: int
    key: str
    kind: AlertKind
    oem: str | None
    dealer: str | None
    run_id: str | None
    text: str
    claim_ids: tuple[str, ...]
    """The claims that it is about, if any."""
    count: int
    raised_at: datetime
    last_at: datetime
    resolved_at: datetime | None
    severity: AlertSeverity = AlertSeverity.WARNING
    told_at: datetime | None = None
    """When people were last told of it; None: it does not count enough yet."""
    told_count: int = 0
    escalated_at: datetime | None = None


@dataclass(frozen=True)
class ShelvedSession:
    """A signed-in session that waits for its account's next run, as people may see it."""

    oem: str
    dealer: str
    signed_in_at: datetime
    kept_at: datetime
    expires_at: datetime
    run_id: str
    """Who kept it."""


@dataclass(frozen=True)
class LostLease:
    """A lease that ran out and was taken over: its worker is lost. An entry of the lease log."""

    entry: int
    at: datetime
    oem: str
    dealer: str
    run_id: str
    worker: str
    fencing_token: int


@dataclass(frozen=True)
class RunMeasure:
    """How a run's attempts went, for the drift statistics."""

    run_id: str
    dealer: str
    started_at: datetime
    seconds: tuple[float, ...]
    """From the beginning of each attempt that filed to its end; none of a run whose log-in a person did."""
    endings: tuple[Ending, ...]
