"""Probes as a service, on a real ledger: whose account, which claims, what is kept, and who is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oem_submissions.domain.breaker import Position
from oem_submissions.domain.claims import WarrantyClaim, parse_claim
from oem_submissions.domain.contracts import Change, ProbedPage, ProbeFailure, ProbeRecord, ProbeReport, Severity
from oem_submissions.domain.contracts import probe_picture_key as picture_key
from oem_submissions.domain.evidence import Artifact
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import AlertKind
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import EvidenceUnavailable
from oem_submissions.services.probe import ProbeWork, dealer_to_probe, probe_account
from oem_submissions.settings import EnvironmentSecrets
from oem_submissions_tests.evidence.sealing import LEAK_GATE
from oem_submissions_tests.making import PINS, new_claim
from oem_submissions_tests.services.fakes import NOW, FakePortal
from oem_submissions_tests.services.runs import ACCOUNT, run

CHANGE = Change(Severity.BLOCK, "warranty", "form", "new required field 'Fuel type' after 'Odometer'")
SHOT = Artifact("warranty-form.webp", "image/webp", b"picture", NOW)
RED = ProbeReport((ProbedPage("warranty", "form", 0.3, (CHANGE,)),), (), {"warranty": "it is blocked"}, None, (SHOT,))
REFUSED = ProbeReport((), (), {}, ProbeFailure(ReasonCode.LOGIN_FAILED, "The portal refused the log-in.", "log in"))
GREEN = ProbeReport((ProbedPage("warranty", "form", 0.3),), ("warranty",), {})
KEY = "probe aurora v0001"


def probe(ledger: Ledger, portal: FakePortal, evidence: MemoryStore | None = None, **changes: Any) -> ProbeRecord:
    values: dict[str, Any] = {
        "oem": "aurora", "dealer": "10234", "run_id": "run-p", "worker": "worker-p", "ledger": ledger,
        "evidence": evidence or MemoryStore(), "portal": portal, "account": lambda: ACCOUNT,
        "parse": lambda payload: parse_claim(WarrantyClaim, payload), "lease_seconds": 60.0,
        "leak_gate": LEAK_GATE,
    }  # fmt: skip
    return probe_account(ProbeWork(**(values | changes)))


def test_a_red_probe_is_kept_told_once_and_resolved_by_a_green_one(ledger: Ledger) -> None:
    portal, evidence = FakePortal(probe_report=RED), MemoryStore()
    record = probe(ledger, portal, evidence)
    assert (record.red, record.changes, record.worst, record.reason) == (True, (CHANGE,), Severity.BLOCK, None)
    assert dict(record.stopped) == {"warranty": "it is blocked"}
    assert evidence.get(picture_key(record, SHOT.name)) == b"picture"
    probe(ledger, portal, evidence)
    (alert,) = ledger.alerts()
    assert (alert.key, alert.kind, alert.count, alert.dealer) == (KEY, AlertKind.PROBE_RED, 2, "10234")
    assert "new required field 'Fuel type' after 'Odometer' on page form" in alert.text
    portal.probe_report = GREEN
    green = probe(ledger, portal, evidence)
    assert (green.red, green.text) == (False, "Every page is as its contract says (warranty).")
    assert ledger.alerts() == []
    assert [record.red for record in ledger.probes("aurora")] == [False, True, True]
    assert ledger.last_probe("aurora", PINS.adapter_digest, PINS.pack_digest) == green
    assert ledger.last_probe("aurora", PINS.adapter_digest, "another") is None
    assert ledger.probes("borealis") == []
    assert portal.filed == []


def test_what_only_warns_is_green(ledger: Ledger) -> None:
    warning = replace(CHANGE, severity=Severity.WARN)
    record = probe(
        ledger, FakePortal(probe_report=replace(RED, pages=(ProbedPage("warranty", "form", 0, (warning,)),)))
    )
    assert (record.red, record.worst) == (False, Severity.WARN)
    assert ledger.alerts() == []


def test_a_refused_log_in_is_the_last_one_for_probes_too(ledger: Ledger) -> None:
    portal = FakePortal(probe_report=REFUSED)
    record = probe(ledger, portal)
    assert (record.red, record.reason, record.worst) == (True, ReasonCode.LOGIN_FAILED, None)
    assert ledger.breaker("aurora", "10234").position is Position.OPEN
    assert {alert.kind for alert in ledger.alerts()} == {AlertKind.ACCOUNT_REFUSED, AlertKind.PROBE_RED}
    with pytest.raises(StepFailed, match="Not tried"):
        probe(ledger, portal)
    assert (portal.log_ins, len(ledger.probes("aurora"))) == (1, 1)


def test_the_oldest_claim_that_is_to_be_filed_is_tried_else_the_newest_that_was_filed(ledger: Ledger) -> None:
    portal = FakePortal(probe_report=GREEN)
    probe(ledger, portal)
    filed = [ledger.add_claim(new_claim(number)).claim_id for number in (1, 2)]
    run(ledger, portal)
    probe(ledger, portal)
    ready = [ledger.add_claim(new_claim(number)).claim_id for number in (3, 4)]
    ledger.add_claim(new_claim(5, dealer="20000"))
    probe(ledger, portal)
    assert portal.probed == [[], [filed[1]], [ready[0]]]
    assert len(portal.filed) == 2


def test_the_account_is_held_meanwhile_and_given_back_and_no_person_is_asked_to_log_in(ledger: Ledger) -> None:
    seen: list[str] = []
    asks: list[bool] = []

    class Watching(FakePortal):
        def session(self, account: Any, *, attended: bool = True) -> Any:
            seen.extend(lease.dealer for lease in ledger.held_leases())
            asks.append(attended)
            return super().session(account)

    probe(ledger, Watching(probe_report=GREEN))
    assert (seen, ledger.held_leases(), asks) == (["10234"], [], [False])


def test_a_store_that_is_down_costs_the_picture_and_not_the_verdict(ledger: Ledger) -> None:
    class Down(MemoryStore):
        def put(self, key: str, data: bytes) -> None:
            raise EvidenceUnavailable("The store is down.")

    assert probe(ledger, FakePortal(probe_report=RED), Down()).red
    assert len(ledger.alerts()) == 1


def test_a_pilot_dealer_with_a_log_in_is_probed_first_and_one_that_is_busy_last(ledger: Ledger) -> None:
    names = {f"OEM_SUBMISSIONS_SECRET_PORTAL_AURORA_{dealer}_PASSWORD": "x" for dealer in ("D1", "D3", "D4")}
    secrets = EnvironmentSecrets(names)
    assert dealer_to_probe("aurora", ledger, secrets) is None
    ledger.import_dealers([("aurora", f"D{n}", None, n in (2, 4)) for n in (1, 2, 3, 4)])
    assert ledger.pilots("aurora") == ["D2", "D4"]
    assert dealer_to_probe("aurora", ledger, secrets) == "D4"
    lease = ledger.acquire_lease("aurora", "D4", "run", "worker", 60)
    assert lease is not None
    assert dealer_to_probe("aurora", ledger, secrets) == "D1"
    probe(ledger, FakePortal(probe_report=REFUSED), dealer="D1")
    assert dealer_to_probe("aurora", ledger, secrets) == "D3"
    probe(ledger, FakePortal(probe_report=REFUSED), dealer="D3")
    assert dealer_to_probe("aurora", ledger, secrets) == "D4"
    assert dealer_to_probe("borealis", ledger, secrets) is None
