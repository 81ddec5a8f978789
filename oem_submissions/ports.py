"""The small protocols between the services and the outside: CRM, portal, evidence store, secrets, ledger.

Each has at least two implementations, but for the ledger: it is a port because services and `ledger` may not import
each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from oem_submissions.domain.alerting import ChannelState, Failing, Finding, Transition
from oem_submissions.domain.breaker import Breaker, Ending, Note
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.checkpoints import Proof
from oem_submissions.domain.claims import ClaimModel, FilingLimit
from oem_submissions.domain.contracts import ProbeRecord, ProbeReport
from oem_submissions.domain.desk_log import DeskEntry, DeskRecord
from oem_submissions.domain.dispositions import Seen, Standing
from oem_submissions.domain.evidence import Artifact, Bundle, BundleFacts, FieldReadback
from oem_submissions.domain.evidence_log import KeptCheckpoint, KeptStamp, LogEntry, NoteOf, Stamp
from oem_submissions.domain.gate import FilingRun
from oem_submissions.domain.lease_log import LeaseEntry
from oem_submissions.domain.listing import Likeness, Listing, ListingRules
from oem_submissions.domain.looking import HistoryRules
from oem_submissions.domain.merkle import Place
from oem_submissions.domain.needles import Kind, Leak, Needles
from oem_submissions.domain.outcomes import Answer, LookUp, Reference, Wire
from oem_submissions.domain.overview import Dead, DeadKind, Held
from oem_submissions.domain.polling import DuePoll, HistoryRead
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import (
    Alert,
    Attempt,
    Claim,
    Death,
    DueLook,
    DueWork,
    Event,
    HeldClaim,
    Hold,
    KeptArtifact,
    Lease,
    LostLease,
    NewAlert,
    NewClaim,
    Pins,
    RunMeasure,
)
from oem_submissions.domain.releases import Cause, Release
from oem_submissions.domain.releases import Note as ReleaseNote
from oem_submissions.domain.scheduler_health import Stuck
from oem_submissions.domain.scheduling import AtRisk, CatchUp, Source, Tick
from oem_submissions.domain.states import State
from oem_submissions.domain.sweeping import Sweep

# --- CRM ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CrmFile:
    """A file that hangs on a CRM record; its content is not fetched yet. Everything in it is untrusted."""

    file_id: str
    name: str
    media_type: str
    size: int
    """Bytes; 0 when the CRM does not say. What is fetched is limited either way."""
    kind: str


@dataclass(frozen=True)
class CrmRecord:
    """A due claim as the CRM has it. Everything in it is untrusted."""

    record_id: str
    oem: str
    dealer: str
    claim_type: str
    due_on: date
    payload: dict[str, Any]
    files: tuple[CrmFile, ...]
    modified_at: datetime
    fault: str | None = None
    """Why the record can't be read as a claim; one broken record never hides the others."""


@dataclass(frozen=True)
class CrmOutcome:
    """What we write on a CRM record. Equal outcomes written twice leave the record as written once."""

    claim_id: str
    status: str
    """The ledger's `State`, as text."""
    reference: str | None = None
    reference_kind: str | None = None
    reason_code: str | None = None
    reason_text: str | None = None
    evidence_url: str | None = None
    evidence_digest: str | None = None
    run_id: str | None = None
    confirmed_at: datetime | None = None
    updated_at: datetime | None = None
    disposition: str | None = None
    """What the OEM decided of the filed claim, a `Disposition` as text; None while nothing is decided."""
    disposition_text: str | None = None
    """The portal's own words, untrusted."""
    disposition_at: datetime | None = None
    """When we saw it change."""


class CrmUnavailable(Exception):
    """The CRM can't be reached, refuses us, or answers nonsense: one sentence. Nothing may be concluded from it."""


class CrmOutage(CrmUnavailable):
    """It is the CRM as a whole: it can't be reached, lets us not in, or asks us to wait. To ask more now is no use."""


class CrmFileRefused(Exception):
    """A file is missing in the CRM, or larger than allowed: one sentence."""


