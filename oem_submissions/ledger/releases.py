"""Releases in the ledger: append-only logs, the runs pinned to each, and what those runs' chains say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ARRAY, Connection, Engine, Text, and_, any_, func, insert, literal, select
from sqlalchemy.dialects.postgresql import insert as upsert

from oem_submissions.domain.breaker import Ending
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.gate import ClaimInRun, FilingRun, Trouble
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Event, Lease, Pins, RunMeasure
from oem_submissions.domain.releases import Cause, Entry, Note, Release
from oem_submissions.domain.states import State
from oem_submissions.ledger.moves import database_now
from oem_submissions.ledger.reading import event_of
from oem_submissions.ledger.tables import (
    attempts,
    claims,
    dealers,
    events,
    expected_rejections,
    hand_overs,
    leases,
    release_log,
    releases,
    run_troubles,
    runs,
)

_NOW = func.clock_timestamp()
_TEXT = 2000


class ReleaseBook:
    """What the ledger knows of releases and of the runs that filed with them."""

    _engine: Engine

    # --- releases ---

    def see_release(self, oem: str, pins: Pins, actor: str) -> bool:
        """Remember adapter and pack as a release, unless they are known; whether they were new."""
        with self._engine.begin() as connection:
            _lock(connection, oem)
            made = connection.execute(
                upsert(releases)
                .values(oem=oem, **asdict(pins))
                .on_conflict_do_nothing()
                .returning(releases.c.release_id)
            ).scalar_one_or_none()
            if made is None:
                return False
            _note(connection, made, Note.SEEN, actor, None, "")
            return True

    def releases(self, oem: str) -> list[Release]:
        """Every release of the OEM, the newest first."""
        with self._engine.connect() as connection:
            return _read(connection, oem)

    def note_release(
        self,
        seen: Release,
        what: Note,
        actor: str,
        text: str = "",
        cause: Cause | None = None,
        retired: Sequence[Release] = (),
    ) -> bool:
        """Append to a release's log and retire others, unless one of them has moved since it was seen; whether it did.

        All or nothing: there is never a moment with two releases in production, or with none.
        """
        with self._engine.begin() as connection:
            _lock(connection, seen.oem)
            now = {release.release_id: release for release in _read(connection, seen.oem)}
            if any(now[release.release_id].log != release.log for release in (seen, *retired)):
                return False
            for other in retired:
                _note(connection, other.release_id, Note.RETIRED, actor, None, f"Release {seen.name} took its place.")
            _note(connection, seen.release_id, what, actor, cause, text)
            return True

    # --- runs ---

    def begin_run(self, lease: Lease, period: str, release: Release, alone: bool) -> bool:
        """Pin the lease's run to a release and let it file; whether it may.

        Not when the release has moved since it was read; nor, if it is to be `alone`, while another run that is pinned
        to it holds an account. Once begun, the same run begins again without being asked.
        """
        with self._engine.begin() as connection:
            _lock(connection, lease.oem)
            now = next(r for r in _read(connection, lease.oem) if r.release_id == release.release_id)
            if now.log != release.log or (alone and _others_hold_accounts(connection, release, lease)):
                return False
            values = {"run_id": lease.run_id, "release_id": release.release_id, "dealer": lease.dealer,
                      "period": period, "started_at": _NOW}  # fmt: skip
            connection.execute(upsert(runs).values(values).on_conflict_do_nothing())
            pinned = connection.scalar(select(runs.c.release_id).where(runs.c.run_id == lease.run_id))
            return pinned == release.release_id

    def note_trouble(self, run_id: str, step: str, text: str) -> None:
        """A step of the run failed, or is tried again."""
        with self._engine.begin() as connection:
            values = {"at": _NOW, "run_id": run_id, "step": step, "text": text[:_TEXT]}
            connection.execute(insert(run_troubles).values(values))

    def expect_rejection(self, claim_id: str, by: str, why: str) -> None:
        """Declare a claim as a test of the OEM's refusal. Raises `StateConflict` once it was attempted."""
        with self._engine.begin() as connection:
            tried = connection.scalar(select(func.count()).select_from(attempts).where(attempts.c.claim_id == claim_id))
            if tried:
                raise StateConflict(f"Claim {claim_id} was attempted already: a refusal can't be expected any more.")
            values = {"claim_id": claim_id, "at": _NOW, "declared_by": by, "why": why[:_TEXT]}
            connection.execute(upsert(expected_rejections).values(values).on_conflict_do_nothing())

    def release_runs(self, release: Release, limit: int = 50) -> list[FilingRun]:
        """The last runs that were let file with the release, in the order of their starts, with their claims."""
        last = select(runs).where(runs.c.release_id == release.release_id).order_by(runs.c.number.desc()).limit(limit)
        with self._engine.connect() as connection:
            found = list(reversed(connection.execute(last).all()))
            tried = _claims_in(connection, [row.run_id for row in found])
            troubles = _troubles_of(connection, [row.run_id for row in found])
        return [
            FilingRun(
                row.run_id, row.dealer, row.period, row.started_at,
                tuple(tried.get(row.run_id, ())), tuple(troubles.get(row.run_id, ())),
            )
            for row in found
        ]  # fmt: skip

    def newest_run(self, release: Release) -> int:
        """The number of the last run that was let file with the release; 0 when there was none. It only grows."""
        with self._engine.connect() as connection:
            newest = select(func.max(runs.c.number)).where(runs.c.release_id == release.release_id)
            return int(connection.scalar(newest) or 0)

    def run_measures(self, release: Release, first: int = 50, last: int = 450) -> list[RunMeasure]:
        """How long the release's runs took and how their attempts ended, in the order of their starts.

        The first ones since its baseline began, which make the baseline, and the last ones: no more, however many it
        had.
        """
        mine = select(runs.c.number).where(runs.c.release_id == release.release_id)
        if release.measured_since is not None:
            mine = mine.where(runs.c.started_at > release.measured_since)
        shown = mine.order_by(runs.c.number).limit(first).union(mine.order_by(runs.c.number.desc()).limit(last))
        ran = select(runs).where(runs.c.number.in_(shown)).subquery()
        seconds = func.extract("epoch", attempts.c.ended_at - attempts.c.started_at)
        helped = select(hand_overs.c.run_id).where(hand_overs.c.run_id == attempts.c.run_id).exists()
        query = (
            select(
                ran,
                attempts.c.ended_as,
                attempts.c.reason,
                attempts.c.step,
                seconds.label("seconds"),
                helped.label("helped"),
            )
            .join(attempts, attempts.c.run_id == ran.c.run_id)
            .where(attempts.c.ended_as.is_not(None))
            .order_by(ran.c.number, attempts.c.attempt_id)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        measures: dict[str, RunMeasure] = {}
        for row in rows:
            ending = Ending(State(row.ended_as), ReasonCode(row.reason) if row.reason else None, row.step)
            known = measures.get(row.run_id)
            timed = ending.state is State.CONFIRMED and not row.helped  # how long a person took is no drift
            took = (float(row.seconds),) if timed else ()
            measures[row.run_id] = RunMeasure(
                row.run_id, row.dealer, row.started_at,
                (*known.seconds, *took) if known else took,
                (*known.endings, ending) if known else (ending,),
            )  # fmt: skip
        return list(measures.values())

    def pilots(self, oem: str) -> list[str]:
        """The dealers that prove what is new."""
        query = select(dealers.c.dealer).where(dealers.c.oem == oem, dealers.c.pilot).order_by(dealers.c.dealer)
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    def verifying_runs(self, release: Release, but: str = "") -> list[str]:
        """Runs pinned to the release that hold an account now, but for one."""
        with self._engine.connect() as connection:
            return _holding(connection, release, but)


def _lock(connection: Connection, oem: str) -> None:
    """Until the transaction ends nobody else moves this OEM's releases."""
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"releases {oem}", 0))))


