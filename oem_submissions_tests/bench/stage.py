"""What every row needs: the simulated portal in a process of its own, a real ledger, evidence on disk, one browser."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

import psycopg
from sqlalchemy import Engine

from adapters import registry
from oem_submissions.domain.records import Claim
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.migrate import migrate
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.ports import Account
from oem_submissions.services.submit import Partition
from oem_submissions.simulator.client import SimulatorClient
from oem_submissions_tests.bench.meter import Meter
from oem_submissions_tests.making import new_claim, warranty_payload

OEM = "aurora"
ACCOUNTS = tuple(Account(OEM, dealer, f"user{dealer}", "secret-pw-7") for dealer in ("10234", "20345"))
SELECTORS = Path(__file__).parents[2] / "selectors"


@dataclass
class Stage:
    """A portal with nothing filed, and everything that files in it."""

    folder: Path
    url: str
    """Of the portals."""
    portals: SimulatorClient
    database_url: str
    engine: Engine
    ledger: Ledger
    evidence: DirectoryStore
    browsers: BrowserRuntime
    meter: Meter
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _days: Iterator[int] = field(default_factory=lambda: count(0))

    def due_claims(self, account: Account, how_many: int) -> tuple[Partition, list[Claim]]:
        """Warranty claims, ready to be filed, in a partition of their own."""
        today, dealer = datetime.now(UTC).date(), account.dealer
        partition = Partition(OEM, dealer, (date(2020, 1, 1) + timedelta(next(self._days))).isoformat())
        claims = []
        for _ in range(how_many):
            number = next(self._numbers)
            payload = warranty_payload(
                number, dealer, opened_on=str(today - timedelta(9)), closed_on=str(today - timedelta(7))
            )
            new = new_claim(number, dealer=dealer, period=partition.period, payload=payload)
            claims.append(self.ledger.add_claim(new))
        return partition, claims

    def clear_portal(self) -> None:
        """Nothing is filed any more, and nobody signed in: every run finds the same portal."""
        self.portals.reset()

    def filed(self) -> int:
        """How many claims the portal has filed since it was cleared."""
        return int(self.portals.truth(OEM)["filed"])


@contextmanager
def stage() -> Iterator[Stage]:
    """Everything started, the browser too; everything stopped at the end."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="oem-submissions-bench-")))
        process, url = opened.enter_context(_portals())
        client = SimulatorClient(url)
        opened.callback(client.close)
        for account in ACCOUNTS:
            client.add_account(OEM, account.dealer, account.username, account.password, "Lakeside Motors")
        server = EmbeddedPostgres(folder / "postgres")
        opened.callback(server.stop)
        database_url = server.url("ledger")
        engine = ledger_engine(database_url)
        opened.callback(engine.dispose)
        migrate(engine)
        browsers = opened.enter_context(BrowserRuntime(registry.adapter, SELECTORS, {OEM: url}))
        browsers.browser()
        postmaster = int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        meter = Meter(others=(postmaster,), portals=(process.pid,))
        evidence = DirectoryStore(folder / "evidence")
        yield Stage(folder, url, client, database_url, engine, Ledger(engine), evidence, browsers, meter)


@contextmanager
def _portals() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "oem_submissions.simulator"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())["http"]
        finally:
            process.terminate()


def versions(on: Stage) -> dict[str, str]:
    """Of the browser and the database that were measured."""
    with psycopg.connect(on.database_url) as connection:
        database = str(connection.info.parameter_status("server_version"))
    return {"browser": f"Chromium {on.browsers.browser().version}", "postgresql": database}
