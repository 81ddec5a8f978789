"""The one way a claim's row changes: compare-and-set with guards in one statement, and an event beside it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from oem_submissions.domain.failures import LeaseLost, StateConflict
from oem_submissions.domain.records import Attempt, Claim, Lease
from oem_submissions.domain.states import State, may_move
from oem_submissions.ledger.chain import append_event
from oem_submissions.ledger.reading import claim_of
from oem_submissions.ledger.tables import artifacts, attempts, claims, events


def database_now(connection: Connection) -> datetime:
    """The database's clock: the only clock that leases and moves are judged by."""
    return connection.execute(select(func.clock_timestamp())).scalar_one()


def move(
    connection: Connection,
    claim: Claim,
    to: State,
    now: datetime,
    by: Lease | str,
    values: dict[str, Any],
    details: dict[str, Any],
    *guards: ColumnElement[bool],
) -> Claim:
    """Move a claim, by a worker with the account's lease, or by a named person. Raises `StateConflict`, `LeaseLost`."""
    if not may_move(claim.state, to):
        raise StateConflict(f"Claim {claim.claim_id} may not move from {claim.state} to {to}.")
    lease = by if isinstance(by, Lease) else None
    run = {"run_id": lease.run_id} if lease else {}
    moved = compare_and_set(connection, claim, {**values, **run, "state": to}, now, *guards)
    actor = by.worker if isinstance(by, Lease) else by
    append_event(connection, claim.claim_id, now, actor, "moved", claim.state, to, details, lease)
    return moved


def compare_and_set(
    connection: Connection, claim: Claim, values: dict[str, Any], now: datetime, *guards: ColumnElement[bool]
) -> Claim:
    """Change the row only if nobody has since it was read, and every guard holds, in one statement."""
    row = connection.execute(
        update(claims)
        .where(
            claims.c.claim_id == claim.claim_id,
            claims.c.state == claim.state,
            claims.c.version == claim.version,
            *guards,
        )
        .values(version=claim.version + 1, updated_at=now, **values)
        .returning(*claims.c)
    ).one_or_none()
    if row is not None:
        return claim_of(row)
    current = connection.execute(
        select(claims.c.state, claims.c.version).where(claims.c.claim_id == claim.claim_id)
    ).one_or_none()
    if current is None or (current.state, current.version) != (claim.state, claim.version):
        found = "gone" if current is None else f"{current.state} (version {current.version})"
        raise StateConflict(f"Claim {claim.claim_id} was {claim.state} (version {claim.version}), it is now {found}.")
    raise LeaseLost(
        f"Claim {claim.claim_id}: the ledger refused the write; the lease has expired, or its evidence is not durable."
    )


def is_past_the_click(connection: Connection, claim: Claim) -> bool:
    """Whether it was armed, and not proven absent since: then it may be filed, whatever state it is in."""
    last = (
        select(events.c.to_state)
        .where(events.c.claim_id == claim.claim_id, events.c.to_state.in_((State.ARMED, State.PROVEN_ABSENT)))
        .order_by(events.c.sequence.desc())
        .limit(1)
    )
    return connection.scalar(last) == State.ARMED


def has_artifacts(attempt: Attempt, *names: str) -> ColumnElement[bool]:
    """A condition on the claim's row: these pieces of the attempt's evidence, of this very claim, are durable."""
    kept = select(func.count()).where(
        artifacts.c.attempt_id == attempt.attempt_id,
        artifacts.c.claim_id == claims.c.claim_id,
        artifacts.c.name.in_(names),
    )
    return kept.correlate(claims).scalar_subquery() == len(names)


def on_attempt(connection: Connection, attempt: Attempt, **values: Any) -> None:
    """Note something on the attempt's row."""
    connection.execute(update(attempts).where(attempts.c.attempt_id == attempt.attempt_id).values(**values))
