"""Fixtures that more than one tier needs: a real PostgreSQL with a fresh, migrated ledger per test."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import settings
from psycopg import sql
from sqlalchemy import Engine

from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.migrate import migrate
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions_tests.many_claims import fill

settings.register_profile("thorough", max_examples=1000, stateful_step_count=60, deadline=None)


@pytest.fixture(scope="session", autouse=True)
def migrations_are_read_once() -> Iterator[None]:
    """Dagster reads its eighty migrations anew for every run of an instance in a folder: a quarter of such a test."""
    read, kept = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def once(config: Config) -> ScriptDirectory:
        where = config.get_main_option("script_location")
        if where not in kept:
            kept[where] = read(config)
        return kept[where]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ScriptDirectory, "from_config", once)
        yield


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """moto: AWS's answers as AWS's clients know them, Object Lock and KMS among them; nothing persists."""
    from moto.server import ThreadedMotoServer  # here: it takes a second that most tests don't need

    from oem_submissions_tests.evidence.s3_servers import make_buckets

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        make_buckets(f"http://{host}:{port}")
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server of this test session.

    Not below pytest's own temporary folder: another session that starts closes that one's permissions, and the server,
    which does not run as root, aborts.
    """
    with tempfile.TemporaryDirectory(prefix="oem-submissions-postgres-", ignore_cleanup_errors=True) as folder:
        server = EmbeddedPostgres(Path(folder))
        with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
            # Nobody cuts this server's power: the tests of a database that crashes have one of their own.
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                admin.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
            admin.execute("SELECT pg_reload_conf()")
        yield server
        server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database that tests copy."""
    engine = ledger_engine(postgres.url("template_ledger"))
    migrate(engine)
    engine.dispose()
    return "template_ledger"


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated, empty database of this test's own."""
    with own_database(postgres, migrated_template) as url:
        yield url


@contextmanager
def own_database(postgres: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """The URL of a copy of the migrated database, gone at the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(migrated_template))
        )
        yield postgres.url(name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """A ledger on an empty database."""
    engine = ledger_engine(database_url)
    yield Ledger(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def many_claims(postgres: EmbeddedPostgres, migrated_template: str) -> Iterator[Engine]:
    """A ledger with many claims, most of them at their end. Tests only read it."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE many TEMPLATE {}").format(sql.Identifier(migrated_template)))
        with psycopg.connect(postgres.url("many"), autocommit=True) as connection:
            fill(connection, 10_000, 2_000, seconds=520)
        engine = ledger_engine(postgres.url("many"))
        yield engine
        engine.dispose()
        admin.execute("DROP DATABASE many WITH (FORCE)")
