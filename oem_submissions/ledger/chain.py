"""The hash chain of a claim's events: each link holds the hash of the one before, so that a changed past shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from oem_submissions.domain.keys import canonical_json, sha256_hex
from oem_submissions.domain.records import Event, Lease
from oem_submissions.domain.states import State
from oem_submissions.ledger.tables import claims, events

GENESIS = "0" * 64


def link_hash(previous_hash: str, link: dict[str, Any]) -> str:
    """SHA-256 over the previous hash and the link's canonical JSON."""
    return sha256_hex(previous_hash + canonical_json(link))


def append_event(
    connection: Connection,
    claim_id: str,
    at: datetime,
    actor: str,
    kind: str,
    from_state: State | None,
    to_state: State | None,
    details: dict[str, Any],
    lease: Lease | None = None,
    run_id: str | None = None,
) -> None:
    """Append one link. The claim's row is locked first, so that links never fork."""
    connection.execute(select(claims.c.claim_id).where(claims.c.claim_id == claim_id).with_for_update())
    last = connection.execute(
        select(events.c.sequence, events.c.hash)
        .where(events.c.claim_id == claim_id)
        .order_by(events.c.sequence.desc())
        .limit(1)
    ).one_or_none()
    previous = last.hash if last else GENESIS
    link = {
        "claim_id": claim_id,
        "sequence": last.sequence + 1 if last else 1,
        "at": at.isoformat(),
        "actor": actor,
        "kind": kind,
        "from_state": from_state,
        "to_state": to_state,
        "run_id": lease.run_id if lease else run_id,
        "fencing_token": lease.fencing_token if lease else None,
        "details": details,
    }
    connection.execute(
        insert(events).values({**link, "at": at, "previous_hash": previous, "hash": link_hash(previous, link)})
    )


def broken_links(chain: Sequence[Event]) -> list[str]:
    """What is wrong with a claim's chain, oldest first; an empty list when every link holds."""
    faults, previous = [], GENESIS
    for number, event in enumerate(chain, 1):
        link = {
            "claim_id": event.claim_id,
            "sequence": event.sequence,
            "at": event.at.isoformat(),
            "actor": event.actor,
            "kind": event.kind,
            "from_state": event.from_state,
            "to_state": event.to_state,
            "run_id": event.run_id,
            "fencing_token": event.fencing_token,
            "details": event.details,
        }
        if event.sequence != number:
            faults.append(f"Event {number} of claim {event.claim_id} is missing.")
        if event.previous_hash != previous or event.hash != link_hash(event.previous_hash, link):
            faults.append(f"Event {event.sequence} of claim {event.claim_id} was changed.")
        previous = event.hash
    return faults