class CrmRecordConflict(Exception):
    """The record holds another reference, or something newer, than what was to be written: one sentence.

    Nothing was overwritten.
    """


class Crm(Protocol):
    """The customer relationship management system that claims come from and outcomes go to."""

    def due_records(self, modified_after: datetime | None = None) -> Iterator[CrmRecord]:
        """Every record that is due and has no final outcome, oldest change first.

        Raises `CrmUnavailable`; never ends early in silence.
        """
        ...

    def records(self, record_ids: Collection[str]) -> dict[str, CrmRecord | None]:
        """By id: the record, or None when it is not due; an id that the CRM has no record of is not in it.

        Raises `CrmUnavailable`.
        """
        ...

    def download(self, file_id: str, max_bytes: int) -> bytes:
        """A file's bytes. Raises `CrmFileRefused` or `CrmUnavailable`."""
        ...

    def write_outcome(self, record_id: str, outcome: CrmOutcome) -> None:
        """Write the outcome, idempotently, unless the record was changed meanwhile: then it is read and judged anew.

        Raises `CrmRecordConflict` or `CrmUnavailable`.
        """
        ...

    def read_outcome(self, record_id: str) -> CrmOutcome | None:
        """What the record says now; None when it has no outcome. Raises `CrmUnavailable`."""
        ...

    def missing_fields(self) -> list[str] | None:
        """Fields of the mapping that the CRM lacks, or does not let us see; None when that can't be told yet.

        Raises `CrmUnavailable`.
        """
        ...


# --- portal ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    """A dealer's log-in at a portal. Never printed, never stored."""

    oem: str
    dealer: str
    username: str
    password: str = field(repr=False)
    totp_secret: str | None = field(repr=False, default=None)
    mailbox: str | None = field(repr=False, default=None)
    """Where the portal's messages for the dealer arrive: `imaps://user:password@host/FOLDER`."""

    @property
    def needles(self) -> Needles:
        """What of it must never leave. The user's name may: it is how people tell accounts apart."""
        mail = unquote(urlsplit(self.mailbox or "").password or "")
        named = {"password": self.password, "TOTP secret": self.totp_secret or "", "mailbox password": mail}
        return Needles.of(Kind.SECRET, named.items())


@dataclass(frozen=True)
class Submission:
    """What a session is to file."""

    claim_id: str
    """Goes into the portal's "your reference" field where the form has one."""
    claim: ClaimModel
    natural_key: str
    files: dict[str, bytes] = field(repr=False, default_factory=dict)
    """By attachment name; the bytes have been checked against the claim's hashes."""


@dataclass(frozen=True)
class Prepared:
    """A form that is filled, read back equal and photographed. Nothing was sent."""

    readback: tuple[FieldReadback, ...]
    artifacts: tuple[Artifact, ...]
    text: str
    """Visible text of the form's page, at most 64 kB."""
    url: str
    browser: str
    """Name and version."""
    viewport: tuple[int, int]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Control:
    """A claim of the same account that is known to be filed: a search that does not find it proves nothing."""

    submission: Submission
    reference: str


class PortalSession(Protocol):
    """One browser context, logged in to one account. Files one claim after the other.

    No text that leaves it, returned, raised or logged, holds one of its needles.
    """

    @property
    def needles(self) -> Needles:
        """The session's secrets so far, and the personal values of the claim at hand: what no evidence may hold."""
        ...

    def prepare(self, submission: Submission) -> Prepared:
        """All steps up to the picture before the click. Raises `StepFailed`; then nothing was filed."""
        ...

    def submit(self, on_sent: Callable[[Wire], None]) -> Answer:
        """Click once, and say what came of it. Raises nothing: what can't be told is an `Unknown` outcome.

        `on_sent` is called just before the one submit request leaves; when it raises, the request is aborted.
        """
        ...

    def look_up(self, submission: Submission, control: Control | None = None) -> LookUp:
        """Find the claim in the portal's history. The gate stays closed: nothing is filed, whatever the pages do.

        The control is looked up in the same way when the claim is not listed. Raises `StepFailed`.
        """
        ...

    def list_history(self, since: datetime) -> Listing:
        """Every filing of the account since then, all pages, all claim types that the pack can list; maybe older ones.

        The gate stays closed. Raises `StepFailed` when a list can't be read to its end: then nothing is known.
        """
        ...

    def probe(self, samples: Sequence[Submission]) -> ProbeReport:
        """Walk through every form up to the submit button, filled with these claims; what is not as the pack says.

        The gate stays closed: nothing is filed. Trouble of the portal is in the report.
        """
        ...


