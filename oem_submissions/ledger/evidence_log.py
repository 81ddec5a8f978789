"""The evidence log in the ledger: a Merkle tree that grows by one leaf per bundle, with a signed checkpoint after each.

A leaf, the subtrees that it completes and its checkpoint are one transaction, and one appender works at a time: so the
index has no gap, and a bundle that is logged again after a crash gets the very entry that it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, func, insert, or_, select, tuple_
from sqlalchemy.exc import IntegrityError

from oem_submissions.domain import merkle
from oem_submissions.domain.checkpoints import Proof, leaf_of
from oem_submissions.domain.evidence_log import KeptCheckpoint, KeptStamp, LogEntry, NoteOf, Stamp
from oem_submissions.domain.merkle import Place, among, places
from oem_submissions.ledger.moves import database_now
from oem_submissions.ledger.tables import (
    claims,
    evidence_checkpoints,
    evidence_log,
    evidence_log_nodes,
    evidence_stamps,
)
from oem_submissions.ports import EvidenceLogBroken


class EvidenceLogBook:
    """What the ledger knows of the evidence log: reads and writes."""

    _engine: Engine

    def logged(self, bundle_digest: str) -> LogEntry | None:
        """The bundle's entry; None while it has none."""
        with self._engine.connect() as connection:
            return _entry(connection, bundle_digest)

    def append_to_log(
        self, claim_id: str, bundle_digest: str, signature: bytes, key_fingerprint: str, note_of: NoteOf
    ) -> LogEntry:
        """Log a bundle, once: the same digest again gives the entry that is there.

        `note_of` signs the new checkpoint, within the transaction; what it raises undoes everything. Raises
        `EvidenceLogBroken` when the log is not the one that the newest checkpoint was signed for.
        """
        try:
            with self._engine.begin() as connection:
                connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("evidence log", 0))))
                if (known := _entry(connection, bundle_digest)) is not None:
                    return known
                last = _newest_checkpoint(connection)
                size = last.size if last else 0
                peaks = _fetch(connection, places(lambda nodes: merkle.root(nodes, size)))
                if last and merkle.root(among(peaks), size) != last.root:
                    raise EvidenceLogBroken(_BROKEN)
                fresh = merkle.completed(among(peaks), size, merkle.leaf_hash(leaf_of(claim_id, bundle_digest)))
                root = merkle.root(among(peaks | fresh), size + 1)
                note = note_of(size + 1, root, last.note if last else None)
                now = database_now(connection)
                entry = LogEntry(size, claim_id, bundle_digest, signature, key_fingerprint, now)
                rows = [{"level": level, "position": index, "hash": item} for (level, index), item in fresh.items()]
                connection.execute(insert(evidence_log).values(**_values(entry)))
                connection.execute(insert(evidence_log_nodes), rows)
                connection.execute(insert(evidence_checkpoints).values(size=size + 1, root=root, note=note, at=now))
                return entry
        except (IntegrityError, LookupError) as error:
            raise EvidenceLogBroken(_BROKEN) from error

    def log_proof(self, index: int, size: int) -> Proof:
        """That the entry is in the checkpoint of that size. Raises `EvidenceLogBroken` when a part is not there."""
        with self._engine.connect() as connection:
            checkpoint = _checkpoints(connection, evidence_checkpoints.c.size == size)
            hashes = _read(connection, lambda nodes: merkle.inclusion(nodes, index, size))
        if not checkpoint:
            raise EvidenceLogBroken(f"The evidence log has no checkpoint of size {size}. {_AUDIT}")
        return Proof(index, tuple(hashes), checkpoint[0].note)

    def log_root(self, size: int) -> bytes:
        """The root of the first entries by the subtrees that are kept. Raises `EvidenceLogBroken`."""
        with self._engine.connect() as connection:
            return _read(connection, lambda nodes: [merkle.root(nodes, size)])[0]

    def log_consistency(self, old: int, new: int) -> list[bytes]:
        """That the log of the size `new` begins with the one of `old`. Raises `EvidenceLogBroken`."""
        with self._engine.connect() as connection:
            return _read(connection, lambda nodes: merkle.consistency(nodes, old, new))

    def newest_checkpoint(self) -> KeptCheckpoint | None:
        """The log's head; None while nothing is logged."""
        with self._engine.connect() as connection:
            return _newest_checkpoint(connection)

    def checkpoint(self, size: int) -> KeptCheckpoint | None:
        """The checkpoint of a size."""
        with self._engine.connect() as connection:
            return next(iter(_checkpoints(connection, evidence_checkpoints.c.size == size)), None)

    def log_page(self, first: int, last: int) -> tuple[list[LogEntry], list[KeptCheckpoint], dict[Place, bytes]]:
        """Entries `first` to `last - 1`, the checkpoints after each, and the subtrees that they completed."""
        table, nodes = evidence_log, evidence_log_nodes
        levels = [
            and_(nodes.c.level == level, nodes.c.position >= first >> level, nodes.c.position < last >> level)
            for level in range(last.bit_length())
        ]
        with self._engine.connect() as connection:
            entries = connection.execute(
                select(table).where(table.c.leaf >= first, table.c.leaf < last).order_by(table.c.leaf)
            ).all()
            sizes = evidence_checkpoints.c.size
            checkpoints = _checkpoints(connection, and_(sizes > first, sizes <= last))
            found = connection.execute(select(nodes).where(or_(*levels))).all()
        return [_entry_of(row) for row in entries], checkpoints, {(row.level, row.position): row.hash for row in found}

    def log_size(self) -> int:
        """How far the log reaches by any of its parts: where something was cut off, the longest one says."""
        parts = (
            select(func.max(evidence_log.c.leaf) + 1).scalar_subquery(),
            select(func.max(evidence_checkpoints.c.size)).scalar_subquery(),
            select(func.max(evidence_log_nodes.c.position) + 1)
            .where(evidence_log_nodes.c.level == 0)
            .scalar_subquery(),
        )
        with self._engine.connect() as connection:
            return connection.execute(select(func.coalesce(func.greatest(*parts), 0))).scalar_one()

    def unlogged(self) -> list[tuple[str, str]]:
        """Sealed claims whose bundle is not in the log: (claim id, bundle digest). There are none, unless tampered."""
        logged = select(evidence_log.c.leaf).where(
            evidence_log.c.bundle_digest == claims.c.bundle_digest, evidence_log.c.claim_id == claims.c.claim_id
        )
        query = select(claims.c.claim_id, claims.c.bundle_digest).where(
            claims.c.bundle_digest.is_not(None), ~logged.exists()
        )
        with self._engine.connect() as connection:
            return [(row.claim_id, row.bundle_digest) for row in connection.execute(query.order_by(claims.c.claim_id))]

    def sealed_digests(self, claim_ids: Sequence[str]) -> dict[str, str | None]:
        """By claim id: the digest of the bundle that the claim was sealed with."""
        query = select(claims.c.claim_id, claims.c.bundle_digest).where(claims.c.claim_id.in_(claim_ids))
        with self._engine.connect() as connection:
            return {row.claim_id: row.bundle_digest for row in connection.execute(query)}

    def keep_stamp(self, size: int, stamp: Stamp) -> None:
        """Keep a checkpoint's time-stamp."""
        with self._engine.begin() as connection:
            now = database_now(connection)
            values = {"response": stamp.response, "authority": stamp.authority, "stamped_at": stamp.stamped_at}
            connection.execute(insert(evidence_stamps).values(size=size, at=now, **values))

    def stamps(self, limit: int | None = None) -> list[KeptStamp]:
        """Time-stamps of checkpoints, of the largest first."""
        table = evidence_stamps
        query = select(table).order_by(table.c.size.desc(), table.c.stamp_id).limit(limit)
        with self._engine.connect() as connection:
            return [_stamp_of(row) for row in connection.execute(query)]

    def covering_stamp(self, index: int) -> KeptStamp | None:
        """The first time-stamp of a checkpoint that has the entry in it; None while there is none."""
        table = evidence_stamps
        query = select(table).where(table.c.size > index).order_by(table.c.size, table.c.stamp_id).limit(1)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return _stamp_of(row) if row else None


