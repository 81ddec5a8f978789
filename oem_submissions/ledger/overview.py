"""What people look up and what the desk lists, in SQL. Every query here has its index and its limit.

At a million claims a page is still there at once: a test asks PostgreSQL for each plan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ARRAY, Engine, Row, Select, Text, func, lateral, literal, or_, select, true
from sqlalchemy.sql.selectable import LateralFromClause

from oem_submissions.domain.overview import Dead, DeadKind, Held, QueueLine
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, LostLease
from oem_submissions.domain.scheduling import Source
from oem_submissions.domain.states import State
from oem_submissions.domain.texts import keepable
from oem_submissions.ledger.reading import claim_of
from oem_submissions.ledger.scheduler import oldest_query
from oem_submissions.ledger.tables import attempts, claim_terms, claims, dealers, events, lease_log, ticks

_ENDS = frozenset({State.SYNCED, State.REJECTED, State.WITHDRAWN})
"""The states that claims pile up in; the desk counts the others."""


class OverviewBook:
    """The desk's look-ups and lists."""

    _engine: Engine

    def look_up(self, text: str, limit: int) -> list[Claim]:
        """Claims by reference, claim id, CRM record, repair order, VIN or invoice, exactly, capitals or not.

        The newest first.
        """
        return self._claims(look_up_query(text, limit))

    def of_dealer(self, text: str, limit: int) -> list[Claim]:
        """The claims of a dealer code, whatever the OEM, capitals or not; those that changed last first."""
        code = keepable(text).strip().upper()
        known = select(dealers.c.oem, dealers.c.dealer).where(func.upper(dealers.c.dealer) == code)
        with self._engine.connect() as connection:
            accounts = [(row.oem, row.dealer) for row in connection.execute(known)]
            return [claim_of(row) for row in connection.execute(of_accounts_query(accounts, limit))] if accounts else []

    def count_states(self, states: Collection[State]) -> dict[State, int]:
        """How many claims are in each of these states."""
        with self._engine.connect() as connection:
            found = {State(row.state): row.claims for row in connection.execute(count_query(states))}
        return {state: found.get(state, 0) for state in states}

    def held_claims(self, states: Collection[State], limit: int) -> list[Held]:
        """The claims in these states, those that came due longest ago first."""
        with self._engine.connect() as connection:
            rows = connection.execute(held_query(states, limit))
            return [Held(claim_of(row), row.since or row.updated_at, row.clicked_at) for row in rows]

    def dead_kinds(self) -> list[DeadKind]:
        """All dead letters, counted by what they have in common."""
        with self._engine.connect() as connection:
            return [
                DeadKind(row.oem, ReasonCode(row.reason) if row.reason else None, row.pack, row.claims)
                for row in connection.execute(dead_kinds_query())
            ]

    def dead_lines(self, oem: str | None, reason: ReasonCode | None, pack: str | None, limit: int) -> list[Dead]:
        """Dead letters, all or some, those that died last first."""
        with self._engine.connect() as connection:
            return [_dead_of(row) for row in connection.execute(dead_query(oem, reason, pack, limit))]

    def queue_lines(self, oems: Sequence[str]) -> list[QueueLine]:
        """The queues of these OEMs."""
        counts: dict[str, dict[State, int]] = defaultdict(dict)
        with self._engine.connect() as connection:
            for row in connection.execute(queue_query(oems)):
                counts[row.oem][State(row.state)] = row.claims
            oldest = {row.oem: row.oldest for row in connection.execute(oldest_query(oems))}
            ticked = {row.oem: row.at for row in connection.execute(last_ticks_query(oems))}
        return [QueueLine(oem, counts[oem], oldest.get(oem), ticked.get(oem)) for oem in oems]

    def recent_losses(self, limit: int) -> list[LostLease]:
        """The leases that ran out last, the newest first."""
        query = (
            select(*(lease_log.c[name] for name in LostLease.__dataclass_fields__))
            .where(lease_log.c.kind == "expired")
            .order_by(lease_log.c.entry.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [LostLease(**row._mapping) for row in connection.execute(query)]

    def _claims(self, query: Select[Any]) -> list[Claim]:
        with self._engine.connect() as connection:
            return [claim_of(row) for row in connection.execute(query)]


# --- the queries -----------------------------------------------------------------------------------------------------


def look_up_query(text: str, limit: int) -> Select[Any]:
    """By what `claim_terms` holds: its key begins with the term."""
    term = keepable(text).strip().upper()
    return (
        select(claims)
        .join(claim_terms, claim_terms.c.claim_id == claims.c.claim_id)
        .where(claim_terms.c.term == term)
        .order_by(claims.c.created_at.desc(), claims.c.claim_id)
        .limit(limit)
    )


def of_accounts_query(accounts: Sequence[tuple[str, str]], limit: int) -> Select[Any]:
    """From the index by OEM and dealer; which are the newest is decided among these alone.

    Without the fence PostgreSQL may walk all claims from the newest on until it has met enough of the accounts'.
    """
    mine = (
        select(claims.c.claim_id, claims.c.updated_at)
        .where(or_(*((claims.c.oem == oem) & (claims.c.dealer == dealer) for oem, dealer in accounts)))
        .cte("mine")
        .prefix_with("MATERIALIZED")
    )
    newest = select(mine).order_by(mine.c.updated_at.desc()).limit(limit).subquery()
    return (
        select(claims)
        .join(newest, newest.c.claim_id == claims.c.claim_id)
        .order_by(claims.c.updated_at.desc(), claims.c.claim_id)
    )


def count_query(states: Collection[State]) -> Select[Any]:
    """From the index by state alone."""
    where = claims.c.state.in_(sorted(states))
    return select(claims.c.state, func.count().label("claims")).where(where).group_by(claims.c.state)


def held_query(states: Collection[State], limit: int) -> Select[Any]:
    """With the moment that each came there, and that of its last click."""
    # Not by the time that it came there: the list is cut off before that is looked up.
    held = (
        select(claims)
        .where(claims.c.state.in_(sorted(states)))
        .order_by(claims.c.created_at, claims.c.claim_id)
        .limit(limit)
        .subquery()
    )
    came = lateral(
        select(events.c.at)
        .where(events.c.claim_id == held.c.claim_id, events.c.to_state == held.c.state)
        .where(events.c.from_state.is_distinct_from(events.c.to_state))
        .order_by(events.c.sequence.desc())
        .limit(1)
    )
    clicked = lateral(
        select(func.coalesce(attempts.c.sent_at, attempts.c.armed_at).label("at"))
        .where(attempts.c.claim_id == held.c.claim_id, attempts.c.armed_at.is_not(None))
        .order_by(attempts.c.number.desc())
        .limit(1)
    )
    return (
        select(held, came.c.at.label("since"), clicked.c.at.label("clicked_at"))
        .select_from(held.outerjoin(came, true()).outerjoin(clicked, true()))
        .order_by(held.c.created_at, held.c.claim_id)
    )


def _last_attempt() -> LateralFromClause:
    return lateral(
        select(attempts.c.number, attempts.c.pack_version)
        .where(attempts.c.claim_id == claims.c.claim_id)
        .order_by(attempts.c.number.desc())
        .limit(1)
    )


def dead_kinds_query() -> Select[Any]:
    """Every dead letter is looked at: they are few, and their index leads to them."""
    last = _last_attempt()
    kind = (claims.c.oem, claims.c.reason, last.c.pack_version.label("pack"))
    return (
        select(*kind, func.count().label("claims"))
        .select_from(claims.outerjoin(last, true()))
        .where(claims.c.state == State.DEAD)
        .group_by(*kind)
        .order_by(func.count().desc(), *kind)
    )


def dead_query(oem: str | None, reason: ReasonCode | None, pack: str | None, limit: int) -> Select[Any]:
    """Those that died last, from the index by state and time."""
    last = _last_attempt()
    armed = select(attempts.c.attempt_id).where(
        attempts.c.claim_id == claims.c.claim_id, attempts.c.armed_at.is_not(None)
    )
    where = [claims.c.state == State.DEAD]
    where += [claims.c.oem == oem] if oem else []
    where += [claims.c.reason == reason] if reason else []
    where += [last.c.pack_version == pack] if pack else []
    return (
        select(claims, last.c.number, last.c.pack_version, armed.exists().label("past_the_click"))
        .select_from(claims.outerjoin(last, true()))
        .where(*where)
        .order_by(claims.c.updated_at.desc(), claims.c.claim_id)
        .limit(limit)
    )


def _dead_of(row: Row[Any]) -> Dead:
    return Dead(claim_of(row), row.number or 0, row.pack_version, row.past_the_click)


def queue_query(oems: Sequence[str]) -> Select[Any]:
    """From the index by OEM and state alone."""
    open_states = sorted(set(State) - _ENDS)
    return (
        select(claims.c.oem, claims.c.state, func.count().label("claims"))
        .where(claims.c.oem.in_(oems), claims.c.state.in_(open_states))
        .group_by(claims.c.oem, claims.c.state)
    )


def last_ticks_query(oems: Sequence[str]) -> Select[Any]:
    """One step into the index by OEM and time each."""
    named = func.unnest(literal(list(oems), ARRAY(Text))).table_valued("oem").render_derived("named")
    last = lateral(
        select(ticks.c.at)
        .where(ticks.c.oem == named.c.oem, ticks.c.source != Source.MISSED)
        .order_by(ticks.c.at.desc())
        .limit(1)
    )
    return select(named.c.oem, last.c.at).select_from(named.join(last, true()))
