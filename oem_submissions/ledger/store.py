"""The ledger's writes: intake, attempts, the moves of a claim.

Every move is one compare-and-set and one event, in one transaction (`moves`). Leases are in `leases`, held claims in
`looks`, reads in `reading`; this class is the one face of them all.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import (
    Connection,
    Engine,
    ExceptionContext,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError

from oem_submissions.domain.breaker import Breaker, Note
from oem_submissions.domain.evidence import POST_CONFIRM, PRE_SUBMIT
from oem_submissions.domain.failures import LeaseLost, StateConflict
from oem_submissions.domain.keys import canonical_json, claim_id, sha256_hex
from oem_submissions.domain.outcomes import Reference, Wire
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Attempt, Claim, KeptArtifact, Lease, NewClaim, Pins
from oem_submissions.domain.states import LOOKED_UP, UNDER_WAY, State, after_failed_attempt
from oem_submissions.ledger import breakers, looks
from oem_submissions.ledger import leases as lease_sql
from oem_submissions.ledger.alerts import AlertBook
from oem_submissions.ledger.chain import append_event
from oem_submissions.ledger.deaths import DeathBook
from oem_submissions.ledger.desk_log import DeskBook
from oem_submissions.ledger.evidence_log import EvidenceLogBook
from oem_submissions.ledger.hand_overs import HandOverBook
from oem_submissions.ledger.history import HistoryBook
from oem_submissions.ledger.keeping import KeepingBook
from oem_submissions.ledger.measures import MeasuresBook
from oem_submissions.ledger.migrate import is_behind
from oem_submissions.ledger.moves import (
    compare_and_set,
    database_now,
    has_artifacts,
    is_past_the_click,
    move,
    on_attempt,
)
from oem_submissions.ledger.outbox import OutboxBook
from oem_submissions.ledger.overview import OverviewBook
from oem_submissions.ledger.probes import ProbeBook
from oem_submissions.ledger.pruning import PruningBook
from oem_submissions.ledger.reading import LedgerReader, attempt_of, claim_of
from oem_submissions.ledger.releases import ReleaseBook
from oem_submissions.ledger.restores import RestoreBook, doubt_of_new
from oem_submissions.ledger.scheduler import SchedulerBook
from oem_submissions.ledger.sessions import SessionBook
from oem_submissions.ledger.tables import (
    attempts,
    claim_terms,
    claims,
    dealers,
    enqueue_requests,
    worker_beats,
)
from oem_submissions.ports import LedgerUnavailable, ReferenceTaken

_TERM_FIELDS = ("repair_order", "vin", "vendor_invoice")


_OPTIONS = "-c timezone=UTC -c statement_timeout=30000 -c idle_in_transaction_session_timeout=28000"
"""Who stands still within a transaction loses it, and its locks, before others give up waiting for them; later than any
key service may take to sign within one."""


def ledger_engine(url: str) -> Engine:
    """An engine for a `postgresql://` URL: psycopg 3, short-lived connections checked before use, times in UTC."""
    driver_url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_engine(
        driver_url,
        pool_pre_ping=True,
        pool_size=5,
        connect_args={"options": _OPTIONS, "connect_timeout": 10},
    )
    event.listen(engine, "handle_error", _say_unavailable)
    return engine


def _say_unavailable(context: ExceptionContext) -> None:
    if context.is_pre_ping:
        return  # a pooled connection that died with the server: the pool is just about to make a new one
    if isinstance(context.original_exception, psycopg.OperationalError):
        reason = str(context.original_exception).strip().splitlines()[0]
        raise LedgerUnavailable(
            f"The ledger's database does not answer: {reason}. "
            "Check that PostgreSQL is up and OEM_SUBMISSIONS_DATABASE_URL."
        ) from context.original_exception
    if isinstance(context.original_exception, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        raise LedgerUnavailable(
            "The ledger's database has no tables yet, or those of an older version: run `oem-submissions migrate`."
        ) from context.original_exception


class Ledger(
    LedgerReader,
    HistoryBook,
    PruningBook,
    RestoreBook,
    SessionBook,
    ReleaseBook,
    ProbeBook,
    EvidenceLogBook,
    KeepingBook,
    OverviewBook,
    DeathBook,
    MeasuresBook,
    DeskBook,
    HandOverBook,
    AlertBook,
    OutboxBook,
    SchedulerBook,
):
    """What was filed.

    Moves raise `StateConflict` when the claim was moved by another, `LeaseLost` when the lease is not ours any more.
    """

    def __init__(self, engine: Engine, attempts_budget: int = 3) -> None:
        super().__init__(engine)
        self._budget = attempts_budget

    # --- intake ---------------------------------------------------------------------------------------------------

    def add_claim(self, new: NewClaim, actor: str = "intake") -> Claim:
        """Take a CRM record in, as `READY`, or as `DEAD` when it can't be filed as it is. Idempotent by record.

        A natural key that another claim holds makes it `DEAD` with `CRM_CONFLICT`: one business claim, one row.
        """
        try:
            return self._insert_claim(new, actor)
        except IntegrityError:
            if (known := self.claim_of_record(new.oem, new.crm_record_id)) is not None:
                return known
            return self._insert_claim(self._in_conflict(new), actor)

    def _in_conflict(self, new: NewClaim) -> NewClaim:
        with self._engine.connect() as connection:
            held = claims.c.natural_key == new.natural_key
            other = connection.execute(select(claims.c.crm_record_id, claims.c.claim_id).where(held)).one()
        text = f"The CRM record {other.crm_record_id} carries this claim already ({new.natural_key}): {other.claim_id}."
        return NewClaim(**{**_fields(new), "natural_key": None, "reason": ReasonCode.CRM_CONFLICT, "reason_text": text})

    def _insert_claim(self, new: NewClaim, actor: str) -> Claim:
        with self._engine.begin() as connection:
            now = database_now(connection)
            row = connection.execute(
                insert(claims)
                .values(
                    claim_id=claim_id(new.oem, new.crm_record_id),
                    oem=new.oem,
                    crm_record_id=new.crm_record_id,
                    version=1,
                    created_at=now,
                    updated_at=now,
                    in_doubt_since=doubt_of_new(new.oem, now),
                    **_intake_values(new),
                )
                .returning(*claims.c)
            ).one()
            claim = claim_of(row)
            _remember_terms(connection, claim)
            _remember_dealer(connection, claim)
            details = {"payload_sha256": claim.payload_sha256, "reason": new.reason, "text": new.reason_text}
            append_event(connection, claim.claim_id, now, actor, "taken_in", None, claim.state, details)
            return claim

    def amend_claim(self, claim: Claim, new: NewClaim, actor: str = "intake") -> Claim:
        """Replace the payload of a claim that is `READY` or `DEAD`: the CRM's record was corrected.

        A `DEAD` one lives again. Raises `StateConflict` when a worker has it.
        """
        try:
            return self._amend(claim, new, actor)
        except IntegrityError:
            return self._amend(claim, self._in_conflict(new), actor)

    def _amend(self, claim: Claim, new: NewClaim, actor: str) -> Claim:
        if claim.state not in (State.READY, State.DEAD):
            raise StateConflict(f"Claim {claim.claim_id} is {claim.state}: its payload can't change any more.")
        if claim.erased_at is not None:
            raise StateConflict(f"The personal data of claim {claim.claim_id} was erased: it is not taken in again.")
        with self._engine.begin() as connection:
            now = database_now(connection)
            values = {**_intake_values(new), "attempts": 0}
            amended = compare_and_set(connection, claim, values, now)
            _remember_terms(connection, amended)
            _remember_dealer(connection, amended)
            details = {
                "payload_sha256": amended.payload_sha256,
                "was": claim.payload_sha256,
                "reason": new.reason,
                "text": new.reason_text,
            }
            append_event(connection, claim.claim_id, now, actor, "amended", claim.state, amended.state, details)
            return amended

    # --- queue ----------------------------------------------------------------------------------------------------

    def request_enqueue(self, oem: str, dealers: tuple[str, ...], period: str | None, by: str) -> int:
        """Ask the queue for an OEM's due work; a sensor answers. Returns the request's id."""
        with self._engine.begin() as connection:
            values = {"oem": oem, "dealers": list(dealers), "period": period, "requested_by": by}
            return connection.execute(
                insert(enqueue_requests).values(values).returning(enqueue_requests.c.request_id)
            ).scalar_one()

    # --- leases ---------------------------------------------------------------------------------------------------

    def acquire_lease(self, oem: str, dealer: str, run_id: str, worker: str, seconds: float) -> Lease | None:
        """The right to use the account for `seconds`; None while another worker holds it."""
        with self._engine.begin() as connection:
            return lease_sql.acquire(connection, oem, dealer, run_id, worker, seconds)

    def renew_lease(self, lease: Lease, seconds: float) -> Lease:
        """Heartbeat. Raises `LeaseLost` when it has expired or was released."""
        with self._engine.begin() as connection:
            return lease_sql.renew(connection, lease, seconds)

    def release_lease(self, lease: Lease) -> None:
        """Give the account back; nothing happens when it was lost already."""
        with self._engine.begin() as connection:
            lease_sql.release(connection, lease)

    def beat(self, run_id: str, worker: str) -> None:
        """The run's process lives."""
        with self._engine.begin() as connection:
            values = {"worker": worker, "at": func.clock_timestamp()}
            statement = upsert(worker_beats).values(run_id=run_id, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["run_id"], set_=values))

    def forget_beats(self, run_id: str) -> None:
        """The run has ended, or was given up."""
        with self._engine.begin() as connection:
            connection.execute(delete(worker_beats).where(worker_beats.c.run_id == run_id))

    def recover(self, lease: Lease) -> list[Claim]:
        """Put right what a lost worker of this account left behind; the claims that were moved.

        We hold the account's only lease, so whatever is under way under an older token is nobody's: before the click it
        becomes `READY` again (within the budget), past it `OUTCOME_UNKNOWN`, and nothing clicks again. A look-up that
        was under way is made again. Where the claim itself has left the attempt behind, only the attempt ends.
        """
        with self._engine.begin() as connection:
            moved = looks.abandoned(connection, lease)
        for claim, attempt in self.unfinished(lease):
            if claim.state not in UNDER_WAY:  # corrected in the CRM before the click, to something that can't be filed
                self.end_attempt(attempt, lease, f"Run {attempt.run_id} was lost; the claim is {claim.state} since.")
                continue
            armed = claim.state is State.ARMED
            reason = ReasonCode.WORKER_LOST_POST_INTENT if armed else ReasonCode.WORKER_LOST_PRE_INTENT
            target = State.OUTCOME_UNKNOWN if armed else after_failed_attempt(reason, claim.attempts, self._budget)
            side = "after the click was armed" if armed else "before the click"
            text = f"Run {attempt.run_id} on {attempt.worker} was lost {side}."
            moved.append(self.settle(claim, attempt, lease, target, reason, text, None))
        return moved

    # --- attempts -------------------------------------------------------------------------------------------------

    def start_attempt(self, claim: Claim, lease: Lease, pins: Pins) -> tuple[Claim, Attempt]:
        """Begin one go at a `READY` claim, but none that is in doubt."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            if claim.state is not State.READY:
                raise StateConflict(f"Claim {claim.claim_id} is {claim.state}, not READY: it is not attempted.")
            if claim.in_doubt_since is not None:
                raise StateConflict(f"Claim {claim.claim_id} may be filed already, before the ledger was restored.")
            values = {"attempts": claim.attempts + 1, "run_id": lease.run_id}
            started = compare_and_set(connection, claim, values, now, lease_sql.is_live(lease))
            number = select(func.coalesce(func.max(attempts.c.number), 0) + 1).where(
                attempts.c.claim_id == claim.claim_id
            )
            row = connection.execute(
                insert(attempts)
                .values(
                    claim_id=claim.claim_id,
                    number=number.scalar_subquery(),
                    run_id=lease.run_id,
                    worker=lease.worker,
                    fencing_token=lease.fencing_token,
                    started_at=now,
                    **asdict(pins),
                )
                .returning(*attempts.c)
            ).one()
            attempt = attempt_of(row)
            details = {"attempt": attempt.number, **asdict(pins)}
            _log(connection, claim, now, lease, "attempt_started", None, details)
            return started, attempt

    def keep_artifact(self, artifact: KeptArtifact, lease: Lease) -> None:
        """Note a piece of evidence that the store holds. The same piece twice is noted once."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            self._fence(connection, lease)
            looks.keep(connection, [artifact], now, lease)

    def prepared(self, claim: Claim, attempt: Attempt, lease: Lease, facts: dict[str, Any]) -> Claim:
        """`READY` → `PREPARED`: the form is filled and read back, its evidence is durable. `facts` go to the bundle."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            moved = move(connection, claim, State.PREPARED, now, lease, {}, facts, lease_sql.is_live(lease))
            on_attempt(connection, attempt, facts=facts)
            return moved

    def arm(self, claim: Claim, attempt: Attempt, lease: Lease, click_seconds: float) -> Claim:
        """`PREPARED` → `ARMED`, durable before the click.

        One statement checks state, payload, fencing token and that the lease outlives the longest click allowed. Raises
        `LeaseLost` or `StateConflict`; then nothing may be clicked.
        """
        with self._engine.begin() as connection:
            now = database_now(connection)
            shot = uuid.uuid4().hex
            guards = (
                lease_sql.is_live(lease, click_seconds),
                claims.c.payload_sha256 == claim.payload_sha256,
                has_artifacts(attempt, PRE_SUBMIT),
            )
            armed = move(
                connection, claim, State.ARMED, now, lease, {}, {"shot": shot, "attempt": attempt.number}, *guards
            )
            on_attempt(connection, attempt, armed_at=now)
            return armed

    def record_sent(self, attempt: Attempt, lease: Lease, wire: Wire) -> None:
        """Note, durably, that the one submit request is about to leave.

        Raises `LeaseLost` when the lease is not live or the attempt has sent already; then it must not leave.
        """
        with self._engine.begin() as connection:
            now = database_now(connection)
            sent = connection.execute(
                update(attempts)
                .where(
                    attempts.c.attempt_id == attempt.attempt_id,
                    attempts.c.armed_at.is_not(None),
                    attempts.c.sent_at.is_(None),
                    attempts.c.ended_at.is_(None),
                    lease_sql.is_live(lease),
                )
                .values(sent_at=now)
            )
            if sent.rowcount != 1:
                raise LeaseLost(
                    f"Claim {attempt.claim_id}: the submit request may not leave; the lease is gone or it was sent."
                )
            details = {"method": wire.method, "path": wire.path, "body_sha256": wire.body_sha256}
            append_event(connection, attempt.claim_id, now, lease.worker, "sent", None, None, details, lease)

    def record_wire(self, attempt: Attempt, lease: Lease, wire: Wire, url: str) -> None:
        """Note what came back, or that nothing did. Raises `LeaseLost` when another has taken the account over."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            self._fence(connection, lease)
            on_attempt(
                connection,
                attempt,
                responded_at=wire.responded_at,
                response_status=wire.status,
                facts=attempts.c.facts.concat({"answer_url": url}),
            )
            kind = "response" if wire.responded_at else "no_response"
            details = {"status": wire.status, "blocked": wire.blocked, "sent": wire.sent_at is not None}
            append_event(connection, attempt.claim_id, now, lease.worker, kind, None, None, details, lease)

    def confirm(self, claim: Claim, attempt: Attempt, lease: Lease, reference: Reference) -> Claim:
        """`ARMED` → `CONFIRMED`: one reference, new to the ledger, and both shots durable.

        Raises `ReferenceTaken` when another claim of the OEM holds the reference.
        """
        try:
            with self._engine.begin() as connection:
                now = database_now(connection)
                values = {
                    "reference": reference.value,
                    "reference_kind": reference.kind,
                    "confirmed_at": now,
                    "reason": None,
                    "reason_text": None,
                    "in_doubt_since": None,
                }
                guards = (lease_sql.is_newest(lease), has_artifacts(attempt, PRE_SUBMIT, POST_CONFIRM))
                details = {"reference": reference.value, "kind": reference.kind}
                confirmed = move(connection, claim, State.CONFIRMED, now, lease, values, details, *guards)
                facts = {"reference": {**asdict(reference), "span": list(reference.span)}}
                ended = {"ended_at": now, "ended_as": State.CONFIRMED}
                on_attempt(connection, attempt, **ended, facts=attempts.c.facts.concat(facts))
                _remember_terms(connection, confirmed)
                return confirmed
        except IntegrityError as error:
            raise ReferenceTaken(
                f"Reference {reference.value} already belongs to another claim of {claim.oem}."
            ) from error

    def settle(
        self,
        claim: Claim,
        attempt: Attempt,
        lease: Lease,
        to: State,
        reason: ReasonCode,
        text: str,
        step: str | None,
    ) -> Claim:
        """End an attempt that did not confirm: move the claim (or leave it `READY`) with the reason.

        The text is cut at 2,000 characters.
        """
        with self._engine.begin() as connection:
            now = database_now(connection)
            values: dict[str, Any] = {"reason": reason, "reason_text": text[:2000]}
            if to in LOOKED_UP:
                values |= {"look_again_at": now, "looks": 0}  # the first look is at once: most filings show at once
            details = {"reason": reason, "text": text[:2000], "step": step, "attempt": attempt.number}
            guard = lease_sql.is_newest(lease)
            if claim.state is to:
                settled = compare_and_set(connection, claim, values, now, guard)
                _log(connection, claim, now, lease, "attempt_failed", None, details)
            else:
                settled = move(connection, claim, to, now, lease, values, details, guard)
            ended = {"ended_at": now, "ended_as": to, "step": step, "reason": reason, "reason_text": text[:2000]}
            on_attempt(connection, attempt, **ended)
            return settled

    def end_attempt(self, attempt: Attempt, lease: Lease, text: str) -> None:
        """End an attempt whose claim was moved by another, before the click: the claim stays as it is now."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            self._fence(connection, lease)
            on_attempt(connection, attempt, ended_at=now, reason_text=text[:2000])
            details = {"text": text[:2000], "attempt": attempt.number}
            append_event(connection, attempt.claim_id, now, lease.worker, "attempt_ended", None, None, details, lease)

    # --- held claims ----------------------------------------------------------------------------------------------

    def begin_look(self, claim: Claim, lease: Lease) -> Claim:
        """Begin a look into the portal's history: `OUTCOME_UNKNOWN` → `RECONCILING`.

        `AWAITING_REFERENCE` stays, and so does `READY`, which is looked up when it is in doubt.
        """
        with self._engine.begin() as connection:
            return looks.begin(connection, claim, lease)

    def end_look(
        self,
        claim: Claim,
        lease: Lease,
        to: State,
        reason: ReasonCode,
        text: str,
        kept: Sequence[KeptArtifact] = (),
        again_seconds: float | None = None,
    ) -> Claim:
        """End a look that proved nothing: held for another in `again_seconds`, or `NEEDS_REVIEW`."""
        with self._engine.begin() as connection:
            return looks.end(connection, claim, lease, to, reason, text, kept, again_seconds)

    def stand_in(self, claim: Claim, lease: Lease, pins: Pins) -> Attempt:
        """What the pictures of looks belong to while a claim in doubt has no attempt that was armed: number 0."""
        with self._engine.begin() as connection:
            return looks.stand_in(connection, claim, lease, pins)

    def absent(self, claim: Claim, lease: Lease, text: str, kept: Sequence[KeptArtifact]) -> Claim:
        """It was never filed: `READY` once in its life; the second time `NEEDS_REVIEW`.

        A `READY` claim in doubt is in doubt no more.
        """
        with self._engine.begin() as connection:
            return looks.absent(connection, claim, lease, text, kept)

    def confirm_late(
        self,
        claim: Claim,
        attempt: Attempt,
        by: Lease | str,
        reference: Reference,
        kept: Sequence[KeptArtifact],
        facts: dict[str, Any],
        details: dict[str, Any],
    ) -> Claim:
        """A held claim → `CONFIRMED`, found by a look or said by a person (`by`).

        `facts` join the attempt's, `details` the event's. Raises `ReferenceTaken` when another claim holds the
        reference; then nothing of this is kept.
        """
        try:
            with self._engine.begin() as connection:
                confirmed = looks.confirm(connection, claim, attempt, by, reference, kept, facts, details)
                _remember_terms(connection, confirmed)
                return confirmed
        except IntegrityError as error:
            raise ReferenceTaken(
                f"Reference {reference.value} already belongs to another claim of {claim.oem}."
            ) from error

    def not_filed(self, claim: Claim, person: str, why: str) -> Claim:
        """A person's verdict on a claim in review: → `READY`."""
        with self._engine.begin() as connection:
            return looks.not_filed(connection, claim, person, why)

    def cannot_tell(self, claim: Claim, person: str, why: str) -> Claim:
        """A person's note on a claim in review."""
        with self._engine.begin() as connection:
            return looks.cannot_tell(connection, claim, person, why)

    # --- after the filing -----------------------------------------------------------------------------------------

    def sealed(self, claim: Claim, run_id: str, digest: str, actor: str) -> Claim:
        """The bundle is stored and read back: `CONFIRMED` → `SEALED`; any other state stays, with the bundle noted."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            values: dict[str, Any] = {"bundle_digest": digest}
            target = State.SEALED if claim.state is State.CONFIRMED else claim.state
            sealed = compare_and_set(connection, claim, {**values, "state": target}, now)
            append_event(
                connection, claim.claim_id, now, actor, "sealed", claim.state, target, {"digest": digest}, run_id=run_id
            )
            return sealed

    def synced(self, claim: Claim, run_id: str | None, actor: str) -> Claim:
        """The CRM was told where the claim stands, and read back: `SEALED` → `SYNCED`, any other state is noted."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            target = State.SYNCED if claim.state is State.SEALED else claim.state
            values = {"state": target, "crm_version": claim.version + 1}
            synced = compare_and_set(connection, claim, values, now)
            details = {"record": claim.crm_record_id}
            append_event(
                connection, claim.claim_id, now, actor, "crm_told", claim.state, target, details, run_id=run_id
            )
            return synced

    # --- breakers -----------------------------------------------------------------------------------------------

    def move_breaker(
        self,
        seen: Breaker,
        what: Note,
        actor: str,
        run_id: str | None = None,
        reason: ReasonCode | None = None,
        text: str | None = None,
    ) -> bool:
        """Append to a breaker's log, unless it stands elsewhere than was `seen`; whether it moved."""
        with self._engine.begin() as connection:
            breakers.lock(connection, seen.oem, seen.dealer)
            now = breakers.read(connection, seen.oem, seen.dealer)
            if (now.position, now.tries) != (seen.position, seen.tries):
                return False
            breakers.note(connection, seen.oem, seen.dealer, what, actor, run_id, reason, text)
            return True

    # --- beside the claims ---------------------------------------------------------------------------------------

    def import_dealers(self, rows: Sequence[tuple[str, str, str | None, bool]]) -> None:
        """Remember (OEM, dealer, name, pilot); a known dealer gets the new name and flag."""
        with self._engine.begin() as connection:
            for oem, dealer, name, pilot in rows:
                values = {"name": name, "pilot": pilot}
                statement = upsert(dealers).values(oem=oem, dealer=dealer, **values)
                connection.execute(statement.on_conflict_do_update(index_elements=["oem", "dealer"], set_=values))

    def missing_migrations(self) -> bool:
        """Whether the schema is behind the code."""
        with self._engine.connect() as connection:
            return is_behind(connection)

    def redrive(self, claim: Claim, by: str) -> Claim:
        """`DEAD` → `READY` with a new budget, by a named operator.

        What died past the click → `RECONCILING`: it may be filed, and is looked up. A claim whose record could not be
        read as one stays `DEAD`, and intake reads the record again at its next look.
        """
        with self._engine.begin() as connection:
            now = database_now(connection)
            if claim.state is not State.DEAD:
                raise StateConflict(f"Claim {claim.claim_id} is {claim.state}, not DEAD: it can't be redriven.")
            if claim.erased_at is not None:
                raise StateConflict(
                    f"The personal data of claim {claim.claim_id} was erased, so that it can't be filed: make a new"
                    " record in the CRM."
                )
            again: dict[str, Any] = {"state": State.READY, "attempts": 0, "reason": None, "reason_text": None}
            if claim.natural_key is None:
                again = {"source_sha256": ""}
            elif is_past_the_click(connection, claim):
                again = {"state": State.RECONCILING, "looks": 0, "look_again_at": None}
            redriven = compare_and_set(connection, claim, again, now)
            details = {"reason": claim.reason}
            append_event(connection, claim.claim_id, now, by, "redriven", claim.state, redriven.state, details)
            return redriven

    def withdraw(self, claim: Claim, by: str, why: str) -> Claim:
        """`READY`, or `DEAD` before the click, → `WITHDRAWN`, by a named person; its natural key stays taken.

        Raises `StateConflict` when it is or may be filed, or a worker was faster.
        """
        with self._engine.begin() as connection:
            now = database_now(connection)
            if claim.in_doubt_since is not None or is_past_the_click(connection, claim):
                raise StateConflict(
                    f"Claim {claim.claim_id} may be filed: it is looked up, or redriven to be looked up, and not"
                    " withdrawn before."
                )
            values = {"reason": None, "reason_text": f"Withdrawn by {by}: {why}"[:2000]}
            return move(connection, claim, State.WITHDRAWN, now, by, values, {"why": why})

    def _fence(self, connection: Connection, lease: Lease) -> None:
        if not connection.execute(select(lease_sql.is_newest(lease))).scalar_one():
            raise LeaseLost(
                f"{lease.oem}/{lease.dealer}: another worker has taken the account over from {lease.worker}."
            )


