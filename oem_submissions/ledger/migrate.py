"""Brings a database's schema up to date, under a lock, so that two starts at once are as good as one."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from oem_submissions.domain.failures import ConfigurationError

_LOCK = 7_402_117_001
"""The key of the advisory lock that migrations hold; any number, the same for ever."""


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration, in code: there is no `alembic.ini`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def migrate(engine: Engine) -> str:
    """Run the missing migrations in one transaction; return the revision reached.

    Safe to repeat, safe beside running workers. Raises `ConfigurationError` when the database can't be reached.
    """
    try:
        with engine.begin() as connection:
            connection.execute(
                text("SET LOCAL statement_timeout = 0")
            )  # a big ledger's index takes longer than a query
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config = alembic_config(connection)
            command.upgrade(config, "head")
            return str(ScriptDirectory.from_config(config).get_current_head())
    except SQLAlchemyError as error:
        raise ConfigurationError(
            f"The ledger's database could not be migrated: {error.args[0].splitlines()[0] if error.args else error}. "
            "Check OEM_SUBMISSIONS_DATABASE_URL and that the server is up."
        ) from error


def is_behind(connection: Connection) -> bool:
    """Whether migrations are missing."""
    reached = MigrationContext.configure(connection).get_current_revision()
    return reached != ScriptDirectory.from_config(alembic_config(connection)).get_current_head()
