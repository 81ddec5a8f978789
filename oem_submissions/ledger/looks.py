"""Held claims, in SQL: a look into the portal's history begins, and ends with what it proved; or a person decides.

What a look proves is decided elsewhere (`domain.looking`); here each ending is one transaction with its evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from oem_submissions.domain.evidence import POST_CONFIRM, PRE_SUBMIT
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.looking import seconds_until_next_look
from oem_submissions.domain.outcomes import Reference
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Attempt, Claim, KeptArtifact, Lease, Pins
from oem_submissions.domain.states import State
from oem_submissions.ledger import leases as lease_sql
from oem_submissions.ledger.chain import append_event
from oem_submissions.ledger.moves import compare_and_set, database_now, has_artifacts, move
from oem_submissions.ledger.reading import attempt_of, claim_of
from oem_submissions.ledger.tables import artifacts, attempts, claims

_TEXT = 2000
_DONE: dict[str, Any] = {"look_again_at": None}


def begin(connection: Connection, claim: Claim, lease: Lease) -> Claim:
    """Count the look; `OUTCOME_UNKNOWN` → `RECONCILING`, while `AWAITING_REFERENCE`, and `READY` in doubt, stay."""
    now, values, live = database_now(connection), {"looks": claim.looks + 1}, lease_sql.is_live(lease)
    details = {"look": claim.looks + 1}
    if claim.state is State.OUTCOME_UNKNOWN:
        return move(connection, claim, State.RECONCILING, now, lease, values, details, live)
    in_doubt = claim.state is State.READY and claim.in_doubt_since is not None
    if claim.state is not State.AWAITING_REFERENCE and not in_doubt:
        raise StateConflict(f"Claim {claim.claim_id} is {claim.state}: it is not looked up.")
    begun = compare_and_set(connection, claim, {**values, "run_id": lease.run_id}, now, live)
    append_event(connection, claim.claim_id, now, lease.worker, "look_begun", None, None, details, lease)
    return begun


def end(
    connection: Connection,
    claim: Claim,
    lease: Lease,
    to: State,
    reason: ReasonCode,
    text: str,
    kept: Sequence[KeptArtifact],
    again_seconds: float | None,
) -> Claim:
    """End a look that found nothing certain: hold the claim for the next one, or for a person."""
    now = database_now(connection)
    keep(connection, kept, now, lease)
    again = now + timedelta(seconds=again_seconds) if again_seconds is not None else None
    values = {"reason": reason, "reason_text": text[:_TEXT], "look_again_at": again}
    details = {"look": claim.looks, "reason": reason, "text": text[:_TEXT], "again_in_seconds": again_seconds}
    newest = lease_sql.is_newest(lease)
    if to is not claim.state:
        return move(connection, claim, to, now, lease, values, details, newest)
    ended = compare_and_set(connection, claim, values, now, newest)
    append_event(connection, claim.claim_id, now, lease.worker, "look_ended", None, None, details, lease)
    return ended


def stand_in(connection: Connection, claim: Claim, lease: Lease, pins: Pins) -> Attempt:
    """A row of `attempts` that is none: it has ended before it began, as nothing, and no list of attempts shows it."""
    now = database_now(connection)
    values = {
        "claim_id": claim.claim_id, "number": 0, "run_id": lease.run_id, "worker": lease.worker,
        "fencing_token": lease.fencing_token, "started_at": now, "ended_at": now, **asdict(pins),
    }  # fmt: skip
    connection.execute(upsert(attempts).values(values).on_conflict_do_nothing())
    mine = select(attempts).where(attempts.c.claim_id == claim.claim_id, attempts.c.number == 0)
    return attempt_of(connection.execute(mine).one())


def absent(connection: Connection, claim: Claim, lease: Lease, text: str, kept: Sequence[KeptArtifact]) -> Claim:
    """`RECONCILING` → `PROVEN_ABSENT` → `READY`, the second time → `NEEDS_REVIEW`: one transaction, no rest between."""
    now = database_now(connection)
    keep(connection, kept, now, lease)
    values = {**_DONE, "reason_text": text[:_TEXT]}
    details = {"look": claim.looks, "text": text[:_TEXT]}
    if claim.state is State.READY:
        sure = {"in_doubt_since": None, "look_again_at": None, "looks": 0, "reason": None, "reason_text": None}
        found = compare_and_set(connection, claim, sure, now, lease_sql.is_newest(lease))
        append_event(connection, claim.claim_id, now, lease.worker, "doubt_settled", None, None, details, lease)
        return found
    gone = move(connection, claim, State.PROVEN_ABSENT, now, lease, values, details, lease_sql.is_newest(lease))
    if claim.absences:
        twice = f"Absent for the second time: it was filed again after the first, and is not there again. {text}"
        values = {"reason": ReasonCode.OUTCOME_UNKNOWN, "reason_text": twice[:_TEXT]}
        return move(connection, gone, State.NEEDS_REVIEW, now, lease, values, {"text": twice[:_TEXT]})
    return _returned(connection, gone, now, lease, {})


def _returned(connection: Connection, claim: Claim, now: datetime, by: Lease | str, details: dict[str, Any]) -> Claim:
    values: dict[str, Any] = {"absences": claim.absences + 1, "attempts": 0, "looks": 0, "in_doubt_since": None}
    values |= {"reason": None, "reason_text": None}
    return move(connection, claim, State.READY, now, by, values, {**details, "absences": claim.absences + 1})


def confirm(
    connection: Connection,
    claim: Claim,
    attempt: Attempt,
    by: Lease | str,
    reference: Reference,
    kept: Sequence[KeptArtifact],
    facts: dict[str, Any],
    details: dict[str, Any],
) -> Claim:
    """Any held state that allows it → `CONFIRMED`, with both shots of the armed attempt durable."""
    now = database_now(connection)
    keep(connection, kept, now, by)
    values = {
        **_DONE,
        "reference": reference.value,
        "reference_kind": reference.kind,
        "confirmed_at": now,
        "reason": None,
        "reason_text": None,
        "in_doubt_since": None,
    }
    guards = [has_artifacts(attempt, PRE_SUBMIT, POST_CONFIRM)]
    guards += [lease_sql.is_newest(by)] if isinstance(by, Lease) else []
    told = {**details, "reference": reference.value, "kind": reference.kind}
    confirmed = move(connection, claim, State.CONFIRMED, now, by, values, told, *guards)
    learnt = {**facts, "reference": {**asdict(reference), "span": list(reference.span)}}
    where = attempts.c.attempt_id == attempt.attempt_id
    connection.execute(update(attempts).where(where).values(facts=attempts.c.facts.concat(learnt)))
    return confirmed


def not_filed(connection: Connection, claim: Claim, person: str, why: str) -> Claim:
    """A person's verdict: `NEEDS_REVIEW` → `PROVEN_ABSENT` → `READY`."""
    now = database_now(connection)
    verdict = {"verdict": "not filed", "why": why}
    gone = move(connection, claim, State.PROVEN_ABSENT, now, person, dict(_DONE), verdict)
    return _returned(connection, gone, now, person, verdict)


