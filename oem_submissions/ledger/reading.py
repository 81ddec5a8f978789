"""The ledger's reads. They take no lock and change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Engine, Row, Select, and_, func, literal_column, or_, select

from oem_submissions.domain.breaker import Breaker, Ending
from oem_submissions.domain.lease_log import LeaseEntry
from oem_submissions.domain.outcomes import Reference
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import (
    Attempt,
    Claim,
    DueLook,
    DueWork,
    EnqueueRequest,
    Event,
    HeldClaim,
    KeptArtifact,
    Lease,
    LostLease,
    Pins,
)
from oem_submissions.domain.scheduling import Source
from oem_submissions.domain.states import FILED, LOOKED_UP, State
from oem_submissions.ledger import breakers
from oem_submissions.ledger import leases as lease_sql
from oem_submissions.ledger.tables import (
    UNTOLD,
    artifacts,
    attempts,
    claim_terms,
    claims,
    dealers,
    enqueue_requests,
    events,
    lease_log,
    ticks,
    worker_beats,
)

_UNDER_WAY = (State.PREPARED, State.ARMED, State.RECONCILING, State.CONFIRMED, State.SEALED)
_LOST = (ReasonCode.WORKER_LOST_PRE_INTENT, ReasonCode.WORKER_LOST_POST_INTENT)
_IN_DOUBT = claims.c.in_doubt_since.is_not(None)
_LOOK_DUE = and_(
    or_(claims.c.state.in_(sorted(LOOKED_UP)), and_(claims.c.state == State.READY, _IN_DOUBT)),
    or_(claims.c.look_again_at.is_(None), claims.c.look_again_at <= func.clock_timestamp()),
)
_UNTOLD = literal_column(f"({UNTOLD})", Boolean)


class LedgerReader:
    """Everything that can be asked of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def claim(self, claim_id: str) -> Claim | None:
        """The claim as it stands."""
        return self._one_claim(claims.c.claim_id == claim_id)

    def claim_of_record(self, oem: str, crm_record_id: str) -> Claim | None:
        """The claim of a CRM record."""
        return self._one_claim(claims.c.oem == oem, claims.c.crm_record_id == crm_record_id)

    def claims(self, oem: str, dealer: str, period: str) -> list[Claim]:
        """A partition's claims, oldest due first."""
        where = (claims.c.oem == oem, claims.c.dealer == dealer, claims.c.period == period)
        return self._many_claims(*where)

    def all_claims(self, oem: str | None = None, state: State | None = None) -> list[Claim]:
        """Every claim, or one OEM's, or those in one state."""
        where = [claims.c.oem == oem] if oem else []
        where += [claims.c.state == state] if state else []
        return self._many_claims(*where)

    def recent_claims(self, limit: int) -> list[Claim]:
        """The claims that changed last, newest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(claims).order_by(claims.c.updated_at.desc()).limit(limit))
            return [claim_of(row) for row in rows]

    def find(self, text: str) -> list[Claim]:
        """Claims by reference, claim id, CRM record, repair order, VIN or invoice, exactly, capitals or not."""
        term = text.strip().upper()
        hits = select(claim_terms.c.claim_id).where(claim_terms.c.term == term)
        return self._many_claims(claims.c.claim_id.in_(hits))

    def untold(self, oem: str | None = None) -> list[Claim]:
        """Claims whose end, or hold, the CRM does not know of yet: one OEM's, or all."""
        return self._many_claims(_UNTOLD, *([claims.c.oem == oem] if oem else []))

    def due_work(self, oem: str, dealers: Sequence[str] = (), period: str | None = None) -> list[DueWork]:
        """What the queue should hold: partitions with a claim that a worker has to move or look up, or the CRM hear of.

        A held claim whose next look is later is no work: nobody can do anything with it yet.
        """
        with self._engine.connect() as connection:
            rows = connection.execute(due_work_query(oem, dealers, period)).all()
        return [
            DueWork(oem, r.dealer, r.period, r.claims, r.oldest, r.untried, r.ready, r.first_due_on, r.goes_on)
            for r in rows
        ]

    def due_looks(self, oem: str, dealer: str, period: str) -> list[HeldClaim]:
        """A partition's claims whose look-up is due: those held, the longest first, and those in doubt.

        By the database's clock. How long one in doubt is held counts from the restore: what was forgotten is no older.
        """
        since = func.greatest(func.coalesce(attempts.c.sent_at, attempts.c.armed_at), claims.c.in_doubt_since)
        clicked = and_(
            attempts.c.claim_id == claims.c.claim_id, attempts.c.armed_at.is_not(None), claims.c.state != State.READY
        )
        query = (
            select(
                claims.c.claim_id.label("held"),
                attempts,
                func.extract("epoch", func.clock_timestamp() - since).label("seconds"),
            )
            .select_from(claims.outerjoin(attempts, clicked))
            .where(claims.c.oem == oem, claims.c.dealer == dealer, claims.c.period == period, _LOOK_DUE)
            .where(or_(attempts.c.attempt_id.is_not(None), claims.c.state == State.READY))
            .order_by(attempts.c.number)
        )
        last: dict[str, tuple[Attempt | None, float]] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                attempt = attempt_of(row) if row.attempt_id is not None else None
                last[row.held] = (attempt, float(row.seconds))
        found = {claim.claim_id: claim for claim in self._many_claims(claims.c.claim_id.in_(last))}
        held = [HeldClaim(found[claim_id], *of_claim) for claim_id, of_claim in last.items()]
        return sorted(held, key=lambda item: -item.seconds)

    def partitions_to_look_up(self, oem: str) -> list[DueLook]:
        """Partitions with due look-ups; of each the claim that waits longest."""
        overdue = func.clock_timestamp() - func.coalesce(claims.c.look_again_at, claims.c.updated_at)
        query = (
            select(claims, func.extract("epoch", overdue).label("overdue"))
            .where(claims.c.oem == oem, _LOOK_DUE)
            .order_by("overdue")
        )
        due: dict[tuple[str, str], DueLook] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                known = due.get((row.dealer, row.period))
                count = known.work.claims + 1 if known else 1
                work = DueWork(oem, row.dealer, row.period, count, row.created_at)
                due[row.dealer, row.period] = DueLook(work, row.claim_id, row.version, float(row.overdue))
        return list(due.values())

    def known_filing(self, claim: Claim, settled_seconds: float) -> Claim | None:
        """A positive control: the newest confirmed claim of the same account and type that had time to be listed."""
        query = (
            select(claims)
            .where(claims.c.oem == claim.oem, claims.c.dealer == claim.dealer, claims.c.claim_id != claim.claim_id)
            .where(claims.c.claim_type == claim.claim_type, claims.c.state.in_(sorted(FILED)))
            .where(claims.c.confirmed_at <= func.clock_timestamp() - timedelta(seconds=settled_seconds))
            .order_by(claims.c.confirmed_at.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
            return claim_of(row) if row else None

    def enqueue_requests(self, after: int, limit: int = 100) -> list[EnqueueRequest]:
        """Requests with a greater id than `after`, in order."""
        query = (
            select(enqueue_requests)
            .where(enqueue_requests.c.request_id > after)
            .order_by(enqueue_requests.c.request_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [
                EnqueueRequest(row.request_id, row.oem, tuple(row.dealers), row.period, row.requested_by)
                for row in connection.execute(query)
            ]

    def dealers(self, oem: str) -> list[str]:
        """The dealer codes that claims have come for."""
        with self._engine.connect() as connection:
            return list(connection.scalars(select(dealers.c.dealer).where(dealers.c.oem == oem).order_by("dealer")))

    def last_tick(self, oem: str) -> Any:
        """When the OEM's schedule was last evaluated; None when never."""
        with self._engine.connect() as connection:
            evaluated = (ticks.c.oem == oem, ticks.c.source != Source.MISSED)
            return connection.scalar(select(func.max(ticks.c.at)).where(*evaluated))

    def attempts(self, claim_id: str) -> list[Attempt]:
        """A claim's attempts, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(attempts)
                .where(attempts.c.claim_id == claim_id, attempts.c.number > 0)
                .order_by(attempts.c.number)
            )
            return [attempt_of(row) for row in rows]

    def artifacts(self, claim_id: str) -> list[KeptArtifact]:
        """A claim's durable evidence, oldest first."""
        query = select(artifacts).where(artifacts.c.claim_id == claim_id).order_by("captured_at", "name")
        with self._engine.connect() as connection:
            return [KeptArtifact(**row._mapping) for row in connection.execute(query)]

    def events(self, claim_id: str) -> list[Event]:
        """A claim's chain, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(events).where(events.c.claim_id == claim_id).order_by("sequence"))
            return [event_of(row) for row in rows]

    def unfinished(self, lease: Lease) -> list[tuple[Claim, Attempt]]:
        """The account's claims that an older, lost lease left with an open attempt."""
        query = (
            select(claims, attempts.c.attempt_id)
            .join(attempts, attempts.c.claim_id == claims.c.claim_id)
            .where(
                claims.c.oem == lease.oem,
                claims.c.dealer == lease.dealer,
                attempts.c.ended_at.is_(None),
                attempts.c.fencing_token < lease.fencing_token,
            )
        )
        with self._engine.connect() as connection:
            found = [(claim_of(row), row.attempt_id) for row in connection.execute(query)]
        by_id = {a.attempt_id: a for claim, _ in found for a in self.attempts(claim.claim_id)}
        return [(claim, by_id[attempt_id]) for claim, attempt_id in found]

    def expired_leases(self) -> list[Lease]:
        """Leases that ran out and that nobody released: their workers are lost."""
        with self._engine.connect() as connection:
            return lease_sql.expired_leases(connection)

    def held_leases(self) -> list[Lease]:
        """Leases that nobody released, run out or not, oldest first."""
        with self._engine.connect() as connection:
            return lease_sql.held_leases(connection)

    def lost_leases(self, after: int) -> list[LostLease]:
        """Entries of the lease log after `after` that say: it ran out, and the account was taken over. In order."""
        query = (
            select(*(lease_log.c[name] for name in LostLease.__dataclass_fields__))
            .where(lease_log.c.kind == "expired", lease_log.c.entry > after)
            .order_by(lease_log.c.entry)
        )
        with self._engine.connect() as connection:
            return [LostLease(**row._mapping) for row in connection.execute(query)]

    def last_lease_entry(self) -> int:
        """The newest entry of the lease log; 0 when it is empty."""
        with self._engine.connect() as connection:
            return connection.scalar(select(func.max(lease_log.c.entry))) or 0

    def left_by(self, lost: LostLease) -> list[tuple[Claim, Attempt]]:
        """The claims that a lost worker had under way, with its attempts at them, put right or not yet."""
        query = (
            select(claims, attempts.c.attempt_id)
            .join(attempts, attempts.c.claim_id == claims.c.claim_id)
            .where(attempts.c.fencing_token == lost.fencing_token)
            .where(or_(attempts.c.ended_at.is_(None), attempts.c.reason.in_(_LOST)))
            .order_by(attempts.c.attempt_id)
        )
        with self._engine.connect() as connection:
            found = [(claim_of(row), row.attempt_id) for row in connection.execute(query)]
        by_id = {a.attempt_id: a for claim, _ in found for a in self.attempts(claim.claim_id)}
        tried = [(claim, by_id[attempt_id]) for claim, attempt_id in found]
        where = (claims.c.oem == lost.oem, claims.c.dealer == lost.dealer, claims.c.run_id == lost.run_id)
        looking = self._many_claims(*where, claims.c.state.in_((State.RECONCILING, *sorted(LOOKED_UP))))
        known = {claim.claim_id for claim, _ in tried}
        return tried + [(c, self.attempts(c.claim_id)[-1]) for c in looking if c.claim_id not in known]

    def silent_runs(self, seconds: float) -> list[tuple[str, str]]:
        """(run id, worker) of every process that should be alive and has not said so for so long."""
        late = worker_beats.c.at < func.clock_timestamp() - timedelta(seconds=seconds)
        with self._engine.connect() as connection:
            rows = connection.execute(select(worker_beats).where(late).order_by(worker_beats.c.at))
            return [(row.run_id, row.worker) for row in rows]

    def has_beaten(self, run_id: str) -> bool:
        """Whether the run's process ever said that it lives."""
        with self._engine.connect() as connection:
            query = select(worker_beats.c.run_id).where(worker_beats.c.run_id == run_id)
            return connection.execute(query).first() is not None

    def breaker(self, oem: str, dealer: str | None = None) -> Breaker:
        """Where the OEM's breaker stands, or the one of a dealer's account."""
        with self._engine.connect() as connection:
            return breakers.read(connection, oem, dealer)

    def breakers(self) -> list[Breaker]:
        """Every breaker that is not closed."""
        with self._engine.connect() as connection:
            return breakers.not_closed(connection)

    def last_endings(self, oem: str, limit: int) -> Sequence[Ending]:
        """How the OEM's last attempts ended, the newest first, since its breaker last let claims through."""
        with self._engine.connect() as connection:
            return breakers.last_endings(connection, oem, limit)

    def lease_log(self) -> list[LeaseEntry]:
        """The append-only log of every account's leases, in the order it was written."""
        columns = [lease_log.c[name] for name in LeaseEntry.__dataclass_fields__]
        with self._engine.connect() as connection:
            rows = connection.execute(select(*columns).order_by(lease_log.c.entry))
            return [LeaseEntry(**row._mapping) for row in rows]

    def now(self) -> datetime:
        """The database's clock: the only one that leases are judged by."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.clock_timestamp())).scalar_one()

    def captured_reference(self, claim_id: str) -> Reference | None:
        """The reference with the text that it was taken from."""
        facts = self._facts(claim_id).get("reference")
        return Reference(**{**facts, "span": tuple(facts["span"])}) if facts else None

    def facts(self, claim_id: str) -> dict[str, Any]:
        """What the last armed attempt noted about browser, viewport and page."""
        return self._facts(claim_id)

    def _facts(self, claim_id: str) -> dict[str, Any]:
        query = (
            select(attempts.c.facts)
            .where(attempts.c.claim_id == claim_id, attempts.c.armed_at.is_not(None))
            .order_by(attempts.c.number.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            return connection.scalar(query) or {}

    def _one_claim(self, *where: Any) -> Claim | None:
        with self._engine.connect() as connection:
            row = connection.execute(select(claims).where(*where)).one_or_none()
            return claim_of(row) if row else None

    def _many_claims(self, *where: Any) -> list[Claim]:
        query = select(claims).where(*where).order_by(claims.c.due_on, claims.c.created_at, claims.c.claim_id)
        with self._engine.connect() as connection:
            return [claim_of(row) for row in connection.execute(query)]


def claim_of(row: Row[Any]) -> Claim:
    """The row as a record."""
    return Claim(
        **{name: getattr(row, name) for name in Claim.__dataclass_fields__ if name not in ("state", "reason")},
        state=State(row.state),
        reason=ReasonCode(row.reason) if row.reason else None,
    )


def attempt_of(row: Row[Any]) -> Attempt:
    """The row as a record."""
    plain = {name: getattr(row, name) for name in Attempt.__dataclass_fields__ if name not in ("pins", "reason")}
    return Attempt(
        **plain,
        pins=Pins(row.adapter_digest, row.pack_version, row.pack_digest),
        reason=ReasonCode(row.reason) if row.reason else None,
    )


def event_of(row: Row[Any]) -> Event:
    """The row of the whole table, whose columns stand in the record's order, as a record."""
    values: tuple[Any, ...] = tuple(row)
    states = (State(state) if state else None for state in values[5:7])
    return Event(*values[:5], *states, *values[7:])


def due_work_query(oem: str, dealers: Sequence[str], period: str | None) -> Select[Any]:
    """From three indexes: claims in the states that are not ends, those that the CRM must hear of, due looks."""
    waits = and_(claims.c.state == State.READY, ~_IN_DOUBT)
    goes_on = or_(claims.c.state.in_(_UNDER_WAY), _UNTOLD, _LOOK_DUE)
    where = [claims.c.oem == oem, or_(waits, goes_on), claims.c.due_on <= func.current_date()]
    where += [claims.c.dealer.in_(dealers)] if dealers else []
    where += [claims.c.period == period] if period else []
    return (
        select(
            claims.c.dealer,
            claims.c.period,
            func.count().label("claims"),
            func.min(claims.c.created_at).label("oldest"),
            func.count().filter(waits, claims.c.attempts == 0).label("untried"),
            func.min(claims.c.due_on).filter(waits).label("first_due_on"),
            func.count().filter(waits).label("ready"),
            func.bool_or(goes_on).label("goes_on"),
        )
        .where(*where)
        .group_by(claims.c.dealer, claims.c.period)
        .order_by("oldest")
    )
