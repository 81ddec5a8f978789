"""How long the desk takes to answer with very many claims in the ledger: look-ups of every kind, and its lists.

Over real HTTP, with the page rendered. The goal: a look-up in under 50 ms at a million claims and five million events.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import requests

from oem_submissions.cli.desk import desk_app
from oem_submissions.desk.serving import with_access
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.migrate import migrate
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.settings import read_settings
from oem_submissions_tests.bench.report import Figures
from oem_submissions_tests.desk.access import listening, loopback_access
from oem_submissions_tests.many_claims import EVENTS, fill

TITLE = "The desk's answers with many claims in the ledger (milliseconds, HTTP and page included)"
SCALE = 10_000
"""Claims are this times the square of the repetitions: a million for the usual ten."""
GOAL = 50.0
Address = Callable[[int], str]
PAGES: dict[str, Address] = {
    "by reference": lambda n: f"/?q=aur-{n:07d}",
    "by claim": lambda n: f"/?q=aurora-{n:012d}",
    "by CRM record": lambda n: f"/?q=REC{n:07d}",
    "by repair order": lambda n: f"/?q=RO{n:08d}",
    "by nothing that there is": lambda n: f"/?q=nothing-{n}",
    "by dealer": lambda n: f"/?q=D{n % 300:04d}",
    "a claim's page": lambda n: f"/claims/aurora-{n:012d}",
    "the first page": lambda _: "/",
    "review": lambda _: "/review",
    "dead letters": lambda _: "/dead-letters",
    "queue": lambda _: "/queue",
}
TRIES = 30
"""Of each page, every one with another number."""


def measure(repetitions: int) -> Figures:
    """On a PostgreSQL of its own, filled by itself."""
    claims = SCALE * repetitions**2
    with _desk(claims) as url, requests.Session() as session:
        lines = [_line(name, path, claims, session, url) for name, path in PAGES.items()]
    note = (
        f"{claims:,} claims and {claims * EVENTS:,} events; {TRIES} requests of each page, each for another claim, one"
        f" after the other, the first one included. The goal for look-ups is {GOAL:.0f} ms."
    )
    return Figures(TITLE, note, {"page": lines})


def _line(name: str, path: Address, claims: int, session: requests.Session, url: str) -> dict[str, str | float]:
    # Numbers of filed claims of aurora: see `many_claims`.
    numbers = [3 * (claims // 3 // TRIES * turn // 40 * 40 + 5) for turn in range(TRIES)]
    took = [_ask(session, url + path(number), "q=nothing" in path(number)) for number in numbers]
    return {"page": name, "first": took[0], "median": statistics.median(took), "95 %": sorted(took)[int(0.95 * TRIES)]}


def _ask(session: requests.Session, address: str, unknown: bool) -> float:
    """Milliseconds until the whole answer is there; a wrong answer would be quick, too."""
    begun = time.perf_counter()
    answer = session.get(address, allow_redirects=False, timeout=120)
    took = 1000 * (time.perf_counter() - begun)
    expected = (200, 303) if not unknown else (200,)
    if answer.status_code not in expected or unknown != ("Nothing is known" in answer.text):
        raise RuntimeError(f"{address} answered {answer.status_code}: {answer.text[:200]}")
    return took


@contextmanager
def _desk(claims: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="oem-submissions-bench-", ignore_cleanup_errors=True) as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        engine = ledger_engine(postgres.url("ledger"))
        try:
            migrate(engine)
            with psycopg.connect(postgres.url("ledger"), autocommit=True) as connection:
                fill(connection, claims)
            settings = read_settings({"OEM_SUBMISSIONS_HOME": folder})
            app = desk_app(Ledger(engine), DirectoryStore(Path(folder) / "evidence"), settings)
            with listening(with_access(app, loopback_access())) as url:
                yield url
        finally:
            engine.dispose()
            postgres.stop()
