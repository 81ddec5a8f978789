"""Probes in the ledger: each walk through a portal that sent nothing, kept for ever."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, insert, select

from oem_submissions.domain.contracts import Change, ProbeRecord, ProbeReport, Severity
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Pins
from oem_submissions.domain.texts import keepable
from oem_submissions.ledger.tables import probes

_TEXT = 2000


class ProbeBook:
    """What the ledger remembers of probes: reads and writes."""

    _engine: Engine

    def note_probe(
        self, oem: str, dealer: str, pins: Pins, run_id: str, by: str, seconds: float, report: ProbeReport
    ) -> ProbeRecord:
        """Keep what a probe found."""
        changes = [asdict(change) | {"words": keepable(change.words)[:_TEXT]} for change in report.changes]
        values = {
            "oem": oem, "dealer": dealer, "adapter_digest": pins.adapter_digest, "pack_version": pins.pack_version,
            "pack_digest": pins.pack_digest, "run_id": run_id, "by": by, "seconds": seconds, "red": report.red,
            "reason": report.failure.reason if report.failure else None, "text": keepable(report.sentence())[:_TEXT],
            "changes": changes, "stopped": {form: keepable(why)[:_TEXT] for form, why in report.stopped.items()},
        }  # fmt: skip
        with self._engine.begin() as connection:
            return _probe_of(connection.execute(insert(probes).values(values).returning(*probes.c)).one())

    def last_probe(self, oem: str, adapter_digest: str, pack_digest: str) -> ProbeRecord | None:
        """The newest probe of this adapter with this pack; None when there is none."""
        digests = (probes.c.adapter_digest == adapter_digest, probes.c.pack_digest == pack_digest)
        return next(iter(self._probes(1, probes.c.oem == oem, *digests)), None)

    def probes(self, oem: str, limit: int = 20) -> list[ProbeRecord]:
        """The OEM's probes, the newest first."""
        return self._probes(limit, probes.c.oem == oem)

    def _probes(self, limit: int, *where: ColumnElement[bool]) -> list[ProbeRecord]:
        query = select(probes).where(*where).order_by(probes.c.probe_id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [_probe_of(row) for row in connection.execute(query)]


def _probe_of(row: Row[Any]) -> ProbeRecord:
    pins = Pins(row.adapter_digest, row.pack_version, row.pack_digest)
    changes = tuple(Change(**{**change, "severity": Severity(change["severity"])}) for change in row.changes)
    reason = ReasonCode(row.reason) if row.reason else None
    return ProbeRecord(
        row.probe_id, row.oem, row.dealer, pins, row.run_id, row.by, row.at, row.seconds, row.red, reason, row.text,
        changes, row.stopped,
    )  # fmt: skip