_AUDIT = "Run `oem-submissions evidence audit`, which says what was changed."
_BROKEN = f"The evidence log in the ledger is not the one that its newest checkpoint was signed for. {_AUDIT}"


def _read(connection: Connection, read: Any) -> list[bytes]:
    try:
        found: list[bytes] = read(among(_fetch(connection, places(read))))
    except LookupError as error:
        raise EvidenceLogBroken(f"The evidence log is incomplete: {error} {_AUDIT}") from error
    return found


def _fetch(connection: Connection, wanted: set[Place]) -> dict[Place, bytes]:
    table = evidence_log_nodes
    query = select(table).where(tuple_(table.c.level, table.c.position).in_(sorted(wanted)))
    rows = connection.execute(query).all() if wanted else ()
    return {(row.level, row.position): row.hash for row in rows}


def _entry(connection: Connection, bundle_digest: str) -> LogEntry | None:
    row = connection.execute(select(evidence_log).where(evidence_log.c.bundle_digest == bundle_digest)).one_or_none()
    return _entry_of(row) if row else None


def _newest_checkpoint(connection: Connection) -> KeptCheckpoint | None:
    newest = select(func.max(evidence_checkpoints.c.size)).scalar_subquery()
    return next(iter(_checkpoints(connection, evidence_checkpoints.c.size == newest)), None)


def _checkpoints(connection: Connection, where: ColumnElement[bool]) -> list[KeptCheckpoint]:
    query = select(evidence_checkpoints).where(where).order_by(evidence_checkpoints.c.size)
    return [KeptCheckpoint(row.size, row.root, row.note, row.at) for row in connection.execute(query)]


def _entry_of(row: Row[Any]) -> LogEntry:
    return LogEntry(row.leaf, row.claim_id, row.bundle_digest, row.signature, row.key_fingerprint, row.at)


def _values(entry: LogEntry) -> dict[str, Any]:
    return {
        "leaf": entry.index, "claim_id": entry.claim_id, "bundle_digest": entry.bundle_digest,
        "signature": entry.signature, "key_fingerprint": entry.key_fingerprint, "at": entry.at,
    }  # fmt: skip


def _stamp_of(row: Row[Any]) -> KeptStamp:
    return KeptStamp(row.size, Stamp(row.response, row.authority, row.stamped_at), row.at)