def _log(
    connection: Connection,
    claim: Claim,
    now: datetime,
    lease: Lease,
    kind: str,
    to: State | None,
    details: dict[str, Any],
) -> None:
    append_event(connection, claim.claim_id, now, lease.worker, kind, None, to, details, lease)


def _fields(new: NewClaim) -> dict[str, Any]:
    return {name: getattr(new, name) for name in NewClaim.__dataclass_fields__}


def _intake_values(new: NewClaim) -> dict[str, Any]:
    return {
        "dealer": new.dealer,
        "period": new.period,
        "claim_type": new.claim_type,
        "natural_key": new.natural_key,
        "payload": new.payload,
        "payload_sha256": sha256_hex(canonical_json(new.payload)),
        "source_sha256": new.source_sha256,
        "due_on": new.due_on,
        "state": State.READY if new.reason is None else State.DEAD,
        "reason": new.reason,
        "reason_text": new.reason_text,
    }


def _remember_terms(connection: Connection, claim: Claim) -> None:
    found = {claim.claim_id, claim.crm_record_id, claim.reference, *(claim.payload.get(name) for name in _TERM_FIELDS)}
    rows = [{"claim_id": claim.claim_id, "term": term.strip().upper()} for term in _texts(found)]
    connection.execute(upsert(claim_terms).values(rows).on_conflict_do_nothing())


def _remember_dealer(connection: Connection, claim: Claim) -> None:
    """A dealer is known once a valid claim came for it: an invalid record's dealer code is anybody's text."""
    if claim.state is State.READY:
        connection.execute(upsert(dealers).values(oem=claim.oem, dealer=claim.dealer).on_conflict_do_nothing())


def _texts(values: set[Any]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str) and 0 < len(value.strip()) <= 200)


@contextmanager
def open_ledger(url: str, attempts_budget: int = 3) -> Iterator[Ledger]:
    """A ledger on a database, closed at the end."""
    engine = ledger_engine(url)
    try:
        yield Ledger(engine, attempts_budget)
    finally:
        engine.dispose()
