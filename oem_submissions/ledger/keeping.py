"""What the ledger remembers of keeping evidence: data keys, erasures, prunings, legal holds. It deletes no evidence."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.records import Claim, Hold
from oem_submissions.domain.states import AT_REST, State
from oem_submissions.ledger.chain import append_event
from oem_submissions.ledger.moves import compare_and_set, database_now, is_past_the_click
from oem_submissions.ledger.reading import claim_of
from oem_submissions.ledger.tables import claim_keys, claims, dispositions, legal_holds
from oem_submissions.ports import EvidenceErased, EvidenceLocked, WrappedKey


class KeepingBook:
    """Data keys, erasures, prunings and legal holds: reads and writes. `ports.DataKeys` is among it."""

    _engine: Engine

    # --- data keys ------------------------------------------------------------------------------------------------

    def data_key(self, claim_id: str) -> WrappedKey | None:
        """The claim's key; None when none was made yet. Raises `EvidenceErased`."""
        with self._engine.connect() as connection:
            row = connection.execute(select(claim_keys).where(claim_keys.c.claim_id == claim_id)).one_or_none()
        return _key_of(row) if row else None

    def add_data_key(self, claim_id: str, key: WrappedKey) -> WrappedKey:
        """Keep the claim's first key; the one that is kept, which is another's if that came first.

        Raises `EvidenceErased`.
        """
        with self._engine.begin() as connection:
            values = {"wrapped": key.wrapped, "wrapped_by": key.wrapped_by, "created_at": database_now(connection)}
            connection.execute(upsert(claim_keys).values(claim_id=claim_id, **values).on_conflict_do_nothing())
            return _key_of(connection.execute(select(claim_keys).where(claim_keys.c.claim_id == claim_id)).one())

    # --- erasing and pruning --------------------------------------------------------------------------------------

    def erase(self, claim: Claim, payload: dict[str, Any], by: str, why: str) -> Claim:
        """The claim's data key is gone for ever, and `payload` stands for the one that was; its hash stays.

        Once is enough: a claim that was erased is returned as it is. Raises `EvidenceLocked` under a hold,
        `StateConflict` before it has come to rest.
        """
        with self._engine.begin() as connection:
            now = database_now(connection)
            _refuse_unless_free(connection, claim)
            if claim.erased_at is not None:
                return claim
            erased = _give_up(connection, claim, {"payload": payload, "erased_at": now}, now, by, why)
            details = {"why": why, "fields": _changed(claim.payload, payload), "payload_sha256": claim.payload_sha256}
            append_event(connection, claim.claim_id, now, by, "erased", None, None, details)
            return erased

    def prune(self, claim: Claim, payload: dict[str, Any], months: int, by: str) -> Claim:
        """Note that a claim's evidence is given up, before any of it is deleted; its personal data is erased.

        Raises as `erase` does, and `StateConflict` when its retention is not over.
        """
        with self._engine.begin() as connection:
            now = database_now(connection)
            _refuse_unless_free(connection, claim)
            if claim.pruned_at is not None:
                return claim
            if connection.execute(_past_retention(months).where(claims.c.claim_id == claim.claim_id)).first() is None:
                raise StateConflict(f"The retention of claim {claim.claim_id} is not over: nothing was pruned.")
            values = {"payload": payload, "erased_at": claim.erased_at or now, "pruned_at": now}
            why = f"{months} months of retention are over"
            pruned = _give_up(connection, claim, values, now, by, why)
            details = {"why": why, "digest": claim.bundle_digest, "payload_sha256": claim.payload_sha256}
            append_event(connection, claim.claim_id, now, by, "pruned", None, None, details)
            return pruned

    def past_retention(self, months: int) -> list[Claim]:
        """Claims at rest for so long, the OEM's last word on them included, that are neither held nor pruned."""
        with self._engine.connect() as connection:
            held = {hold.claim_id for hold in _holds(connection)}
            rows = connection.execute(_past_retention(months).order_by(claims.c.updated_at, claims.c.claim_id))
            found = [claim_of(row) for row in rows]
        return [claim for claim in found if claim.is_at_rest and claim.claim_id not in held]

    def unswept(self) -> list[Claim]:
        """Claims that were erased or pruned, and whose evidence is not all deleted as it should be."""
        left = select(claim_keys.c.claim_id).where(claim_keys.c.erased_at.is_not(None), claim_keys.c.swept_at.is_(None))
        with self._engine.connect() as connection:
            rows = connection.execute(select(claims).where(claims.c.claim_id.in_(left)).order_by(claims.c.claim_id))
            return [claim_of(row) for row in rows]

    def swept(self, claim_id: str) -> None:
        """What was to be deleted of the claim is deleted."""
        mine = (claim_keys.c.claim_id == claim_id, claim_keys.c.erased_at.is_not(None))
        with self._engine.begin() as connection:
            connection.execute(update(claim_keys).where(*mine).values(swept_at=func.clock_timestamp()))

    # --- legal holds ----------------------------------------------------------------------------------------------

    def set_hold(self, claim_id: str, on: bool, by: str, why: str) -> bool:
        """Place a hold or lift it; whether that changed anything. The claim's row is locked against an erasure."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            connection.execute(select(claims.c.claim_id).where(claims.c.claim_id == claim_id).with_for_update()).one()
            if bool(_holds(connection, legal_holds.c.claim_id == claim_id)) is on:
                return False
            connection.execute(insert(legal_holds).values(at=now, claim_id=claim_id, on=on, by=by, why=why))
            kind = "hold_placed" if on else "hold_lifted"
            append_event(connection, claim_id, now, by, kind, None, None, {"why": why})
            return True

    def holds(self) -> list[Hold]:
        """Every claim that is held, the oldest hold first."""
        with self._engine.connect() as connection:
            return _holds(connection)

    def hold_on(self, claim_id: str) -> Hold | None:
        """The claim's hold; None when it has none."""
        with self._engine.connect() as connection:
            return next(iter(_holds(connection, legal_holds.c.claim_id == claim_id)), None)


