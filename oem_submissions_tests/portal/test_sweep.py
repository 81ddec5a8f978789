"""Sweep and dispositions on the simulated portals, over pages. What is true, the portal is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from adapters import registry
from oem_submissions.domain.claims import ClaimModel, parse_claim
from oem_submissions.domain.dispositions import Disposition
from oem_submissions.domain.evidence import attachment_key
from oem_submissions.domain.keys import canonical_json, sha256_hex
from oem_submissions.domain.records import Claim, NewClaim
from oem_submissions.domain.states import State
from oem_submissions.domain.sweeping import Kind
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.ports import Account
from oem_submissions.services.dispositions import poll_dispositions
from oem_submissions.services.history import Reader
from oem_submissions.services.release import OpenGate
from oem_submissions.services.submit import Partition, submit_partition
from oem_submissions.services.sweep import sweep_account
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.evidence.sealing import LEAK_GATE
from oem_submissions_tests.portal.parts import FILES, SELECTORS, SHORT, coop, delivery, vin, warranty
from oem_submissions_tests.portal.test_listing import KINDS, key_in
from oem_submissions_tests.services.runs import let_pass

CLAIMS: dict[str, tuple[ClaimModel, ClaimModel]] = {
    "aurora": (warranty("RO-1"), warranty("RO-2", vin=vin(2))),
    "borealis": (coop("INV-1"), coop("INV-2")),
    "cascade": (delivery(80), delivery(81)),
}
ACCOUNT = {"username": "jdoe", "password": "secret-pw-7"}


class World:
    """A ledger and one simulated portal, with two claims of ours in it that had time to be listed."""

    def __init__(self, oem: str, chromium: BrowserRuntime, simulator: Simulator, ledger: Ledger) -> None:
        self.oem, self.chromium, self.simulator, self.ledger = oem, chromium, simulator, ledger
        self.evidence = MemoryStore()
        simulator.client.add_account(oem, "10234", ACCOUNT["username"], ACCOUNT["password"], "Lakeside Motors")
        for number, claim in enumerate(CLAIMS[oem]):
            self.add(number, claim)
        self.file()
        let_pass(ledger, 2)
        self.first, self.second = ledger.all_claims(oem)

    def add(self, number: int, claim: ClaimModel) -> None:
        payload = claim.model_dump(mode="json")
        new = NewClaim(
            self.oem, "10234", "2026-11-10", claim.claim_type, f"REC{number}", claim.natural_key(self.oem), payload,
            date(2026, 11, 10), sha256_hex(canonical_json(payload)),
        )  # fmt: skip
        claim_id = self.ledger.add_claim(new).claim_id
        for attachment in claim.attachments:
            self.evidence.put(attachment_key(claim_id, attachment.sha256), FILES[attachment.name])

    def parse(self, payload: dict[str, Any]) -> ClaimModel:
        return parse_claim(registry.adapter(self.oem).claim_model, payload)

    @contextmanager
    def portal(self) -> Iterator[Any]:
        runtime = BrowserRuntime(registry.adapter, SELECTORS, {self.oem: self.simulator.http_url}, limits=SHORT)
        runtime.browser = self.chromium.browser  # type: ignore[method-assign]
        yield runtime.portal(self.oem)

    def file(self) -> None:
        with self.portal() as portal:
            filed = submit_partition(
                Partition(self.oem, "10234", "2026-11-10"), "run-1", "worker-1", ledger=self.ledger,
                evidence=self.evidence, portal=portal, gate=OpenGate(), account=self.account, parse=self.parse,
                lease_seconds=60, click_seconds=5, attempts_budget=3, look_hours=24, leak_gate=LEAK_GATE,
            )  # fmt: skip
        assert {claim.state for claim in filed} == {State.CONFIRMED}

    def account(self) -> Account:
        return Account(self.oem, "10234", **ACCOUNT)

    def reader(self, portal: Any) -> Reader:
        return Reader(
            self.oem, "10234", "run-2", "worker-2", self.ledger, portal, self.account, self.parse, 60.0, 21_600.0
        )

    def sweep(self) -> tuple[list[tuple[Kind, str | None]], bool]:
        """What was found, and whether that was conclusive."""
        with self.portal() as portal:
            sweep = sweep_account(self.reader(portal)).sweep
        return [(finding.kind, finding.reference) for finding in sweep.findings], sweep.conclusive

    def poll(self) -> dict[str, Disposition]:
        """By reference, what the OEM decided; read anew."""
        with self.ledger._engine.begin() as connection:
            connection.execute(text("ALTER TABLE history_reads DISABLE TRIGGER append_only"))
            connection.execute(text("UPDATE history_reads SET at = at - interval '1 hour'"))
        with self.portal() as portal:
            poll_dispositions(self.reader(portal))
        standings = self.ledger.standings(self.oem, "10234")
        return {str(self.claim(one).reference): standing.disposition for one, standing in standings.items()}

    def claim(self, claim_id: str) -> Claim:
        claim = self.ledger.claim(claim_id)
        assert claim is not None
        return claim

    def truth(self) -> dict[str, Any]:
        return self.simulator.client.truth(self.oem)


@pytest.fixture(params=CLAIMS)
def world(request: pytest.FixtureRequest, chromium: BrowserRuntime, simulator: Simulator, ledger: Ledger) -> World:
    return World(request.param, chromium, simulator, ledger)


def test_the_sweep_finds_what_people_did_behind_our_back_and_files_nothing(world: World) -> None:
    assert world.sweep() == ([], True)
    client = world.simulator.client
    by_hand = [key_in(world.simulator, world.oem, number) for number in range(21)]
    assert sorted(world.sweep()[0]) == sorted((Kind.HAND_KEYED, reference) for reference in by_hand)
    for reference in by_hand:
        client.lose(world.oem, reference)
    first = next(f for f in world.truth()["filings"] if f["reference"] == world.first.reference)
    again = client.key_in(world.oem, KINDS[world.oem], "10234", {**first["fields"], "your_reference": ""})
    assert world.sweep() == ([(Kind.DUPLICATE, again)], True)
    client.lose(world.oem, again)
    client.lose(world.oem, str(world.second.reference))
    assert world.sweep() == ([(Kind.MISSING, world.second.reference)], True)
    client.set_fault(world.oem, "history_empty")
    assert world.sweep() == ([], False)
    client.clear_faults()
    client.set_fault(world.oem, "history_error")
    assert world.sweep() == ([], False)
    assert (world.truth()["submit_posts"], world.truth()["filed"]) == (2, 1)
    assert world.ledger.all_claims(world.oem) == [world.first, world.second]
    assert world.ledger.held_leases() == []


def test_decisions_are_polled_over_all_pages_and_told_apart(world: World) -> None:
    first, second = str(world.first.reference), str(world.second.reference)
    assert world.poll() == {first: Disposition.UNDECIDED, second: Disposition.UNDECIDED}
    for number in range(12):
        key_in(world.simulator, world.oem, number)  # ours stand on the second page
    world.simulator.client.set_disposition(world.oem, first, "approved")
    world.simulator.client.set_disposition(world.oem, second, "under audit")
    assert world.poll() == {first: Disposition.APPROVED, second: Disposition.UNRECOGNISED}
    world.simulator.client.set_disposition(world.oem, first, "paid")
    world.simulator.client.set_disposition(world.oem, second, "denied")
    assert world.poll() == {first: Disposition.PAID, second: Disposition.DENIED}
    assert world.truth()["submit_posts"] == 2
    assert world.ledger.all_claims(world.oem) == [world.first, world.second]
