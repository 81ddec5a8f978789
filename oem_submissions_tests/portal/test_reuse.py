"""Signed-in sessions that go from run to run: real runs at the simulated Aurora, which counts the log-ins."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adapters import registry
from oem_submissions import wiring
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.records import Claim, Pins
from oem_submissions.domain.states import State
from oem_submissions.ledger.store import Ledger
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.runtime import BrowserPortal, BrowserRuntime
from oem_submissions.ports import EvidenceUnavailable
from oem_submissions.services.history import read_history
from oem_submissions.services.release import OpenGate, declare_live
from oem_submissions.services.submit import Partition
from oem_submissions.settings import EnvironmentSecrets, read_settings
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.making import new_claim, warranty_payload
from oem_submissions_tests.portal.parts import SHORT, newest_pack, with_pack

OEM, DEALER = "aurora", "10234"
SIGNED_IN = "  signed_in: {role: link, name: Log out}\n"
REUSE = SIGNED_IN + "  sign_out: {role: link, name: Log out}\n  reuse: {minutes: 60}\n"


class Runs:
    """Runs of one account, with all their real parts, but for the CRM."""

    def __init__(
        self, chromium: BrowserRuntime, simulator: Simulator, ledger: Ledger, folder: Path, live: bool = True
    ) -> None:
        self.chromium, self.simulator, self.ledger = chromium, simulator, ledger
        self.selectors = with_pack(folder, OEM, SIGNED_IN, REUSE)
        self.settings = replace(read_settings({}), home=folder / "home")
        self.password = "secret-pw-7"
        self.since = len(simulator.client.requests("/aurora/login"))
        simulator.client.add_account(OEM, DEALER, "jdoe", self.password, "Lakeside Motors")
        if live:
            self.go_live()

    def go_live(self) -> None:
        declare_live(self.ledger, OEM, self.pins, "test", "the gate is not tested")

    @property
    def pins(self) -> Pins:
        pack = load_pack(self.selectors, OEM)
        return Pins(registry.adapter(OEM).digest, pack.version, pack.digest)

    @contextmanager
    def parts(self) -> Iterator[tuple[Any, BrowserPortal]]:
        account = {"username": "jdoe", "password": self.password}
        secrets = {EnvironmentSecrets.where(f"portal/{OEM}/{DEALER}/{part}"): text for part, text in account.items()}
        runtime = BrowserRuntime(registry.adapter, self.selectors, {OEM: self.simulator.http_url}, limits=SHORT)
        runtime.browser = self.chromium.browser  # type: ignore[method-assign]
        with wiring.build(
            self.settings, ledger=self.ledger, crm=MemoryCrm(), secrets=EnvironmentSecrets(secrets), gate=OpenGate()
        ) as services:
            yield services, runtime.portal(OEM)

    def file(self, number: int) -> Claim:
        """A run that files one claim."""
        payload = warranty_payload(number, odometer=1200 + number)
        added = self.ledger.add_claim(new_claim(number, period=f"2026-11-{number:02d}", payload=payload))
        with self.parts() as (services, portal):
            partition = Partition(OEM, DEALER, added.period)
            (claim,) = services.submit(partition, f"run-{number}", "worker", portal)
            services.seal(partition, f"run-{number}", "worker")
        return self.ledger.claim(claim.claim_id) or claim

    def read(self) -> StepFailed | None:
        """A run that reads the history; what went wrong."""
        with self.parts() as (services, portal):
            reader = services.reader(OEM, DEALER, "run", "worker", portal)
            with read_history(reader, lambda _: datetime(2026, 11, 1, tzinfo=UTC)) as reading:
                assert (reading.listing is None) == (reading.trouble is not None)
                return reading.trouble

    @property
    def log_ins(self) -> int:
        return len(self.simulator.client.requests("/aurora/login")) - self.since

    def kept(self, database_url: str) -> Any:
        """The one row."""
        with psycopg.connect(database_url) as connection:
            return connection.execute("SELECT wrapped, wrapped_by, sealed FROM kept_sessions").fetchone()


@pytest.fixture
def runs(chromium: BrowserRuntime, simulator: Simulator, ledger: Ledger, tmp_path: Path) -> Runs:
    return Runs(chromium, simulator, ledger, tmp_path)


def test_a_second_run_files_in_the_session_of_the_first_and_its_cookies_are_nowhere(
    runs: Runs, ledger: Ledger, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "oem_submissions")
    first, second = runs.file(1), runs.file(2)
    assert (first.state, second.state, runs.log_ins) == (State.SEALED, State.SEALED, 1)
    said = "signed in 0 minutes before, session reused"
    assert f"STEP 1/12 log in ({said})" in caplog.text
    assert (ledger.facts(first.claim_id).get("session"), ledger.facts(second.claim_id)["session"]) == (None, said)
    assert runs.read() is None  # a third run
    assert (runs.log_ins, runs.simulator.client.requests("/aurora/logout")) == (1, [])


def test_the_log_ins_only_are_counted_from_on_and_not_the_reuses(runs: Runs, ledger: Ledger) -> None:
    runs.read()
    (kept,) = ledger.kept_sessions()
    runs.read()
    (again,) = ledger.kept_sessions()
    assert abs((again.signed_in_at - kept.signed_in_at).total_seconds()) < 0.5 < again.kept_at.timestamp()
