"""A program that takes one OEM, as it is registered in this tree, from a candidate through the release gate.

Real PostgreSQL, Chromium, simulated portal, evidence; the CRM is the one in memory. Every run is one pilot dealer's
partition with one claim. It prints what was so before the first run and after each one, as JSON.
"""

from __future__ import annotations

import base64
import json
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from typing import Any

from oem_submissions import wiring
from oem_submissions.conformance.stage import Stage, browser, registered, set_up
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.domain.gate import NEEDED
from oem_submissions.services.bound import Portals, Services
from oem_submissions.services.release_report import release_report
from oem_submissions.services.submit import Partition
from oem_submissions.services.sweep import sweep_account
from oem_submissions.settings import EnvironmentSecrets, read_settings

PILOT, OTHER = "10234", "11560"
WORKER = "going live"


class Road:
    """One OEM on its way to live, and two dealers with claims: a pilot and another."""

    def __init__(self, stage: Stage, services: Services, portals: Portals, crm: MemoryCrm) -> None:
        self.stage, self.services, self.portals, self.crm = stage, services, portals, crm
        self.oem, self.today = stage.subject.oem, datetime.now(UTC).date()
        self._chance, self._runs = random.Random("going live"), 0

    def come_due(self, dealer: str, day: date) -> None:
        """A claim of a kind that the portal takes."""
        (kind, *_) = self.stage.subject.adapter.claim_types()
        payload, files = self.stage.subject.skin.claim(kind, dealer, self._chance, self.today)
        kept = [(file["name"], file["kind"], base64.b64decode(file["content"])) for file in files]
        self.crm.add(
            f"REC-{dealer}-{day}", oem=self.oem, dealer=dealer, claim_type=kind, due_on=day, payload=payload, files=kept
        )
        self.services.take_in()

    def run(self) -> Sequence[Partition]:
        """One run over the first partition that should be queued now, as Dagster makes it; all that should."""
        due = [Partition(work.oem, work.dealer, work.period) for work in self.services.due(self.oem, set())]
        self._runs += 1
        run_id = f"run-{self._runs}"
        portal, _ = self.services.filing_portal(self.portals, self.oem, due[0].dealer)
        self.services.submit(due[0], run_id, WORKER, portal)
        assert self.services.seal(due[0], run_id, WORKER) == []
        assert self.services.sync(due[0], run_id, WORKER) == []
        self.services.advance_release(self.oem)
        return due

    def read_all(self) -> dict[str, Any]:
        """What the pilot's whole history says: what a sweep finds, and the OEM's decisions, read with it."""
        portal = self.services.reading_portal(self.portals, self.oem)
        reader = self.services.reader(self.oem, PILOT, "run-reading", WORKER, portal)
        sweep = sweep_account(reader).sweep
        found = [self.stage.ledger.standing(claim.claim_id) for claim in self.stage.ledger.all_claims(self.oem)]
        decisions = [str(standing.disposition) for standing in found if standing]
        return {"conclusive": sweep.conclusive, "findings": len(sweep.findings), "decisions": decisions}

    def seen(self, enqueued: Sequence[Partition] = ()) -> dict[str, Any]:
        """Where the release stands, which dealers would be enqueued before the run, and what the portal has."""
        report = release_report(self.stage.ledger, self.stage.subject.adapter)
        assert report is not None
        return {
            "state": str(report.state),
            "clean_runs": report.streak.count,
            "enqueued": sorted({work.dealer for work in enqueued}),
            "filed": self.stage.simulator.client.truth(self.oem)["filed"],
        }


def go_live(road: Road) -> Iterator[dict[str, Any]]:
    """A candidate without a pilot; then runs of the pilot's until it is live; then one run more."""
    road.services.advance_release(road.oem)
    yield road.seen()
    road.stage.ledger.import_dealers([(road.oem, PILOT, None, True), (road.oem, OTHER, None, False)])
    road.services.advance_release(road.oem)
    road.come_due(OTHER, road.today)
    yield road.seen()
    for number in range(NEEDED):
        road.come_due(PILOT, road.today - timedelta(days=number))
        yield road.seen(road.run())
    yield road.seen(road.run())


@contextmanager
def on_the_road(oem: str) -> Iterator[Road]:
    """Everything that it takes."""
    subject = registered(oem, read_settings().selectors, None)
    with set_up(subject) as stage, browser(subject.adapter, stage.settings) as portals:
        variables, crm = {}, MemoryCrm()
        for dealer in (PILOT, OTHER):
            log_in = {"username": f"claims{dealer}", "password": f"Pw-{dealer}"}
            stage.simulator.client.add_account(oem, dealer, **log_in, dealer_name=f"Dealer {dealer}")
            variables |= {EnvironmentSecrets.where(f"portal/{oem}/{dealer}/{name}"): v for name, v in log_in.items()}
        parts: dict[str, Any] = {
            "ledger": stage.ledger, "crm": crm, "evidence": stage.evidence, "secrets": EnvironmentSecrets(variables),
            "adapters": {oem: subject.adapter}, "portals": lambda run_id: nullcontext(portals),
        }  # fmt: skip
        with wiring.build(stage.settings, **parts) as services:
            yield Road(stage, services, portals, crm)


def main() -> None:
    """`python -m oem_submissions_tests.acceptance.going_live OEM`."""
    with on_the_road(sys.argv[1]) as road:
        sys.stdout.write(json.dumps({"steps": list(go_live(road)), "history": road.read_all()}) + "\n")


if __name__ == "__main__":
    main()
