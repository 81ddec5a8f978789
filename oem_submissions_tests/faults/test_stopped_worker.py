"""A real worker process that stands still past its lease (SIGSTOP), while another files its claim, and then goes on."""

from __future__ import annotations

import pytest

from oem_submissions.domain.lease_log import overlaps
from oem_submissions.domain.states import State
from oem_submissions_tests.faults.worker_process import run
from oem_submissions_tests.faults.world import World, wait_for
from oem_submissions_tests.services.runs import let_pass

DEALER = "32001"


@pytest.mark.parametrize(
    "point",
    ["after commit moved PREPARED", "after commit moved ARMED", "after commit sent"],
    ids=["before ARMED", "before SENT", "before the request is let go"],
)
def test_a_worker_that_stood_still_while_another_filed_its_claim_files_nothing_when_it_goes_on(
    world: World, point: str
) -> None:
    world.add_dealer(DEALER)
    with world.services() as services, services.portals("other") as portals:
        portal = portals.portal("aurora")
        _, known = world.add_claim(DEALER)
        run(services, known, "earlier", portal)  # what shows the others that the portal's history works
        claim, partition = world.add_claim(DEALER)
        zombie = world.start(partition, stops_at=point, lease_seconds=4, click_seconds=1, standstill_seconds=2)
        try:
            zombie.wait_until_stopped(60)
            wait_for(world.ledger.expired_leases, 30, "the lease to run out")
            for _ in range(2):
                run(services, partition, "other", portal)
                let_pass(world.ledger, 2)  # the portal's settle window, and more
            run(services, partition, "other", portal)
            before = world.ledger.claim(claim.claim_id)
            assert before is not None
            assert before.state is State.SYNCED
            assert world.filings()[claim.payload["repair_order"]] == 1
        finally:
            zombie.go_on()
        zombie.wait(60)
    assert world.filings()[claim.payload["repair_order"]] == 1
    assert world.simulator.client.truth("aurora")["submit_posts"] == 2
    assert world.ledger.claim(claim.claim_id) == before
    assert overlaps(world.ledger.lease_log()) == []
    assert world.ledger.held_leases() == []