def _read(connection: Connection, oem: str) -> list[Release]:
    query = (
        select(releases, release_log)
        .join(release_log, release_log.c.release_id == releases.c.release_id)
        .where(releases.c.oem == oem)
        .order_by(releases.c.release_id.desc(), release_log.c.entry)
    )
    logs: dict[int, list[Entry]] = defaultdict(list)
    heads: dict[int, tuple[str, Pins]] = {}
    for row in connection.execute(query):
        heads[row.release_id] = (row.oem, Pins(row.adapter_digest, row.pack_version, row.pack_digest))
        cause = Cause(row.cause) if row.cause else None
        logs[row.release_id].append(Entry(row.entry, row.at, Note(row.note), cause, row.actor, row.text))
    return [Release(release_id, *head, tuple(logs[release_id])) for release_id, head in heads.items()]


def _note(connection: Connection, release_id: int, what: Note, actor: str, cause: Cause | None, text: str) -> None:
    now = database_now(connection)
    values: dict[str, Any] = {"at": now, "release_id": release_id, "note": what, "actor": actor, "cause": cause}
    connection.execute(insert(release_log).values(**values, text=text[:_TEXT]))


def _others_hold_accounts(connection: Connection, release: Release, lease: Lease) -> bool:
    return bool(_holding(connection, release, lease.run_id))


