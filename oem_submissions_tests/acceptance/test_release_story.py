"""The life of a release, told once from its first sight to its drift, and shown at every stage.

Real PostgreSQL, Dagster runs, simulated portal and browser; only the queue's daemon is played by the test, and time
passes by the ledger's clock being set.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetCheckEvaluation, AssetMaterialization, DagsterInstance, Definitions
from sqlalchemy import text

from adapters import registry
from oem_submissions import wiring
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.defs.partitions import add_dealers, partition_key
from oem_submissions.domain.contracts import ProbeRecord
from oem_submissions.domain.releases import ReleaseState
from oem_submissions.domain.states import State
from oem_submissions.ledger.store import Ledger
from oem_submissions.portal.packs import check_packs, load_pack, lock_packs
from oem_submissions.portal.proposal import Proposer
from oem_submissions.services.submit import Partition
from oem_submissions.settings import PREFIX, PROJECT, EnvironmentSecrets, read_settings
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.forks import run_command
from oem_submissions_tests.making import warranty_payload
from oem_submissions_tests.orchestration.test_filing_runs import sensor_tick
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import let_pass

pytestmark = pytest.mark.timeout(600)

OEM, PILOT, OTHER = "aurora", "10234", "11560"
FIRST_DAY = date(2026, 6, 1)
SETTLED = 8.0
"""Seconds that a run took, as far as the ledger can tell."""


class World:
    """One OEM, a pilot dealer and another, and an engineer."""

    def __init__(self, ledger: Ledger, database_url: str, simulator: Simulator, folder: Path) -> None:
        self.ledger, self.simulator, self.crm = ledger, simulator, MemoryCrm()
        self.selectors = folder / "selectors"
        shutil.copytree(PROJECT / "selectors" / OEM, self.selectors / OEM)
        self._lock()
        self.environment = {
            f"{PREFIX}HOME": str(folder),
            f"{PREFIX}DATABASE_URL": database_url,
            f"{PREFIX}SELECTORS": str(self.selectors),
            f"{PREFIX}RETRY_SECONDS": "0",
            f"{PREFIX}PORTAL_URL_{OEM.upper()}": simulator.http_url,
        }
        for dealer in (PILOT, OTHER):
            simulator.client.add_account(OEM, dealer, f"user-{dealer}", "secret-pw-7", "Lakeside Motors")
            for part, value in (("username", f"user-{dealer}"), ("password", "secret-pw-7")):
                self.environment[EnvironmentSecrets.where(f"portal/{OEM}/{dealer}/{part}")] = value
        self.settings = read_settings(self.environment)
        self.parts: dict[str, Any] = {
            "ledger": ledger, "crm": self.crm, "secrets": EnvironmentSecrets(self.environment),
            "adapters": {OEM: registry.adapter(OEM)},
        }  # fmt: skip
        self.defs: Definitions = wiring.definitions(self.settings, **self.parts)
        self.instance = DagsterInstance.local_temp(str(folder))
        self.cursor: str | None = None
        self.shown: list[Any] = []
        """What the sensor reported to Dagster, newest last."""
        self._day, self._chance = 0, random.Random(4)
        add_dealers(self.instance, OEM, [PILOT, OTHER])
        ledger.import_dealers([(OEM, PILOT, "Lakeside Motors", True)])

    # --- what happens in the world ---

    def come_due(self, dealer: str) -> Partition:
        self._day += 1
        due = FIRST_DAY + timedelta(days=self._day)
        payload = warranty_payload(self._day, dealer, odometer=1200 + self._day)
        self.crm.add(f"REC{self._day:04d}", oem=OEM, dealer=dealer, claim_type="warranty", due_on=due, payload=payload)
        with wiring.build(self.settings, **self.parts) as services:
            services.take_in()
        return Partition(OEM, dealer, due.isoformat())

    def portal_renames_the_vin(self) -> None:
        self.simulator.client.set_fault(OEM, "renamed_label")

    def portal_takes_it_back(self) -> None:
        self.simulator.client.clear_faults(OEM)

    # --- what Dagster does ---

    def tick(self) -> list[str]:
        """One look of the release gate's sensor; the dealers whose runs it asks for."""
        tick = sensor_tick(self, "release_gate", self.cursor)
        self.cursor = tick.cursor or self.cursor
        self.shown += tick.asset_events
        return [request.tags["dealer"] for request in tick.run_requests]

    def breaker_probes(self) -> list[str]:
        """One look of the sensor that tries a portal again whose breaker is open."""
        tick = sensor_tick(self, "breaker_probes")
        return [request.tags["dealer"] for request in tick.run_requests]

    def run(self, partition: Partition, seconds: float = SETTLED) -> str:
        """One run of the queue; afterwards it took so many seconds. The state of its claim."""
        job = self.defs.resolve_job_def(f"{OEM}_filing_job")
        key = partition_key(partition.dealer, partition.period)
        result = job.execute_in_process(partition_key=key, instance=self.instance, raise_on_error=False)
        self._took(result.run_id, seconds)
        (claim,) = self.ledger.claims(OEM, partition.dealer, partition.period)
        return str(claim.state)

    def clean_runs(self, count: int) -> None:
        """The pilot's runs that the sensors ask for, one after the other."""
        for _ in range(count):
            partition = self.come_due(PILOT)
            assert self.tick() + self.breaker_probes() == [PILOT]
            assert self.run(partition) == State.SYNCED
        self.tick()

    def quick_runs(self, count: int, seconds: float) -> None:
        """Many runs of the other dealer over months, at a portal that answers at once: what matters is their time."""
        fake = FakePortal(pins=self.report_pins())
        fake.filed = [f"earlier-{n}" for n in range(1000 + self._day)]  # its references are none of the portal's
        with wiring.build(self.settings, **self.parts) as services:
            for _ in range(count):
                partition, run_id = self.come_due(OTHER), f"quick-{self._day}"
                services.submit(partition, run_id, "worker", fake)
                services.seal(partition, run_id, "worker")
                services.sync(partition, run_id, "worker")
                self._took(run_id, self._chance.lognormvariate(math.log(seconds), 0.25))

    def probe(self) -> ProbeRecord:
        """The hourly probe."""
        self.defs.resolve_job_def(f"{OEM}_probe_job").execute_in_process(instance=self.instance, raise_on_error=False)
        return self.ledger.probes(OEM, 1)[0]

    def due(self) -> list[str]:
        """The dealers that the schedule would enqueue."""
        with wiring.build(self.settings, **self.parts) as services:
            return [work.dealer for work in services.due(OEM, set())]

    # --- what the engineer does ---

    def propose_and_release_the_next_pack(self) -> str:
        """`probe --propose`, a review, `packs lock`: the version."""
        newest = load_pack(self.selectors, OEM)
        proposer = Proposer()
        with (
            wiring.build(self.settings, **self.parts) as services,
            wiring.browser_runtime(self.settings) as browsers,
        ):
            services.probe(OEM, PILOT, "by-hand", "Ann", browsers.portal(OEM, None, proposer.look))
        proposal = proposer.write(newest, self.selectors.parent / "proposals", "the portal renamed a label", FIRST_DAY)
        assert "Vehicle ID number" in proposal.text  # the difference that Ann reads
        version = proposal.candidate.name.split(".")[0]
        shutil.copy(proposal.candidate, self.selectors / OEM / f"{version}.yaml")
        self._lock()
        return version

    def _lock(self) -> None:
        lock_packs(self.selectors, check_packs(self.selectors))

    # --- what people see ---

    def show(self) -> dict[str, Any]:
        """`oem-submissions release show aurora --json`."""
        out, err = (self.settings.home / name for name in ("show.out", "show.err"))
        words = ("release", "show", OEM, "--json")
        assert run_command(words, {**os.environ, **self.environment}, out, err, 60) == 0, err.read_text()
        document: dict[str, Any] = json.loads(out.read_text())
        return document

    def states(self) -> dict[str, ReleaseState]:
        """By pack."""
        return {r.pins.pack_version: r.state for r in self.ledger.releases(OEM)}

    def check(self, name: str) -> AssetCheckEvaluation:
        """What the Dagster UI shows of it."""
        return [e for e in self.shown if isinstance(e, AssetCheckEvaluation) and e.check_name == name][-1]

    def metadata(self, name: str) -> str:
        """What the Dagster UI shows of the asset."""
        return str([e for e in self.shown if isinstance(e, AssetMaterialization)][-1].metadata[name].value)

    def alerts(self) -> set[str]:
        return {str(alert.kind) for alert in self.ledger.alerts()}

    def report_pins(self) -> Any:
        return next(r for r in self.ledger.releases(OEM) if r.is_production).pins

    def filed(self) -> int:
        return int(self.simulator.client.truth(OEM)["filed"])

    def _took(self, run_id: str, seconds: float) -> None:
        with self.ledger._engine.begin() as connection:
            connection.execute(
                text("UPDATE attempts SET ended_at = started_at + :took * interval '1 second' WHERE run_id = :run"),
                {"took": seconds, "run": run_id},
            )