def cannot_tell(connection: Connection, claim: Claim, person: str, why: str) -> Claim:
    """A person's note; the claim stays where it is."""
    now = database_now(connection)
    text = f"{person} can't tell: {why}"[:_TEXT]
    noted = compare_and_set(connection, claim, {"reason_text": text}, now)
    details = {"verdict": "cannot tell", "why": why, "before": claim.reason_text}
    append_event(connection, claim.claim_id, now, person, "verdict", None, None, details)
    return noted


def abandoned(connection: Connection, lease: Lease) -> list[Claim]:
    """Looks that a lost worker of the account left in `RECONCILING` go back to `OUTCOME_UNKNOWN`."""
    where = (claims.c.oem == lease.oem, claims.c.dealer == lease.dealer, claims.c.state == State.RECONCILING)
    left = [claim_of(row) for row in connection.execute(claims.select().where(*where).with_for_update())]
    moved = []
    for claim in left:
        seconds = seconds_until_next_look(claim.looks)
        text = f"Run {claim.run_id} did not finish looking the claim up; it is looked up again."
        reason = claim.reason or ReasonCode.OUTCOME_UNKNOWN
        moved.append(end(connection, claim, lease, State.OUTCOME_UNKNOWN, reason, text, (), seconds))
    return moved


def keep(connection: Connection, kept: Iterable[KeptArtifact], now: datetime, by: Lease | str) -> None:
    """Note evidence that the store holds; the same piece twice is noted once."""
    lease = by if isinstance(by, Lease) else None
    actor = by.worker if isinstance(by, Lease) else by
    for artifact in kept:
        added = connection.execute(
            upsert(artifacts).values(**asdict(artifact)).on_conflict_do_nothing().returning(artifacts.c.name)
        ).one_or_none()
        if added is not None:
            details = {"name": artifact.name, "sha256": artifact.sha256, "size": artifact.size, "key": artifact.key}
            append_event(connection, artifact.claim_id, now, actor, "evidence_kept", None, None, details, lease)
