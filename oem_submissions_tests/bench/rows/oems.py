"""What fifty OEMs with 300 dealers each cost Dagster: loading the code location, and the schedules' ticks.

Real definitions of made adapters, real tick functions, Dagster's storage and the ledger on a real PostgreSQL. The goal:
the definitions load in less than 5 s over the bare import, and all schedules' ticks take less than 2 s in total.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import FilingLimit, WarrantyClaim
from oem_submissions.domain.records import Pins
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.migrate import migrate
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.services.release import declare_live
from oem_submissions.settings import read_settings
from oem_submissions_tests.bench.report import Figures

TITLE = "Fifty OEMs, 300 dealers each (seconds)"
OEMS = 50
DEALERS = 300
DUE = 20
"""Dealers of each OEM with a claim that is due now."""
UNDER_WAY = 10
"""Runs of each OEM that are queued already, for other dealers."""
PINS = Pins("c0de" * 16, "v0001", "ba5e" * 16)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)

_FILL = """
    INSERT INTO claims (claim_id, oem, dealer, period, claim_type, crm_record_id, natural_key, payload, payload_sha256,
        source_sha256, due_on, state, version, reference, bundle_digest, crm_version, created_at, updated_at)
    SELECT oem || '-' || dealer || '-' || number, oem, dealer, '2026-11-' || 24 - number, 'warranty',
        oem || dealer || number, oem || dealer || number, '{}', '', '', date '2026-11-24' - number::int,
        CASE WHEN is_due THEN 'READY' ELSE 'SYNCED' END, 1, CASE WHEN NOT is_due THEN oem || dealer || number END,
        '', CASE WHEN NOT is_due THEN 1 END, %(now)s, %(now)s
    FROM (SELECT 'oem' || lpad(o::text, 2, '0') AS oem, 'd' || lpad(d::text, 4, '0') AS dealer, number,
            number = 0 AND d < %(due)s AS is_due
          FROM generate_series(0, %(oems)s - 1) AS o, generate_series(0, %(dealers)s - 1) AS d,
            generate_series(0, 4) AS number) AS made
"""


@dataclass(frozen=True)
class Made:
    """An adapter, as far as Dagster needs one."""

    oem: str
    claim_model: Any = WarrantyClaim
    cadence: Cadence = Cadence("0 6 * * *", "UTC", "day")
    digest: str = PINS.adapter_digest
    filing_limits: Mapping[str, FilingLimit] = field(default_factory=dict)
    needs_approval: bool = False


def adapters(count: int = OEMS) -> dict[str, Any]:
    """Made ones, by OEM."""
    return {oem: Made(oem) for oem in (f"oem{number:02d}" for number in range(count))}


def measure(repetitions: int) -> Figures:
    """On a PostgreSQL of its own; the load in fresh processes."""
    tries = max(1, repetitions // 3)
    with tempfile.TemporaryDirectory(prefix="oem-submissions-bench-", ignore_cleanup_errors=True) as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        try:
            ticks = _ticks(Path(folder), postgres, tries)
        finally:
            postgres.stop()
    loads = [_load_in_a_process() for _ in range(tries)]
    lines = [{"": name, "seconds": statistics.median(load[name] for load in loads)} for name in loads[0]]
    note = (
        f"Medians of {tries}. {OEMS * DEALERS:,} dealers, {OEMS * DUE:,} of them with due work, {OEMS * UNDER_WAY} runs"
        " queued already. CPU seconds of the load, wall seconds of the ticks."
    )
    return Figures(TITLE, note, {"": [*lines, *ticks]})


# --- the load --------------------------------------------------------------------------------------------------------

_LOAD = """
import json, time
begun = time.process_time()
import dagster
import oem_submissions.wiring, oem_submissions.defs.definitions
imported = time.process_time()
from oem_submissions_tests.bench.rows import oems
repository = oems.load()
made = time.process_time()
from dagster._core.remote_representation.external_data import RepositorySnap
RepositorySnap.from_def(repository)
print(json.dumps({"import dagster and our code": imported - begun, "load, as a run does": made - imported,
    "load and snapshot, as the code server does": time.process_time() - imported}))
"""


def load() -> Any:
    """The repository of all made OEMs."""
    from oem_submissions import wiring

    return wiring.definitions(read_settings({}), adapters=adapters(), released_packs=_packs).get_repository_def()


def _packs(_: str) -> list[tuple[str, str]]:
    return [(PINS.pack_version, PINS.pack_digest)]


def _load_in_a_process() -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", _LOAD], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- the ticks -------------------------------------------------------------------------------------------------------


def _ticks(folder: Path, postgres: EmbeddedPostgres, tries: int) -> list[dict[str, str | float]]:
    with stood_up(folder, postgres) as (repository, instance, services):
        first = all_ticks(repository, instance, services)
        later = [all_ticks(repository, instance, services) for _ in range(tries)]
        found = {"the first ticks of all schedules": first, "ticks of all schedules": statistics.median(later)}
        return [{"": name, "seconds": seconds} for name, seconds in found.items()]


def all_ticks(repository: Any, instance: Any, services: Any) -> float:
    """Seconds that the enqueue schedules of all OEMs take, one after the other."""
    from dagster import build_schedule_context

    begun, requested = time.perf_counter(), 0
    for oem in services.adapters:
        context = build_schedule_context(
            instance=instance,
            scheduled_execution_time=services.ledger.now(),
            resources={"services": services},
            repository_def=repository,
        )
        tick = repository.get_schedule_def(f"{oem}_enqueue").evaluate_tick(context)
        requested += len(tick.run_requests or ())
    took = time.perf_counter() - begun
    if requested != OEMS * DUE:
        raise RuntimeError(f"{requested} runs were requested, {OEMS * DUE} partitions are due.")
    return took


@contextmanager
def stood_up(folder: Path, postgres: EmbeddedPostgres) -> Iterator[tuple[Any, Any, Any]]:
    """Repository, Dagster's instance and services, with the dealers, their claims and the runs that are queued."""
    from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

    from oem_submissions import wiring

    engine = ledger_engine(postgres.url("ledger"))
    migrate(engine)
    ledger = Ledger(engine)
    with psycopg.connect(postgres.url("ledger"), autocommit=True) as connection:
        connection.execute(_FILL, {"now": NOW, "oems": OEMS, "dealers": DEALERS, "due": DUE})
        connection.execute("INSERT INTO dealers (oem, dealer) SELECT DISTINCT oem, dealer FROM claims")
        connection.execute("ANALYZE")
    url = postgres.url("dagster").replace("postgresql://", "postgresql+psycopg2://", 1)
    home = folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(
        "storage: {custom: {module: oem_submissions.defs.storage, class: KeptConnectionsStorage,"
        f" config: {{postgres_url: '{url}'}}}}}}\ntelemetry: {{enabled: false}}\n"
    )
    made, settings = adapters(), replace(read_settings({}), home=folder)
    parts = {"ledger": ledger, "adapters": made, "released_packs": _packs, "crm": None, "evidence": None}
    for oem in made:
        declare_live(ledger, oem, PINS, "bench", "what is measured here is not the gate")
    with DagsterInstance.from_config(str(home)) as instance, wiring.build(settings, **parts) as services:
        for oem in made:
            for number in range(UNDER_WAY):
                tags = {"oem": oem, "dealer": f"d{100 + number:04d}", "period": "2026-11-24"}
                run = DagsterRun(f"{oem}_filing_job", status=DagsterRunStatus.NOT_STARTED, tags=tags)
                instance.add_run(run)
        yield load(), instance, services
    engine.dispose()
