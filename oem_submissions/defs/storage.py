"""Dagster's storage in PostgreSQL with connections that are kept: Dagster makes one for every question that it asks.

A run of one claim asks 140 times, the daemon all the time, and a new connection costs several times what is asked
through it. `dagster.yaml` names this class; what is stored, and where, is Dagster's. The tables' changes are, too.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config

_KEPT = 2
"""Connections of a process that are kept; there may be more while they are needed."""
_SECONDS = 60
"""For which one is used: what stands between here and the database may forget an idle one."""

_made: set[str] = set()
"""Databases in which this process has seen to the tables."""


class KeptConnectionsStorage(DagsterPostgresStorage):
    """As its base, but all instances of a process share its few connections; each is tried before it is used again.

    Whether the tables are there is looked once in a process: every tick makes an instance, and would look each time.
    """

    def __init__(self, postgres_url: str, should_autocreate_tables: bool = True, **options: Any) -> None:
        super().__init__(postgres_url, should_autocreate_tables and postgres_url not in _made, **options)
        if should_autocreate_tables:
            _made.add(postgres_url)
        engine = _engine(postgres_url, os.getpid())
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """From `dagster.yaml`; a token provider is not offered."""
        autocreate = config_value.get("should_autocreate_tables", True)
        return cls(pg_url_from_config(config_value), should_autocreate_tables=autocreate, inst_data=inst_data)


@cache
def _engine(url: str, pid: int) -> Any:
    """One per process, and none of its parent's: ticks make an instance each, and would leave its connections open."""
    return create_pg_engine(
        url, isolation_level="AUTOCOMMIT", pool_size=_KEPT, max_overflow=-1, pool_recycle=_SECONDS, pool_pre_ping=True
    )
