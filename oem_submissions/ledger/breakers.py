"""Circuit breakers, in SQL: an append-only log per OEM and per account, from which their position follows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, insert, null, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on

from oem_submissions.domain.breaker import Breaker, Ending, Note, Position
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import LOOKED_UP, State
from oem_submissions.ledger.tables import attempts, breaker_log, claims

_NOW = func.clock_timestamp()
_POSITIONS = {
    Note.OPENED: Position.OPEN,
    Note.PROBE_FAILED: Position.OPEN,
    Note.HALF_OPENED: Position.HALF_OPEN,
    Note.CLOSED: Position.CLOSED,
}


def _of(oem: str, dealer: str | None) -> ColumnElement[bool]:
    whose = breaker_log.c.dealer.is_(None) if dealer is None else breaker_log.c.dealer == dealer
    return and_(breaker_log.c.oem == oem, whose)


def _since_closed(oem: str, dealer: str | None) -> ColumnElement[bool]:
    closed = select(func.max(breaker_log.c.entry)).where(_of(oem, dealer), breaker_log.c.note == Note.CLOSED)
    return and_(_of(oem, dealer), breaker_log.c.entry > func.coalesce(closed.scalar_subquery(), 0))


def read(connection: Connection, oem: str, dealer: str | None) -> Breaker:
    """Where a breaker stands; one without entries is closed."""
    seconds = func.extract("epoch", _NOW - breaker_log.c.at).label("seconds")
    rows = connection.execute(
        select(breaker_log, seconds).where(_since_closed(oem, dealer)).order_by(breaker_log.c.entry)
    ).all()
    if not rows:
        return Breaker(oem, dealer, Position.CLOSED, None, None, 0.0, 0)
    failed = [row for row in rows if row.note in (Note.OPENED, Note.PROBE_FAILED)]
    why = failed[-1] if failed else None
    return Breaker(
        oem,
        dealer,
        _POSITIONS[Note(rows[-1].note)],
        ReasonCode(why.reason) if why else None,
        why.text if why else None,
        float(rows[-1].seconds),
        len(failed),
    )


def not_closed(connection: Connection) -> list[Breaker]:
    """Every breaker that is open or half-open."""
    last = (
        select(breaker_log.c.oem, breaker_log.c.dealer, breaker_log.c.note)
        .ext(distinct_on(breaker_log.c.oem, breaker_log.c.dealer))
        .order_by(breaker_log.c.oem, breaker_log.c.dealer, breaker_log.c.entry.desc())
    )
    found = [row for row in connection.execute(last) if row.note != Note.CLOSED]
    return [read(connection, row.oem, row.dealer) for row in found]


def lock(connection: Connection, oem: str, dealer: str | None) -> None:
    """Until the transaction ends nobody else moves this breaker."""
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"breaker {oem} {dealer}", 0))))


def note(
    connection: Connection,
    oem: str,
    dealer: str | None,
    what: Note,
    actor: str,
    run_id: str | None = None,
    reason: ReasonCode | None = None,
    text: str | None = None,
) -> None:
    """Append to the log. An account that is given free has its held claims looked up at once."""
    connection.execute(
        insert(breaker_log).values(
            at=_NOW,
            oem=oem,
            dealer=dealer,
            note=what,
            reason=reason,
            text=text[:2000] if text else None,
            actor=actor,
            run_id=run_id,
            after_attempt=select(func.coalesce(func.max(attempts.c.attempt_id), 0)).scalar_subquery(),
        )
    )
    if what is Note.HALF_OPENED and dealer is not None:
        looked_up = or_(claims.c.state.in_(sorted(LOOKED_UP)), claims.c.in_doubt_since.is_not(None))
        held = (claims.c.oem == oem, claims.c.dealer == dealer, looked_up)
        connection.execute(update(claims).where(*held).values(look_again_at=null()))


def last_endings(connection: Connection, oem: str, limit: int) -> Sequence[Ending]:
    """How the OEM's last attempts ended since its breaker last moved towards closed, the newest first."""
    freed = (
        select(func.coalesce(func.max(breaker_log.c.after_attempt), 0))
        .where(_of(oem, None), breaker_log.c.note.in_((Note.CLOSED, Note.HALF_OPENED)))
        .scalar_subquery()
    )
    query = (
        select(attempts.c.ended_as, attempts.c.reason, attempts.c.step)
        .join(claims, claims.c.claim_id == attempts.c.claim_id)
        .where(claims.c.oem == oem, attempts.c.ended_as.is_not(None), attempts.c.attempt_id > freed)
        .where(attempts.c.ended_at > func.now() - timedelta(days=1))  # stable, so that an index serves
        .order_by(attempts.c.attempt_id.desc())
        .limit(limit)
    )
    return [
        Ending(State(row.ended_as), ReasonCode(row.reason) if row.reason else None, row.step)
        for row in connection.execute(query)
    ]
