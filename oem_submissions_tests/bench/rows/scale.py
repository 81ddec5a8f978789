"""How long the ledger takes to answer what is asked all day, when it is a hundred times as old and no busier.

The goal: each in under 100 ms, and as fast at a million claims as at ten thousand. No portal, no browser, no Dagster.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import psycopg
from sqlalchemy import func, select

from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.migrate import migrate
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions_tests.bench.meter import Cost, Meter
from oem_submissions_tests.bench.report import Figures
from oem_submissions_tests.many_claims import EVENTS, fill
from oem_submissions_tests.questions import ASKED, OEMS, Ask

TITLE = "The ledger's answers as it grows (milliseconds, the ledger's part alone)"
SCALE = 10_000
"""Claims of the largest ledger are this times the square of the repetitions: a million for the usual ten."""
LIVELY = 10_000
"""So many of the newest claims are not all at their end, whatever came before them."""
GOAL = 100.0
TRIES = 15
LINEAR: dict[str, Ask] = {
    "linear: count of all claims (`status`)": lambda ledger: [ledger.states_of(oem) for oem in OEMS],
    "linear in the account: a sweep's claims": lambda ledger: [
        ledger.account_claims("aurora", "d0006"),
        ledger.standings("aurora", "d0006"),
    ],
}
"""What has to read it all, and is not asked all day."""


def measure(repetitions: int) -> Figures:
    """On a PostgreSQL of its own, filled by itself."""
    whole = SCALE * repetitions**2
    sizes = sorted({max(whole // part, LIVELY) for part in (100, 10, 1)})
    with tempfile.TemporaryDirectory(prefix="oem-submissions-bench-", ignore_cleanup_errors=True) as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        try:
            took = {size: _times(_filled(postgres, size)) for size in sizes}
        finally:
            postgres.stop()
    return _figures(took)


def _figures(took: Mapping[int, Mapping[str, Cost]]) -> Figures:
    small, large = min(took), max(took)
    lines: list[dict[str, str | float]] = []
    for name, cost in took[large].items():
        cpu = {f"CPU {size:,}": 1000 * took[size][name].cpu for size in took}
        ratio = cost.cpu / max(took[small][name].cpu, 0.0005)
        lines.append({"question": name, **cpu, "ratio": ratio, f"wall {large:,}": 1000 * cost.wall})
    note = (
        f"CPU of the asker and its PostgreSQL backend, the mean of {TRIES}, after one more that warms; wall: the least."
        f" {large:,} claims have {large * EVENTS:,} events. The goal is {GOAL:.0f} ms, and a ratio of {large:,} to"
        f" {small:,} claims near 1."
    )
    return Figures(TITLE, note, {"question": lines})


def _filled(postgres: EmbeddedPostgres, claims: int) -> str:
    url = postgres.url(f"ledger_{claims}")
    engine = ledger_engine(url)
    migrate(engine)
    engine.dispose()
    with psycopg.connect(url, autocommit=True) as connection:
        fill(connection, claims, LIVELY)
    return url


def _times(url: str) -> dict[str, Cost]:
    engine = ledger_engine(url)
    try:
        ledger = Ledger(engine)
        with engine.connect() as connection:
            backend = connection.scalar(select(func.pg_backend_pid()))  # the pool has this one, and needs no other
        meter = Meter(others=(backend,))
        return {name: _cost(meter, partial(ask, ledger)) for name, ask in (ASKED | LINEAR).items()}
    finally:
        engine.dispose()


def _cost(meter: Meter, call: Callable[[], object]) -> Cost:
    call()
    walls = []
    with meter.measure() as whole:
        for _ in range(TRIES):
            begun = time.perf_counter()
            call()
            walls.append(time.perf_counter() - begun)
    return Cost(min(walls), whole[0].cpu / TRIES)