class ClaimRules(Protocol):
    """What an adapter says about claims; intake needs no more of it."""

    @property
    def oem(self) -> str:
        """The OEM's name in keys and addresses."""
        ...

    @property
    def claim_model(self) -> Any:
        """A `ClaimModel` or a union of them."""
        ...

    @property
    def cadence(self) -> Cadence:
        """How often it files."""
        ...

    @property
    def filing_limits(self) -> Mapping[str, FilingLimit]:
        """Until when it takes a claim, by claim type; of one that is not named, always."""
        ...

    @property
    def digest(self) -> str:
        """Hex SHA-256 over the adapter's code."""
        ...

    @property
    def needs_approval(self) -> bool:
        """Whether a named person has to approve a release once its gate is passed."""
        ...


class Portal(Protocol):
    """One OEM's portal as a run sees it: adapter and pack, pinned."""

    oem: str
    pins: Pins

    def session(self, account: Account) -> AbstractContextManager[PortalSession]:
        """A session that logs in when it is first used, and leaves nothing behind."""
        ...

    def history_rules(self, claim_type: str) -> HistoryRules | None:
        """What the pack says of the history of such claims; None when the portal has none."""
        ...

    def listing_rules(self, claim_type: str) -> ListingRules | None:
        """What the pack says of the whole list of such claims; None when they can't be listed."""
        ...

    def likeness(self, submission: Submission) -> Likeness:
        """How the list would show the claim. Only for claim types that have `listing_rules`."""
        ...


# --- the release gate ----------------------------------------------------------------------------------------------


class ReleaseGate(Protocol):
    """Whether a run may file with the adapter and pack that it is pinned to. Asked before every claim."""

    def closed(self, lease: Lease, period: str, pins: Pins) -> str:
        """Why nothing may be filed by the lease's run now: a sentence, empty when it may."""
        ...

    def probe_is_due(self, oem: str, pins: Pins) -> bool:
        """Whether the portal has to be probed before the next batch."""
        ...

    def probed(self, record: ProbeRecord) -> None:
        """Draw the consequence of a probe: a broken contract suspends the release, a kept one lets it go on."""
        ...


# --- evidence and secrets ----------------------------------------------------------------------------------------


class EvidenceConflict(Exception):
    """The key holds other bytes already; nothing was overwritten."""


class EvidenceMissing(Exception):
    """The store has nothing under the key."""


class EvidenceErased(EvidenceMissing):
    """Personal data whose key was deleted: the bytes can't be read any more, by anybody, and that is on purpose."""


class EvidenceLocked(Exception):
    """The key is under retention or a legal hold: nothing was deleted."""


class EvidenceUnavailable(Exception):
    """The store can't be reached, or its disk is full."""


class EvidenceStore(Protocol):
    """Write-once storage of bytes by key (`a/b/c`)."""

    def put(self, key: str, data: bytes) -> None:
        """Durable when it returns. The same bytes again change nothing; others raise `EvidenceConflict`."""
        ...

    def get(self, key: str) -> bytes:
        """The bytes. Raises `EvidenceMissing`."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Every key that begins with `prefix`, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Gone for good when it returns, every version of it; nothing happens when there is none.

        Raises `EvidenceLocked`. Whether it *may* go is decided before, by the ledger (`services.retention`).
        """
        ...

    def hold(self, key: str, on: bool) -> None:
        """Put the store's own legal hold on the key, or take it off: while it is on, `delete` is refused.

        Nothing happens when there is no such key, or when the store keeps no holds.
        """
        ...


@dataclass(frozen=True)
class WrappedKey:
    """A data key, of a claim or of a box, encrypted under a master key."""

    wrapped: bytes = field(repr=False)
    wrapped_by: str
    """Which master key that was."""