def _holding(connection: Connection, release: Release, but: str) -> list[str]:
    held = and_(leases.c.run_id == runs.c.run_id, leases.c.released_at.is_(None), leases.c.expires_at > _NOW)
    query = (
        select(runs.c.run_id).join(leases, held).where(runs.c.release_id == release.release_id, runs.c.run_id != but)
    )
    return list(connection.scalars(query))


def _claims_in(connection: Connection, run_ids: Collection[str]) -> dict[str, list[ClaimInRun]]:
    """The claims that each run attempted, in the order of their attempts."""
    query = (
        select(
            attempts.c.run_id, attempts.c.facts, attempts.c.started_at,
            claims.c.claim_id, claims.c.natural_key, claims.c.state, expected_rejections.c.at.label("expected"),
        )
        .join(claims, claims.c.claim_id == attempts.c.claim_id)
        .outerjoin(expected_rejections, expected_rejections.c.claim_id == claims.c.claim_id)
        .where(attempts.c.run_id.in_(run_ids), attempts.c.number > 0)
        .order_by(attempts.c.attempt_id)
    )  # fmt: skip
    rows = connection.execute(query).all()
    chains: dict[str, list[Event]] = defaultdict(list)
    # One parameter: hundreds of them cost a lot by themselves.
    ids = literal(sorted({row.claim_id for row in rows}), ARRAY(Text))
    of_these = select(events).where(events.c.claim_id == any_(ids)).order_by(events.c.claim_id, events.c.sequence)
    for event in connection.execute(of_these).all():
        chains[event.claim_id].append(event_of(event))
    found: dict[str, dict[str, ClaimInRun]] = defaultdict(dict)
    for row in rows:
        before = found[row.run_id].get(row.claim_id)
        warnings = (*(before.warnings if before else ()), *row.facts.get("warnings", ()))
        found[row.run_id][row.claim_id] = ClaimInRun(
            row.claim_id, row.natural_key or row.claim_id, State(row.state), tuple(chains[row.claim_id]), warnings,
            row.expected is not None and row.expected < row.started_at,
        )  # fmt: skip
    return {run_id: list(tried.values()) for run_id, tried in found.items()}


def _troubles_of(connection: Connection, run_ids: Collection[str]) -> dict[str, list[Trouble]]:
    query = select(run_troubles).where(run_troubles.c.run_id.in_(run_ids)).order_by(run_troubles.c.entry)
    found: dict[str, list[Trouble]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.run_id].append(Trouble(row.step, row.text))
    return found
