"""The world of worker processes, and what a test does in it: claims come due, workers start and die, hours pass."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from sqlalchemy import text, update

from adapters import registry
from oem_submissions import wiring
from oem_submissions.domain.records import Claim, Pins
from oem_submissions.ledger.store import Ledger
from oem_submissions.ledger.tables import claims, leases
from oem_submissions.portal.packs import released_packs
from oem_submissions.services.bound import Services
from oem_submissions.services.release import declare_live
from oem_submissions.services.submit import Partition
from oem_submissions.settings import PREFIX, EnvironmentSecrets, read_settings
from oem_submissions.simulator.client import SimulatorClient
from oem_submissions.simulator.crm_client import CrmAdmin
from oem_submissions.simulator.crm_store import CLIENT_ID, CLIENT_SECRET
from oem_submissions_tests.faults.worker_process import Job, work
from oem_submissions_tests.forks import FORKS
from oem_submissions_tests.making import warranty_payload

_FIRST_DAY = date(2026, 5, 1)


@dataclass(frozen=True)
class SimulatorProcess:
    """Where the simulator runs."""

    http_url: str
    https_url: str
    ca_path: Path
    client: SimulatorClient


class World:
    """Everything that outlives a worker."""

    def __init__(self, simulator: SimulatorProcess, ledger: Ledger, database_url: str, folder: Path) -> None:
        self.simulator, self.ledger, self._folder = simulator, ledger, folder
        self.admin = CrmAdmin(simulator.http_url)
        self.admin.reset()
        self.environment = {
            f"{PREFIX}HOME": str(folder),
            f"{PREFIX}DATABASE_URL": database_url,
            f"{PREFIX}CRM_URL": simulator.https_url,
            f"{PREFIX}CRM_CA": str(simulator.ca_path),
            f"{PREFIX}PORTAL_URL_AURORA": simulator.http_url,
            EnvironmentSecrets.where("crm/client_id"): CLIENT_ID,
            EnvironmentSecrets.where("crm/client_secret"): CLIENT_SECRET,
        }
        adapter, packs = registry.adapter("aurora"), released_packs(read_settings({}).selectors, "aurora")
        declare_live(ledger, "aurora", Pins(adapter.digest, *packs[-1]), "test", "what is tested here is not the gate")
        self._lock, self._number = threading.Lock(), 0

    def close(self) -> None:
        """Let go of connections."""
        self.admin.close()

    def add_dealer(self, dealer: str) -> None:
        """A portal account, and its secrets."""
        self.simulator.client.add_account("aurora", dealer, f"user-{dealer}", "secret-pw-7", "Lakeside Motors")
        for part, value in (("username", f"user-{dealer}"), ("password", "secret-pw-7")):
            self.environment[EnvironmentSecrets.where(f"portal/aurora/{dealer}/{part}")] = value

    @contextmanager
    def services(self) -> Iterator[Services]:
        """The services in this process."""
        settings, secrets = read_settings(self.environment), EnvironmentSecrets(self.environment)
        with wiring.build(settings, secrets=secrets, crm=wiring.salesforce(settings, secrets)) as services:
            yield services

    def add_claim(self, dealer: str) -> tuple[Claim, Partition]:
        """A claim comes due, on a day of its own, and is taken in."""
        with self._lock, self.services() as services:
            self._number += 1
            number = self._number
            due_on = (_FIRST_DAY + timedelta(days=number)).isoformat()
            payload = warranty_payload(number, dealer, odometer=20_000 + number)
            record = {"name": f"CLM-{number:04d}", "oem": "aurora", "dealer": dealer, "claim_type": "warranty"}
            (record_id,) = self.admin.seed([{**record, "due_on": due_on, "payload": payload, "files": []}])
            services.take_in()
            claim = services.ledger.claim_of_record("aurora", record_id)
            assert claim is not None
            return claim, Partition("aurora", dealer, claim.period)

    def start(self, partition: Partition, **how: Any) -> Worker:
        """A worker begins its run."""
        log = self._folder / f"worker-{os.urandom(6).hex()}.log"
        common = {"environment": self.environment, "partition": partition, "strike": 0, "after": False, "log": log}
        job = Job(**(common | how))
        process = FORKS.Process(target=work, args=(job,), daemon=True)
        process.start()
        return Worker(process, log)

    def expire_lease(self, dealer: str) -> None:
        """As if a minute had passed for the account."""
        where = (leases.c.dealer == dealer, leases.c.released_at.is_(None))
        with self.ledger._engine.begin() as connection:
            connection.execute(update(leases).where(*where).values(expires_at=text("clock_timestamp()")))

    def put_together(self, dealer: str) -> Partition:
        """All claims of a dealer in one partition: a run over it looks and files them in one session."""
        with self.ledger._engine.begin() as connection:
            connection.execute(update(claims).where(claims.c.dealer == dealer).values(period="2026-05-01"))
        return Partition("aurora", dealer, "2026-05-01")

    def filings(self) -> Counter[str]:
        """How often the portal filed each repair order: the truth."""
        filings = self.simulator.client.truth("aurora")["filings"]
        return Counter(filing["fields"]["repair_order"] for filing in filings)


class Worker:
    """A worker's process, as its machine sees it."""

    def __init__(self, process: BaseProcess, log: Path) -> None:
        self.process, self._log = process, log

    def wait(self, seconds: float) -> int:
        """Its exit code, negative for a signal. Raises AssertionError when it has not ended by then."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"the worker hangs after: {self.writes()[-1:]}"
        return self.process.exitcode

    def writes(self) -> list[str]:
        """What it wrote, by name, in order."""
        return [line.split(" ", 1)[1] for line in self._log.read_text().splitlines()]

    def wait_until_stopped(self, seconds: float) -> None:
        """Raises AssertionError when it does not stop itself by then."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", seconds, "the worker to stop itself")

    def go_on(self) -> None:
        """SIGCONT."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGCONT)


def wait_for(happened: Callable[[], object], seconds: float, what: str) -> None:
    """Until it has happened: asked again and again, for want of an event. AssertionError when it takes longer."""
    nothing, end = threading.Event(), time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"waited for {what}, for {seconds:.0f} s"
        nothing.wait(0.05)