class DataKeys(Protocol):
    """Where the wrapped data keys of claims are kept: one per claim, and none ever again once it was erased."""

    def data_key(self, claim_id: str) -> WrappedKey | None:
        """The claim's key; None when none was made yet. Raises `EvidenceErased`."""
        ...

    def add_data_key(self, claim_id: str, key: WrappedKey) -> WrappedKey:
        """Keep the claim's first key; the one that is kept, which is another's if that came first.

        Raises `EvidenceErased`.
        """
        ...


class MasterKey(Protocol):
    """Encrypts data keys. Raises `EvidenceUnavailable` when it can't be used, or is not the one that it was."""

    def wrap(self, name: str, data_key: bytes) -> WrappedKey:
        """The data key, encrypted for the claim, or the other thing, of this name."""
        ...

    def unwrap(self, name: str, key: WrappedKey) -> bytes:
        """The data key."""
        ...


class Box(Protocol):
    """Encrypts and decrypts the pieces of one thing that is kept for a while and is no evidence."""

    def seal(self, what: str, data: bytes) -> bytes:
        """The piece, encrypted; other bytes each time."""
        ...

    def open(self, what: str, sealed: bytes) -> bytes:
        """The piece. Raises `EvidenceUnavailable` when it was changed, or is another one."""
        ...


class Vault(Protocol):
    """Makes boxes. Raises `EvidenceUnavailable` as `MasterKey` does."""

    def new(self, name: str) -> tuple[WrappedKey, Box]:
        """A box of its own for the thing of this name, and its key to keep."""
        ...

    def box(self, name: str, key: WrappedKey) -> Box:
        """The box that was made for it."""
        ...


class SigningUnavailable(Exception):
    """The signing key can't be used: missing, unsafe, or its service is not reachable. Nothing was signed."""


class Signer(Protocol):
    """Signs evidence with one P-256 key. Two signatures of the same bytes may differ; both verify."""

    @property
    def public_key_pem(self) -> bytes:
        """The public half, as PEM (SubjectPublicKeyInfo, RFC 5480): what auditors are given."""
        ...

    def sign(self, data: bytes) -> bytes:
        """An ECDSA signature over SHA-256, DER (as `openssl dgst -sha256 -verify` takes it).

        Raises `SigningUnavailable`.
        """
        ...


class TimestampUnavailable(Exception):
    """The time-stamp authority does not answer, or not in time: one sentence. It is asked again later."""


class TimestampRefused(Exception):
    """What the time-stamp authority answered is no good time-stamp of ours: one sentence. It was not kept."""


class Timestamps(Protocol):
    """A time-stamp authority (RFC 3161)."""

    def stamp(self, data: bytes) -> Stamp:
        """A verified stamp on the bytes. Raises `TimestampUnavailable` or `TimestampRefused`."""
        ...


class SecretsUnavailable(Exception):
    """Secrets can't be read, or must not be by us: one sentence. Nothing may be concluded from it."""


class Secrets(Protocol):
    """Where portal and CRM credentials come from."""

    def find(self, name: str) -> str | None:
        """The secret's value, or None when it is not set. Raises `SecretsUnavailable` when that can't be told."""
        ...

    def where(self, name: str) -> str:
        """What a person sets to provide it, for messages."""
        ...

    def inspect(self) -> str:
        """What it is, in a sentence. Raises `SecretsUnavailable`."""
        ...


class QueueUnavailable(Exception):
    """A message queue can't be reached, or refuses us: one sentence. What was under way is done again."""


@dataclass(frozen=True)
class Notice:
    """A message on its way out."""

    key: str
    """Of what it tells: a queue that can tell duplicates apart drops another of the same key."""
    group: str
    """Within it a queue that keeps order keeps it."""
    body: str
    attributes: Mapping[str, str]
    """None is empty."""


@dataclass(frozen=True)
class QueueMessage:
    """A message that came in. Everything in it is untrusted."""

    message_id: str
    body: str = field(repr=False)
    deliveries: int
    """How often it was handed out, with this time."""
    receipt: str = field(repr=False)
    """What it is taken off the queue by."""