@pytest.fixture
def world(ledger: Ledger, database_url: str, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        made = World(ledger, database_url, stack.enter_context(Simulator()), tmp_path)
        stack.callback(made.instance.dispose)
        yield made


def test_the_life_of_a_release(world: World) -> None:
    # A pack is seen with its adapter: a candidate, and at once verified by the pilot dealer. Everybody else waits.
    first = load_pack(world.selectors, OEM).version
    waiting = world.come_due(OTHER)
    world.tick()
    assert world.states() == {first: ReleaseState.VERIFYING}
    assert world.due() == []
    world.clean_runs(2)
    assert world.metadata("state") == "verifying"
    assert (world.check("clean_run_streak").description or "").startswith("●●○○○")

    # A step fails, because the portal renamed a label since it was probed: back to 0, with the reason.
    world.portal_renames_the_vin()
    failed = world.come_due(PILOT)
    assert world.run(failed) == State.DEAD
    assert world.tick() == []
    shown = world.show()
    assert (shown["streak"], shown["needed"], shown["runs"][-1]["clean"]) == (0, 5, False)
    assert "PAGE_CONTRACT_MISMATCH" in shown["runs"][-1]["why_not"]
    assert "VIN" in shown["reset_by"]["why_not"]
    assert (world.check("clean_run_streak").description or "").startswith("○○○○○")

    # The engineer lets a probe write the next pack, and releases it. The first streak is worth nothing for it.
    second = world.propose_and_release_the_next_pack()
    world.tick()
    assert world.states() == {first: ReleaseState.RETIRED, second: ReleaseState.VERIFYING}
    let_pass(world.ledger, 0.1)  # the breaker that the failed step opened lets a probe through
    world.clean_runs(4)
    assert world.states()[second] is ReleaseState.VERIFYING
    assert world.due() == []
    world.clean_runs(1)

    # Five clean runs: live for all dealers.
    assert world.states()[second] is ReleaseState.LIVE
    assert world.check("clean_run_streak").passed
    assert world.due() == [OTHER]
    assert world.run(waiting) == State.SYNCED
    shown = world.show()
    assert (shown["state"], shown["release"]["pack"], shown["baseline"]["n"]) == ("live", second, 6)

    # The portal takes the label back. The hourly probe is red before a single claim fails: nothing is filed any more.
    world.portal_takes_it_back()
    red = world.probe()
    assert red.red
    assert any("'Vehicle ID number' is now 'VIN'" in change.words for change in red.changes)
    world.tick()
    assert (world.states()[second], world.alerts()) == (ReleaseState.SUSPENDED, {"probe_red", "release_suspended"})
    assert "is now 'VIN'" in (world.check("clean_run_streak").description or "")
    waiting, filed = world.come_due(OTHER), world.filed()
    assert world.due() == []
    assert (world.run(waiting), world.filed()) == (State.READY, filed)  # nor does a backfill file it

    # The pack after the next verifies on the pilot while everybody is paused, and is promoted.
    third = world.propose_and_release_the_next_pack()
    world.tick()
    assert world.states() == {
        first: ReleaseState.RETIRED, second: ReleaseState.SUSPENDED, third: ReleaseState.VERIFYING,
    }  # fmt: skip
    world.clean_runs(5)
    assert world.states()[second] is ReleaseState.RETIRED
    assert (world.states()[third], world.alerts() & {"release_suspended"}) == (ReleaseState.LIVE, set())
    assert world.run(waiting) == State.SYNCED

    # Months later the portal takes 1.5 times as long: the check fails after some nine runs, people are told, and
    # claims go on being filed.
    world.quick_runs(34, SETTLED)
    world.tick()
    assert world.check("time_to_submit_drift").passed
    slow = 0
    while world.states()[third] is ReleaseState.LIVE:
        assert slow < 20
        world.quick_runs(1, 1.5 * SETTLED)
        slow += 1
        world.tick()
    assert 6 <= slow <= 14
    assert (world.states()[third], "drift" in world.alerts()) == (ReleaseState.DEGRADED, True)
    assert not world.check("time_to_submit_drift").passed
    assert "times as long as in the baseline" in (world.check("time_to_submit_drift").description or "")
    shown = world.show()
    assert (shown["state"], shown["baseline"]["frozen"], shown["baseline"]["n"]) == ("degraded", True, 30)
    world.come_due(OTHER)
    assert world.due() == [OTHER]