def _key_of(row: Row[Any]) -> WrappedKey:
    if row.wrapped is None:
        raise EvidenceErased(f"The personal data of claim {row.claim_id} was erased on {row.erased_at:%Y-%m-%d}.")
    return WrappedKey(bytes(row.wrapped), row.wrapped_by)


def _refuse_unless_free(connection: Connection, claim: Claim) -> None:
    """The row is locked first: a hold that is placed meanwhile waits, or is seen."""
    connection.execute(select(claims.c.claim_id).where(claims.c.claim_id == claim.claim_id).with_for_update())
    for hold in _holds(connection, legal_holds.c.claim_id == claim.claim_id):
        raise EvidenceLocked(
            f"Claim {claim.claim_id} is under a legal hold since {hold.at:%Y-%m-%d} by {hold.by} ({hold.why}): nothing"
            " was deleted."
        )
    if not claim.is_at_rest:
        raise StateConflict(f"Claim {claim.claim_id} is {claim.state}: it has not come to rest, and needs its data.")
    if claim.state is State.DEAD and is_past_the_click(connection, claim):
        raise StateConflict(f"Claim {claim.claim_id} may be filed: redrive it, so that it is looked up, first.")


def _give_up(connection: Connection, claim: Claim, values: dict[str, Any], now: datetime, by: str, why: str) -> Claim:
    """The claim's row changes and its key goes. Neither the time of rest nor what the CRM was told changes by it."""
    if claim.crm_version == claim.version:
        values = {**values, "crm_version": claim.version + 1}
    changed = compare_and_set(connection, claim, values, claim.updated_at)
    gone = {"wrapped": None, "wrapped_by": None, "erased_at": now, "erased_by": by, "erased_why": why, "swept_at": None}
    statement = upsert(claim_keys).values(claim_id=claim.claim_id, created_at=now, **gone)
    connection.execute(statement.on_conflict_do_update(index_elements=["claim_id"], set_=gone))
    return changed


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return sorted(name for name in before if before[name] != after.get(name))


def _past_retention(months: int) -> Select[Any]:
    rested = func.greatest(claims.c.updated_at, dispositions.c.changed_at)  # the greater of what is not null
    return (
        select(claims)
        .outerjoin(dispositions, dispositions.c.claim_id == claims.c.claim_id)
        .where(claims.c.pruned_at.is_(None), claims.c.state.in_(sorted(AT_REST)))
        .where(rested + func.make_interval(0, months) <= func.clock_timestamp())
        .where(claims.c.updated_at <= func.now() - func.make_interval(0, months))  # stable, so that an index serves
    )


def held_claims_query() -> Select[Any]:
    """Ids of the claims that are under a legal hold."""
    last = select(func.max(legal_holds.c.entry)).group_by(legal_holds.c.claim_id)
    return select(legal_holds.c.claim_id).where(legal_holds.c.entry.in_(last), legal_holds.c.on)


def _holds(connection: Connection, *where: ColumnElement[bool]) -> list[Hold]:
    last = select(func.max(legal_holds.c.entry)).where(*where).group_by(legal_holds.c.claim_id)
    query = select(legal_holds).where(legal_holds.c.entry.in_(last), legal_holds.c.on).order_by(legal_holds.c.entry)
    rows = connection.execute(query)
    return [Hold(row.claim_id, row.at, row.by, row.why) for row in rows]