class MessageQueue(Protocol):
    """A queue with at-least-once delivery: a message that is not `done` comes again, and in the end goes elsewhere.

    One implementation, SQS: a port because services don't know it. Every method raises `QueueUnavailable`.
    """

    def send(self, notices: Sequence[Notice]) -> list[Notice]:
        """Those that the queue has now, durably; it may refuse single ones. At most ten."""
        ...

    def receive(self) -> list[QueueMessage]:
        """A few messages; none is no proof that there are none."""
        ...

    def done(self, message: QueueMessage) -> None:
        """It never comes again."""
        ...

    def inspect(self, incoming: bool) -> str:
        """What the queue is, in a sentence; one that messages come from must give up on them in the end."""
        ...


class LeakScan(Protocol):
    """Looks for needles in a piece of evidence, through all that it may contain."""

    def __call__(self, name: str, data: bytes, needles: Needles) -> list[Leak]:
        """What was found, and what could not be looked through; empty when it is clean. Raises nothing."""
        ...


class Bundler(Protocol):
    """Makes an evidence bundle, the same bytes for the same facts."""

    def __call__(self, facts: BundleFacts, artifacts: Mapping[str, bytes]) -> Bundle:
        """The bundle. Raises `SubmissionError` when a mandatory piece is missing."""
        ...


class Completer(Protocol):
    """Makes of a bundle what is stored: with its signature and log proof."""

    def __call__(self, bundle: Bundle, claim_id: str, signature: bytes, proof: str) -> bytes:
        """The zip; the same bytes for the same four."""
        ...


# --- ledger ------------------------------------------------------------------------------------------------------


class LedgerUnavailable(Exception):
    """The ledger's database can't be reached, or dropped the connection: one sentence.

    Whether the last write took is not known.
    """


class EvidenceLogBroken(Exception):
    """The evidence log in the ledger contradicts its own checkpoints: one sentence. Nothing was appended."""


class ReferenceTaken(Exception):
    """Another claim of this OEM already holds the reference."""


class Outbox(Protocol):
    """One alert channel's way through the log of what people are told; nobody else has it meanwhile."""

    def pending(self, limit: int) -> list[Transition]:
        """What the channel was not told yet, in order."""
        ...

    def passed(self, number: int, sent: bool) -> None:
        """The channel took it, or it is not for this channel."""
        ...

    def failed(self, problem: str, again_seconds: float) -> None:
        """The channel did not take it."""
        ...

    def failures(self) -> int:
        """How often it failed in a row."""
        ...


