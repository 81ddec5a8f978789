"""The two clocks of the stage, moved forward together: the simulated portal's, and the ledger's database's.

The ledger asks its database for the time. In the scratch database that a stage makes, a function of that name stands
before PostgreSQL's own in the search path, and adds what the clock was moved by: leases run out, looks come due and
claims settle as they would, and no part of the system knows of it.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from oem_submissions.simulator.client import SimulatorClient

_INSTALL = """
CREATE SCHEMA moved_clock;
CREATE TABLE moved_clock.forward (by interval NOT NULL);
INSERT INTO moved_clock.forward VALUES ('0');
CREATE FUNCTION moved_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT pg_catalog.clock_timestamp() + by FROM moved_clock.forward';
"""


class Clocks:
    """Of a database that nobody else uses. Make it after the migrations, and before the ledger opens it."""

    def __init__(self, database_url: str, portal: SimulatorClient) -> None:
        self._database_url, self._portal = database_url, portal
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(_INSTALL)
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET search_path = moved_clock, public, pg_catalog").format(
                    sql.Identifier(connection.info.dbname)
                )
            )

    def forward(self, minutes: float) -> None:
        """Both clocks jump."""
        self._execute("UPDATE moved_clock.forward SET by = by + %s * interval '1 minute'", minutes)
        self._portal.advance(minutes * 60)

    def reset(self) -> None:
        """The database's clock is right again; the portal's is set right by its own reset."""
        self._execute("UPDATE moved_clock.forward SET by = '0'")

    def _execute(self, statement: str, *values: float) -> None:
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            connection.execute(statement.encode(), values)
