"""The portal's history in the ledger: when it was read, what a sweep found, what the OEM decided of each claim.

None of it moves a claim: state, version and outcome are the submission's. A decision is an event in the claim's chain,
and a row that caches the last one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    func,
    insert,
    lateral,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from oem_submissions.domain.dispositions import AWAITS_DECISION, FIRST, Disposition, Seen, Standing, is_expected
from oem_submissions.domain.failures import LeaseLost, StateConflict
from oem_submissions.domain.polling import DuePoll, HistoryRead
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, DueWork, Lease, Pins
from oem_submissions.domain.states import State
from oem_submissions.domain.sweeping import Finding, Kind, Sweep
from oem_submissions.domain.texts import keepable
from oem_submissions.ledger import leases as lease_sql
from oem_submissions.ledger.chain import append_event
from oem_submissions.ledger.moves import database_now
from oem_submissions.ledger.reading import claim_of
from oem_submissions.ledger.tables import (
    IS_UNTOLD,
    POLLED_CLAIM,
    claims,
    dealers,
    dispositions,
    history_reads,
    sweep_findings,
    sweeps,
)

_TEXT = 2000


class HistoryBook:
    """What the ledger remembers of the portals' histories: reads and writes."""

    _engine: Engine

    # --- reads of the portal ---

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
    ) -> int:
        """Note that the account's (OEM, dealer) history was read by (run, worker), or why not. Returns the read's id.

        Without a lease only a failure can be noted: then nobody was signed in.
        """
        with self._engine.begin() as connection:
            if lease is not None:
                _fence(connection, lease)
            now = database_now(connection)
            values = {
                "at": now, "oem": account[0], "dealer": account[1], "run_id": by[0], "worker": by[1],
                "fencing_token": lease.fencing_token if lease else None, "pack_version": pins.pack_version,
                "pack_digest": pins.pack_digest, "reason": reason, "text": keepable(text)[:_TEXT], "filings": filings,
                "failures": failures, "again_at": now + timedelta(seconds=again_seconds),
            }  # fmt: skip
            return connection.execute(
                insert(history_reads).values(values).returning(history_reads.c.read_id)
            ).scalar_one()

    def last_history_read(self, oem: str, dealer: str) -> HistoryRead | None:
        """The account's last one, good or not; None when there is none."""
        query = (
            select(
                history_reads,
                _seconds(func.clock_timestamp() - history_reads.c.at).label("age"),
                _seconds(history_reads.c.again_at - func.clock_timestamp()).label("again"),
            )
            .where(history_reads.c.oem == oem, history_reads.c.dealer == dealer)
            .order_by(history_reads.c.read_id.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            reason = ReasonCode(row.reason) if row.reason else None
            return HistoryRead(row.read_id, row.at, reason, row.text, row.failures, float(row.age), float(row.again))

    # --- what a listing is held against ---

    def account_claims(self, oem: str, dealer: str) -> list[tuple[Claim, float | None]]:
        """Every claim of the account that is one, with the seconds since it was confirmed, if it was."""
        age = _seconds(func.clock_timestamp() - claims.c.confirmed_at).label("age")
        query = select(claims, age).where(claims.c.oem == oem, claims.c.dealer == dealer)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(claims.c.natural_key.is_not(None)).order_by(claims.c.created_at))
            return [(claim_of(row), None if row.age is None else float(row.age)) for row in rows]

    def holders(self, oem: str, references: Collection[str]) -> dict[str, Claim]:
        """The OEM's claims that hold these references, of whatever account."""
        query = select(claims).where(claims.c.oem == oem, claims.c.reference.in_(references))
        with self._engine.connect() as connection:
            return {row.reference: claim_of(row) for row in connection.execute(query)}

    def account_begins(self, oem: str, dealer: str) -> datetime | None:
        """When the first claim of the account came."""
        query = select(dealers.c.first_seen_at).where(dealers.c.oem == oem, dealers.c.dealer == dealer)
        with self._engine.connect() as connection:
            return connection.scalar(query)

    # --- sweeps ---

    def add_sweep(self, read_id: int | None, oem: str, dealer: str, sweep: Sweep) -> int:
        """Keep what a sweep found, for ever; without a read when the portal was not even asked. Returns its id."""
        with self._engine.begin() as connection:
            values: dict[str, Any] = {"read_id": read_id, "oem": oem, "dealer": dealer}
            values |= {"conclusive": sweep.conclusive, "text": sweep.text[:_TEXT], "at": database_now(connection)}
            sweep_id = connection.execute(insert(sweeps).values(values).returning(sweeps.c.sweep_id)).scalar_one()
            rows = [
                {**asdict(finding), "text": finding.text[:_TEXT], "sweep_id": sweep_id, "number": number}
                for number, finding in enumerate(sweep.findings, 1)
            ]
            if rows:
                connection.execute(insert(sweep_findings), rows)
            return sweep_id

    def last_sweep(self, oem: str, dealer: str) -> Sweep | None:
        """The account's last sweep with what it found; None when it was never swept."""
        query = select(sweeps).where(sweeps.c.oem == oem, sweeps.c.dealer == dealer)
        with self._engine.connect() as connection:
            row = connection.execute(query.order_by(sweeps.c.sweep_id.desc()).limit(1)).one_or_none()
            if row is None:
                return None
            found = connection.execute(
                select(sweep_findings).where(sweep_findings.c.sweep_id == row.sweep_id).order_by("number")
            )
            findings = tuple(Finding(Kind(f.kind), f.text, f.claim_id, f.reference, f.cells) for f in found)
            return Sweep(findings, row.conclusive, row.text)

    # --- what the OEM decided ---

    def standing(self, claim_id: str) -> Standing | None:
        """What the OEM decided of the claim, as last seen; None when it was never seen in the history."""
        return self._standings(dispositions.c.claim_id == claim_id).get(claim_id)

    def standings(self, oem: str, dealer: str) -> dict[str, Standing]:
        """By claim id: every standing of an account."""
        return self._standings(claims.c.oem == oem, claims.c.dealer == dealer)

    def _standings(self, *where: ColumnElement[bool]) -> dict[str, Standing]:
        query = select(dispositions).join(claims, claims.c.claim_id == dispositions.c.claim_id).where(*where)
        with self._engine.connect() as connection:
            return {row.claim_id: _standing_of(row) for row in connection.execute(query)}

    def see(self, claim: Claim, known: Standing | None, seen: Seen, lease: Lease) -> Standing:
        """Keep what the portal says of the claim now; an event in its chain only when that is new.

        A move that the table does not expect is kept as seen, and flagged. Raises `StateConflict` when another has
        changed the standing, `LeaseLost` when the account was taken from us.
        """
        with self._engine.begin() as connection:
            now = database_now(connection)
            _fence(connection, lease)
            before = known or _first(claim, now)
            if known is not None and (known.disposition, known.text) == (seen.disposition, seen.text):
                return _change(connection, known, {"seen_at": now})
            expected = is_expected(before.disposition, seen.disposition)
            values = {
                "disposition": seen.disposition, "text": seen.text, "expected": expected, "seen_at": now,
                "overdue": before.overdue and seen.disposition not in _DECIDED,
            }  # fmt: skip
            changed = _keep(connection, before, values, now, is_new=known is None)
            details = {"from": before.disposition, "to": seen.disposition, "says": seen.text, "expected": expected}
            append_event(connection, claim.claim_id, now, lease.worker, "disposition", None, None, details, lease)
            return changed

    def decision_overdue(self, claim: Claim, known: Standing | None, days: int, lease: Lease) -> Standing:
        """Flag a claim whose decision is late. Raises as `see`."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            _fence(connection, lease)
            before = known or _first(claim, now)
            changed = _keep(connection, before, {"overdue": True}, now, is_new=known is None)
            details = {"deadline_days": days}
            append_event(connection, claim.claim_id, now, lease.worker, "decision_overdue", None, None, details, lease)
            return changed

    def disposition_told(self, claim: Claim, standing: Standing, run_id: str, actor: str) -> Standing:
        """The CRM was told of this version, and read back. Raises `StateConflict` when there is a newer one."""
        with self._engine.begin() as connection:
            told = _change(connection, standing, {"crm_version": standing.version})
            now = database_now(connection)
            details = {"record": claim.crm_record_id, "disposition": standing.disposition}
            kind = "crm_told_disposition"
            append_event(connection, claim.claim_id, now, actor, kind, None, None, details, run_id=run_id)
            return told

    # --- what is due ---

    def due_polls(self, oem: str, every: float) -> list[DuePoll]:
        """One partition per account whose history is due to be read, and every one whose CRM records are behind.

        An account is first read `every` seconds after its first filing, then when the last read said.
        """
        with self._engine.connect() as connection:
            reads = [_due_read(oem, row) for row in connection.execute(_reads_due(oem, every))]
            behind = [_due_telling(oem, row) for row in connection.execute(_tellings_due(oem))]
        due = {(poll.work.dealer, poll.work.period): poll for poll in (*behind, *reads)}
        return list(due.values())


_DECIDED = frozenset(Disposition) - AWAITS_DECISION


def _reads_due(oem: str, every: float) -> Select[Any]:
    """Of each account with a claim that is polled: its last read, and the period whose claims wait longest."""
    mine = (
        select(
            claims.c.dealer,
            func.min(claims.c.period).label("period"),
            func.count().label("claims"),
            func.min(claims.c.created_at).label("oldest"),
            func.min(claims.c.confirmed_at).label("first"),
        )
        .where(claims.c.oem == oem, literal_column(f"({POLLED_CLAIM})", Boolean))
        .group_by(claims.c.dealer)
        .subquery()
    )
    last = lateral(
        select(history_reads.c.read_id, history_reads.c.again_at)
        .where(history_reads.c.oem == oem, history_reads.c.dealer == mine.c.dealer)
        .order_by(history_reads.c.read_id.desc())
        .limit(1)
    )
    due_at = func.coalesce(last.c.again_at, mine.c.first + timedelta(seconds=every))
    return (
        select(
            mine,
            func.coalesce(last.c.read_id, 0).label("read_id"),
            _seconds(func.clock_timestamp() - due_at).label("overdue"),
        )
        .select_from(mine.outerjoin(last, true()))
        .where(due_at <= func.clock_timestamp())
        .order_by(mine.c.dealer)
    )


def _tellings_due(oem: str) -> Select[Any]:
    untold = select(dispositions).where(literal_column(IS_UNTOLD, Boolean)).subquery()
    return (
        select(
            claims.c.dealer,
            claims.c.period,
            func.count().label("claims"),
            func.min(claims.c.created_at).label("oldest"),
            func.max(untold.c.version).label("version"),
            func.min(claims.c.claim_id).label("claim_id"),
            _seconds(func.clock_timestamp() - func.min(untold.c.changed_at)).label("overdue"),
        )
        .join(untold, untold.c.claim_id == claims.c.claim_id)
        .where(claims.c.oem == oem, claims.c.state == State.SYNCED)
        .group_by(claims.c.dealer, claims.c.period)
        .order_by(claims.c.dealer, claims.c.period)
    )


def _due_read(oem: str, row: Row[Any]) -> DuePoll:
    work = DueWork(oem, row.dealer, row.period, row.claims, row.oldest)
    return DuePoll(work, f"read:{row.dealer}:{row.read_id}", float(row.overdue))


def _due_telling(oem: str, row: Row[Any]) -> DuePoll:
    work = DueWork(oem, row.dealer, row.period, row.claims, row.oldest)
    return DuePoll(work, f"tell:{row.claim_id}:{row.version}:{row.claims}", float(row.overdue))


# --- one row ---


def _first(claim: Claim, now: datetime) -> Standing:
    return Standing(claim.claim_id, FIRST, "", True, False, 0, 0, now, None)


def _keep(
    connection: Connection, before: Standing, values: Mapping[str, Any], now: datetime, *, is_new: bool
) -> Standing:
    """A changed standing with the next version. That nothing is decided yet, the CRM need not be told."""
    changed_at = now if "disposition" in values else before.changed_at
    changed = replace(before, **values, version=before.version + 1, changed_at=changed_at)
    if changed.disposition is FIRST and before.disposition is FIRST and not (changed.overdue or before.needs_telling):
        changed = replace(changed, crm_version=changed.version)
    if not is_new:
        return _change(connection, before, {k: v for k, v in asdict(changed).items() if k != "claim_id"})
    added = connection.execute(upsert(dispositions).values(asdict(changed)).on_conflict_do_nothing().returning(1))
    if added.one_or_none() is None:
        raise StateConflict(f"The disposition of claim {before.claim_id} was kept by another in the meantime.")
    return changed


def _change(connection: Connection, before: Standing, values: Mapping[str, Any]) -> Standing:
    row = connection.execute(
        update(dispositions)
        .where(dispositions.c.claim_id == before.claim_id, dispositions.c.version == before.version)
        .values(**values)
        .returning(*dispositions.c)
    ).one_or_none()
    if row is None:
        raise StateConflict(f"The disposition of claim {before.claim_id} was changed by another in the meantime.")
    return _standing_of(row)


def _standing_of(row: Row[Any]) -> Standing:
    return Standing(**{**row._mapping, "disposition": Disposition(row.disposition)})


def _fence(connection: Connection, lease: Lease) -> None:
    if not connection.execute(select(lease_sql.is_newest(lease))).scalar_one():
        raise LeaseLost(f"{lease.oem}/{lease.dealer}: another worker has taken the account over from {lease.worker}.")


def _seconds(interval: Any) -> ColumnElement[Any]:
    return func.extract("epoch", interval)
