"""A real worker process, killed at the writes that it makes; then others go on. Filed once.

At those that matter most; with `make test-thorough` at every one.
"""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from oem_submissions import wiring
from oem_submissions.domain.lease_log import overlaps
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.chain import broken_links
from oem_submissions.services.bound import Portals, Services
from oem_submissions_tests.breadth import THOROUGH
from oem_submissions_tests.faults.worker_process import ALIKE, OUTWARD, SLICE, SLICE_AFTER, run
from oem_submissions_tests.faults.world import World
from oem_submissions_tests.services.runs import let_pass


@dataclass
class Lane:
    """One dealer, whose workers die one after the other, each at the next write."""

    dealer: str
    after: bool
    only: tuple[str, ...]
    """As in `Job`."""
    killed: list[Claim] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)

    def go(self, world: World) -> None:
        """Until a worker survives: then every write was struck."""
        while True:
            claim, partition = world.add_claim(self.dealer)
            worker = world.start(partition, strike=len(self.killed) + 1, after=self.after, only=self.only)
            code = worker.wait(60)
            self.killed.append(claim)
            if code == 0:
                self.writes = worker.writes()
                assert len(self.killed) > len(self.writes), f"the worker survived its strike: {self.writes}"
                return
            assert code == -signal.SIGKILL, f"the worker ended by itself, with {code}, after {worker.writes()}"
            self._recover(world)

    def _recover(self, world: World) -> None:
        """So that the next worker finds nothing of this one's to put right, and dies at a write of its own."""
        world.expire_lease(self.dealer)
        with world.services() as services:
            services.recover("health", 0)


@pytest.mark.timeout(900)
def test_a_worker_killed_before_or_after_any_durable_write_leaves_a_claim_that_is_filed_once(world: World) -> None:
    before, after = ((), OUTWARD) if THOROUGH else (SLICE, SLICE_AFTER)
    lanes = [Lane("31001", False, before), Lane("31002", True, after)]
    for lane in lanes:
        world.add_dealer(lane.dealer)
    with ThreadPoolExecutor(len(lanes)) as pool:
        for done in [pool.submit(lane.go, world) for lane in lanes]:
            done.result()
    assert max(world.filings().values()) == 1
    with world.services() as services:
        with services.portals("resume") as portals:
            for lane in lanes:
                resume(lane, world, services, portals)
        for lane in lanes:
            check(lane, world, services)
    assert overlaps(world.ledger.lease_log()) == []
    assert world.ledger.held_leases() == []


def resume(lane: Lane, world: World, services: Services, portals: Portals) -> None:
    """Other workers go on: at once, and hours later. One more claim shows them that the portal's history works."""
    known, _ = world.add_claim(lane.dealer)
    lane.killed.append(known)
    partition = world.put_together(lane.dealer)
    for _ in range(2):
        let_pass(world.ledger, 2)
        run(services, partition, "resumer", portals.portal("aurora"))


def check(lane: Lane, world: World, services: Services) -> None:
    """Every claim filed exactly once, proven, and told; and every kind of write was among those that were struck."""
    filings = world.filings()
    for strike, claim in enumerate(lane.killed, 1):
        side = f"killed {'after' if lane.after else 'before'} write {strike} of {lane.writes}"
        now = world.ledger.claim(claim.claim_id)
        assert now is not None
        assert filings[claim.payload["repair_order"]] == 1, f"{side}: filed {filings[claim.payload['repair_order']]} x"
        assert now.state is State.SYNCED, f"{side}: {now.state} {now.reason_text}"
        assert broken_links(world.ledger.events(claim.claim_id)) == []
        told = services.crm.read_outcome(claim.crm_record_id)
        assert told is not None
        assert (told.status, told.reference, told.evidence_digest) == ("FILED", now.reference, now.bundle_digest), side
        bundle = services.evidence.get(f"bundles/{claim.claim_id}/{now.bundle_digest}.zip")
        assert verify_bundle(bundle, keys=wiring.trusted_keys(services.settings)).findings == (), side
    kinds = "; ".join(lane.writes)
    for kind in lane.only or (*OUTWARD, "lease", "PREPARED", "sent", "CONFIRMED", *ALIKE, "SEALED"):
        assert kind in kinds, f"the worker made no write like '{kind}': {lane.writes}"
