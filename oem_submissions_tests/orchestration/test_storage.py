"""Dagster's storage as dagster.yaml names it: connections are kept, and one that was lost is no trouble."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import psycopg2
import pytest
import yaml
from dagster import DagsterInstance
from sqlalchemy.engine.reflection import Inspector

from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.settings import PROJECT

QUESTIONS = 30
OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
def url(postgres: EmbeddedPostgres) -> str:
    return postgres.url(f"dagster_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def instance(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    storage = yaml.safe_load((PROJECT / "dagster.yaml").read_text())["storage"]
    monkeypatch.setenv("OEM_SUBMISSIONS_DAGSTER_DATABASE_URL", url.replace("postgresql:", "postgresql+psycopg2:", 1))
    (tmp_path / "dagster.yaml").write_text(json.dumps({"storage": storage, "telemetry": {"enabled": False}}))
    with DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def ask(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchone()


def backends(url: str) -> list[int]:
    """The ids of the database's processes but the one that answers."""
    return sorted(ask(url, f"SELECT coalesce(array_agg(pid), '{{}}') {OTHERS}")[0])


def test_many_questions_of_many_instances_go_through_the_same_connections(instance: DagsterInstance, url: str) -> None:
    instance.add_dynamic_partitions("dealers", ["10234"])
    before = backends(url)
    for _ in range(QUESTIONS):
        assert instance.get_dynamic_partitions("dealers") == ["10234"]
        assert instance.get_runs() == []
    with DagsterInstance.from_ref(instance.get_ref()) as another:  # as every tick makes one
        assert another.get_dynamic_partitions("dealers") == ["10234"]
    assert 1 <= len(before) <= 2
    assert backends(url) == before


def test_a_ticks_instance_asks_the_database_nothing_before_it_is_asked_itself(
    instance: DagsterInstance, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg2, "connect", None)
    monkeypatch.setattr(Inspector, "get_table_names", None)
    with DagsterInstance.from_ref(instance.get_ref()):
        pass


def test_a_connection_that_the_database_closed_is_replaced_unseen(instance: DagsterInstance, url: str) -> None:
    instance.add_dynamic_partitions("dealers", ["10234"])
    before = backends(url)
    assert ask(url, f"SELECT bool_and(pg_terminate_backend(pid, 5000)) {OTHERS}")[0]
    assert instance.get_dynamic_partitions("dealers") == ["10234"]
    assert set(backends(url)).isdisjoint(before)