class Ledger(Protocol):
    """What was filed. Every move is a compare-and-set, and appends to the claim's hash chain in the same transaction.

    The contract of each method stands with the implementation, `oem_submissions.ledger.store.Ledger`.
    """

    # intake
    def claim_of_record(self, oem: str, crm_record_id: str) -> Claim | None: ...
    def add_claim(self, new: NewClaim) -> Claim: ...
    def amend_claim(self, claim: Claim, new: NewClaim) -> Claim: ...

    # queue
    def due_work(self, oem: str, dealers: Sequence[str] = (), period: str | None = None) -> list[DueWork]: ...

    def request_enqueue(self, oem: str, dealers: tuple[str, ...], period: str | None, by: str) -> int: ...

    # the scheduler's logs
    def record_tick(
        self, oem: str, source: str, scheduled_for: datetime, requested: int, cadence: str | None = None
    ) -> None: ...
    def noted_tick(self, oem: str, cadence: str, scheduled_for: datetime) -> Source | None: ...
    def newest_ticks(self, cadences: Mapping[str, str]) -> dict[str, datetime]: ...
    def first_ticks(self, cadences: Mapping[str, str]) -> dict[str, datetime]: ...
    def ticks_since(self, cadences: Mapping[str, str], since: datetime) -> list[Tick]: ...
    def make_up(self, oem: str, cadence: str, what: CatchUp) -> bool: ...
    def lease_entries(self, since: datetime) -> list[LeaseEntry]: ...
    def oldest_ready(self, oems: Sequence[str]) -> dict[str, datetime]: ...
    def stuck_claims(self, seconds: float) -> list[Stuck]: ...
    def unattended(self, seconds: float) -> list[DeadKind]: ...
    def dead_kinds(self) -> list[DeadKind]: ...
    def at_risk(self, due: Mapping[str, tuple[date, date]]) -> list[AtRisk]: ...

    # leases
    def acquire_lease(self, oem: str, dealer: str, run_id: str, worker: str, seconds: float) -> Lease | None: ...
    def renew_lease(self, lease: Lease, seconds: float) -> Lease: ...
    def release_lease(self, lease: Lease) -> None: ...
    def expired_leases(self) -> list[Lease]: ...
    def recover(self, lease: Lease) -> list[Claim]: ...
    def beat(self, run_id: str, worker: str) -> None: ...
    def forget_beats(self, run_id: str) -> None: ...
    def has_beaten(self, run_id: str) -> bool: ...
    def silent_runs(self, seconds: float) -> list[tuple[str, str]]: ...

    # attempts
    def start_attempt(self, claim: Claim, lease: Lease, pins: Pins) -> tuple[Claim, Attempt]: ...
    def keep_artifact(self, artifact: KeptArtifact, lease: Lease) -> None: ...
    def prepared(self, claim: Claim, attempt: Attempt, lease: Lease, facts: dict[str, Any]) -> Claim: ...
    def arm(self, claim: Claim, attempt: Attempt, lease: Lease, click_seconds: float) -> Claim: ...
    def record_sent(self, attempt: Attempt, lease: Lease, wire: Wire) -> None: ...
    def record_wire(self, attempt: Attempt, lease: Lease, wire: Wire, url: str) -> None: ...
    def confirm(self, claim: Claim, attempt: Attempt, lease: Lease, reference: Reference) -> Claim: ...
    def settle(
        self, claim: Claim, attempt: Attempt, lease: Lease, to: State, reason: ReasonCode, text: str, step: str | None
    ) -> Claim: ...
    def end_attempt(self, attempt: Attempt, lease: Lease, text: str) -> None: ...

    # held claims
    def due_looks(self, oem: str, dealer: str, period: str) -> list[HeldClaim]: ...
    def partitions_to_look_up(self, oem: str) -> list[DueLook]: ...
    def known_filing(self, claim: Claim, settled_seconds: float) -> Claim | None: ...
    def begin_look(self, claim: Claim, lease: Lease) -> Claim: ...
    def end_look(
        self,
        claim: Claim,
        lease: Lease,
        to: State,
        reason: ReasonCode,
        text: str,
        kept: Sequence[KeptArtifact] = (),
        again_seconds: float | None = None,
    ) -> Claim: ...
    def stand_in(self, claim: Claim, lease: Lease, pins: Pins) -> Attempt: ...
    def absent(self, claim: Claim, lease: Lease, text: str, kept: Sequence[KeptArtifact]) -> Claim: ...
    def confirm_late(
        self,
        claim: Claim,
        attempt: Attempt,
        by: Lease | str,
        reference: Reference,
        kept: Sequence[KeptArtifact],
        facts: dict[str, Any],
        details: dict[str, Any],
    ) -> Claim: ...
    def redrive(self, claim: Claim, by: str) -> Claim: ...
    def withdraw(self, claim: Claim, by: str, why: str) -> Claim: ...
    def not_filed(self, claim: Claim, person: str, why: str) -> Claim: ...
    def cannot_tell(self, claim: Claim, person: str, why: str) -> Claim: ...

    # after the filing
    def sealed(self, claim: Claim, run_id: str, digest: str, actor: str) -> Claim: ...
    def synced(self, claim: Claim, run_id: str | None, actor: str) -> Claim: ...

    # the evidence log
    def logged(self, bundle_digest: str) -> LogEntry | None: ...
    def append_to_log(
        self, claim_id: str, bundle_digest: str, signature: bytes, key_fingerprint: str, note_of: NoteOf
    ) -> LogEntry: ...
    def log_proof(self, index: int, size: int) -> Proof: ...
    def log_root(self, size: int) -> bytes: ...
    def log_consistency(self, old: int, new: int) -> list[bytes]: ...
    def log_page(self, first: int, last: int) -> tuple[list[LogEntry], list[KeptCheckpoint], dict[Place, bytes]]: ...
    def log_size(self) -> int: ...
    def newest_checkpoint(self) -> KeptCheckpoint | None: ...
    def checkpoint(self, size: int) -> KeptCheckpoint | None: ...
    def unlogged(self) -> list[tuple[str, str]]: ...
    def sealed_digests(self, claim_ids: Sequence[str]) -> dict[str, str | None]: ...
    def keep_stamp(self, size: int, stamp: Stamp) -> None: ...
    def stamps(self, limit: int | None = None) -> list[KeptStamp]: ...

    # breakers and alerts
    def breaker(self, oem: str, dealer: str | None = None) -> Breaker: ...
    def breakers(self) -> list[Breaker]: ...
    def last_endings(self, oem: str, limit: int) -> Sequence[Ending]: ...
    def move_breaker(
        self,
        seen: Breaker,
        what: Note,
        actor: str,
        run_id: str | None = None,
        reason: ReasonCode | None = None,
        text: str | None = None,
    ) -> bool: ...
    def raise_alert(self, alert: NewAlert, now: datetime | None = None) -> bool: ...
    def resolve_alert(self, key: str, now: datetime | None = None) -> bool: ...
    def settle_alerts(self, prefix: str, true: Sequence[NewAlert], now: datetime | None = None) -> None: ...
    def advance_alerts(self, now: datetime | None = None) -> None: ...
    def alone(self, what: str) -> AbstractContextManager[bool]: ...
    def was_raised(self, key: str) -> bool: ...
    def alerts(self, only_open: bool = True, limit: int = 100) -> list[Alert]: ...
    def see_channels(self, channels: Sequence[str], now: datetime | None = None) -> None: ...
    def delivering(self, channel: str, now: datetime | None = None) -> AbstractContextManager[Outbox | None]: ...
    def alert_channels(self) -> list[ChannelState]: ...
    def note_findings(self, found: Sequence[Finding]) -> None: ...
    def forget_findings(self, of_checks: bool, before: int) -> None: ...
    def failing(self) -> list[Failing]: ...
    def sign_of_life(self, name: str) -> None: ...
    def last_sign_of_life(self, name: str) -> datetime | None: ...
    def dead_reasons(self) -> list[tuple[str, ReasonCode | None, int]]: ...
    def dead_lines(self, oem: str | None, reason: ReasonCode | None, pack: str | None, limit: int) -> list[Dead]: ...
    def held_claims(self, states: Collection[State], limit: int) -> list[Held]: ...
    def last_lease_entry(self) -> int: ...
    def lost_leases(self, after: int) -> list[LostLease]: ...
    def left_by(self, lost: LostLease) -> list[tuple[Claim, Attempt]]: ...
    # the portal's history
    def note_history_read(
        self,
        lease: Lease | None,
        account: tuple[str, str],
        by: tuple[str, str],
        pins: Pins,
        filings: int | None,
        reason: ReasonCode | None,
        text: str,
        failures: int,
        again_seconds: float,
    ) -> int: ...
    def last_history_read(self, oem: str, dealer: str) -> HistoryRead | None: ...
    def account_claims(self, oem: str, dealer: str) -> list[tuple[Claim, float | None]]: ...
    def holders(self, oem: str, references: Collection[str]) -> dict[str, Claim]: ...
    def account_begins(self, oem: str, dealer: str) -> datetime | None: ...
    def add_sweep(self, read_id: int | None, oem: str, dealer: str, sweep: Sweep) -> int: ...
    def last_sweep(self, oem: str, dealer: str) -> Sweep | None: ...
    def standing(self, claim_id: str) -> Standing | None: ...
    def standings(self, oem: str, dealer: str) -> dict[str, Standing]: ...
    def see(self, claim: Claim, known: Standing | None, seen: Seen, lease: Lease) -> Standing: ...
    def decision_overdue(self, claim: Claim, known: Standing | None, days: int, lease: Lease) -> Standing: ...
    def disposition_told(self, claim: Claim, standing: Standing, run_id: str, actor: str) -> Standing: ...
    def due_polls(self, oem: str, every: float) -> list[DuePoll]: ...

    # releases and their runs
    def see_release(self, oem: str, pins: Pins, actor: str) -> bool: ...
    def releases(self, oem: str) -> list[Release]: ...
    def note_release(
        self,
        seen: Release,
        what: ReleaseNote,
        actor: str,
        text: str = "",
        cause: Cause | None = None,
        retired: Sequence[Release] = (),
    ) -> bool: ...
    def begin_run(self, lease: Lease, period: str, release: Release, alone: bool) -> bool: ...
    def note_trouble(self, run_id: str, step: str, text: str) -> None: ...
    def expect_rejection(self, claim_id: str, by: str, why: str) -> None: ...
    def release_runs(self, release: Release, limit: int = 50) -> list[FilingRun]: ...
    def newest_run(self, release: Release) -> int: ...
    def run_measures(self, release: Release, first: int = 50, last: int = 450) -> list[RunMeasure]: ...
    def pilots(self, oem: str) -> list[str]: ...
    def verifying_runs(self, release: Release, but: str = "") -> list[str]: ...

    # retention and erasure
    def erase(self, claim: Claim, payload: dict[str, Any], by: str, why: str) -> Claim: ...
    def prune(self, claim: Claim, payload: dict[str, Any], months: int, by: str) -> Claim: ...
    def unswept(self) -> list[Claim]: ...
    def swept(self, claim_id: str) -> None: ...
    def past_retention(self, months: int) -> list[Claim]: ...
    def set_hold(self, claim_id: str, on: bool, by: str, why: str) -> bool: ...
    def holds(self) -> list[Hold]: ...
    def hold_on(self, claim_id: str) -> Hold | None: ...
    def prune_logs(self, days: int, limit: int = 5000) -> int: ...
    def runs_in_use(self, run_ids: Collection[str]) -> set[str]: ...

    # dead letters and queues
    def unforwarded(self, limit: int) -> list[Death]: ...
    def note_forwarded(self, deaths: Sequence[Death]) -> None: ...
    def death(self, claim_id: str) -> Death | None: ...

    # reading
    def now(self) -> datetime: ...
    def claim(self, claim_id: str) -> Claim | None: ...
    def claims(self, oem: str, dealer: str, period: str) -> list[Claim]: ...
    def all_claims(self, oem: str | None = None, state: State | None = None) -> list[Claim]: ...
    def untold(self, oem: str | None = None) -> list[Claim]: ...
    def attempts(self, claim_id: str) -> list[Attempt]: ...
    def artifacts(self, claim_id: str) -> list[KeptArtifact]: ...
    def events(self, claim_id: str) -> list[Event]: ...
    def find(self, text: str) -> list[Claim]: ...
    def facts(self, claim_id: str) -> dict[str, Any]: ...
    def captured_reference(self, claim_id: str) -> Reference | None: ...

    # probes
    def note_probe(
        self, oem: str, dealer: str, pins: Pins, run_id: str, by: str, seconds: float, report: ProbeReport
    ) -> ProbeRecord: ...
    def last_probe(self, oem: str, adapter_digest: str, pack_digest: str) -> ProbeRecord | None: ...
    def probes(self, oem: str, limit: int = 20) -> list[ProbeRecord]: ...
    def dealers(self, oem: str) -> list[str]: ...
    def held_leases(self) -> list[Lease]: ...


# --- the desk ------------------------------------------------------------------------------------------------------


class AccessLog(Protocol):
    """Who did what at the desk, for ever."""

    def note_access(self, entry: DeskEntry) -> None:
        """Append it; durable when this returns. Raises `LedgerUnavailable`."""
        ...

    def access_log(self, limit: int = 100, who: str | None = None) -> list[DeskRecord]:
        """The newest lines, newest first; of one user, if one is named."""
        ...
