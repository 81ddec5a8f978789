"""The simulator's clock: real time plus what tests advanced it by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from oem_submissions.simulator.database import Database


class Clock:
    """Aware UTC times. The offset survives a restart."""

    def __init__(self, database: Database) -> None:
        self._database = database
        row = database.row("SELECT value FROM meta WHERE key = 'clock_offset'")
        self._offset = float(row[0]) if row else 0.0

    def now(self) -> datetime:
        """The simulated time, UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._offset)

    def advance(self, seconds: float) -> None:
        """Moves the clock forward: sessions go idle, late history rows appear."""
        self._set(self._offset + seconds)

    def reset(self) -> None:
        """Back to real time."""
        self._set(0.0)

    def _set(self, offset: float) -> None:
        self._offset = offset
        self._database.write("INSERT OR REPLACE INTO meta VALUES ('clock_offset', ?)", str(offset))
