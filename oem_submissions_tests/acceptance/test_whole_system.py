"""A claim travels end to end; workers are killed; partitions are filed again. What counts is what the portals filed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from oem_submissions import wiring
from oem_submissions.cli.demo import Demo, outcome_document, run_to_the_end, running_demo
from oem_submissions.domain.evidence import bundle_key
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, Lease
from oem_submissions.domain.states import FILED, State
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.settings import PREFIX, read_settings
from oem_submissions.simulator.seed import seed_claims

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def again(home: Path, first: dict[str, Any]) -> Iterator[tuple[Demo, dict[str, Any]]]:
    """The second demo on this machine, by what the command calls, and its outcome; the system stays up for the tests.

    Leases are short, so that lost workers are found soon.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(f"{PREFIX}HOME", str(home))
        environment.setenv(f"{PREFIX}LEASE_SECONDS", "24")
        environment.setenv(f"{PREFIX}CLICK_SECONDS", "16")
        environment.setenv(f"{PREFIX}RETRY_SECONDS", "1")
        with running_demo(read_settings(), 1, None) as running:
            yield running, outcome_document(running, run_to_the_end(running))


@pytest.fixture
def demo(again: tuple[Demo, dict[str, Any]]) -> Demo:
    """The system of the second demo."""
    return again[0]


def test_a_second_demo_has_the_same_outcome_and_files_nothing_twice(
    again: tuple[Demo, dict[str, Any]], first: dict[str, Any]
) -> None:
    _, second = again
    apart = {"seconds", "releases"}
    assert {k: v for k, v in second.items() if k not in apart} == {k: v for k, v in first.items() if k not in apart}
    for document in (first, second):  # a busy machine may be slow enough for drift
        assert {release["state"] for release in document["releases"].values()} <= {"live", "degraded"}
    assert second["duplicates"] == 0
    assert sum(second["filed_at_portals"].values()) == sum(claim["reference"] is not None for claim in second["claims"])


def test_every_claim_ends_filed_or_with_its_reason(demo: Demo, first: dict[str, Any]) -> None:
    claims = first["claims"]
    assert len(claims) >= 18
    assert {c["oem"] for c in claims} == {"aurora", "borealis", "cascade"}
    endings = Counter((c["state"], c["reason_code"]) for c in claims if c["state"] != State.SYNCED)
    assert endings == {
        (State.REJECTED, ReasonCode.CUTOFF_PASSED): 1,  # Aurora says so after the click
        (State.DEAD, ReasonCode.CUTOFF_PASSED): 1,  # Borealis validates before it
        (State.DEAD, ReasonCode.PAYLOAD_INVALID): 1,
    }
    filed = Counter(c["oem"] for c in claims if c["state"] == State.SYNCED)
    assert first["filed_at_portals"] == filed
    assert first["duplicates"] == 0
    assert first["crm"]["synced"] == len(claims)


def test_the_references_are_those_that_the_portals_gave(demo: Demo, first: dict[str, Any]) -> None:
    given = {filing["reference"] for portal in demo.portals.truth().values() for filing in portal["filings"]}
    assert {c["reference"] for c in first["claims"] if c["reference"]} == given
    in_crm = {record["fields"]["Submission_Reference__c"] for record in demo.crm.records()} - {None}
    assert in_crm == given


def test_the_attachments_arrived_byte_for_byte(demo: Demo, first: dict[str, Any]) -> None:
    arrived = {
        file["sha256"]
        for portal in demo.portals.truth().values()
        for filing in portal["filings"]
        for file in filing["attachments"]
    }
    meant = {
        file["sha256"]
        for claim in demo.ledger.all_claims()
        if claim.state in FILED
        for file in claim.payload["attachments"]
    }
    assert meant
    assert arrived == meant


def test_every_bundle_verifies_and_its_link_opens(demo: Demo, first: dict[str, Any]) -> None:
    sealed = [claim for claim in demo.ledger.all_claims() if claim.bundle_digest]
    assert {claim.claim_id for claim in sealed} == {
        c["claim_id"] for c in first["claims"] if c["state"] in (State.SYNCED, State.REJECTED)
    }
    for claim in sealed:
        assert claim.bundle_digest is not None
        bundle = demo.services.evidence.get(bundle_key(claim.claim_id, claim.bundle_digest))
        verification = verify_bundle(bundle, claim.bundle_digest, wiring.trusted_keys(demo.up.settings))
        assert verification.findings == ()
    page = requests.get(next(c["evidence"] for c in first["claims"] if c["evidence"]), timeout=10)
    assert page.status_code == 200


def test_no_secret_is_in_the_database_the_logs_or_the_evidence(demo: Demo, first: dict[str, Any], home: Path) -> None:
    secrets = [
        value.encode()
        for name, value in demo.up.environment.items()
        if name.startswith(f"{PREFIX}SECRET_") and not name.endswith(("USERNAME", "CLIENT_ID"))
    ]
    assert secrets
    for folder in ("logs", "dagster", "evidence"):
        for file in (home / folder).rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                assert not any(secret in content for secret in secrets), file


def test_filing_a_partition_again_from_the_ui_files_nothing(demo: Demo, first: dict[str, Any]) -> None:
    before = demo.portals.truth()
    aurora = [c for c in first["claims"] if c["oem"] == "aurora"]
    keys = sorted({f"{c['dealer']}|{c['period']}" for c in aurora})[-2:]
    backfill = launch_backfill(demo, "aurora", keys)
    statuses = wait_for(lambda: finished_backfill(demo, backfill), 400)
    assert statuses == {"SUCCESS": len(keys)}
    after = demo.portals.truth()
    assert [after[oem]["filed"] for oem in after] == [before[oem]["filed"] for oem in before]
    assert after["aurora"]["submit_posts"] == before["aurora"]["submit_posts"]
    again = outcome_document(demo, 0)
    stable = ("claim_id", "state", "reference", "evidence")
    assert [[c[k] for k in stable] for c in again["claims"]] == [[c[k] for k in stable] for c in first["claims"]]


def test_a_worker_killed_before_the_click_costs_nothing(demo: Demo, first: dict[str, Any]) -> None:
    new = due_tomorrow(demo, "aurora", seed=41, dealers=2)
    demo.portals.set_fault("aurora", "slow", times=1, seconds=6)
    demo.ledger.request_enqueue("aurora", (), None, "test")
    kill(wait_for(lambda: next(iter(working_on(demo, "aurora", State.READY)), None), 120))
    run_to_the_end(demo)
    assert_filed_once(demo, new)


def test_a_claim_whose_worker_was_killed_past_the_click_is_found_in_the_history_and_never_filed_again(
    demo: Demo, first: dict[str, Any]
) -> None:
    new = due_tomorrow(demo, "aurora", seed=42, dealers=1)
    (dealer,) = {claim.dealer for claim in demo.ledger.all_claims("aurora") if claim.crm_record_id in new}
    demo.portals.clear_faults()
    demo.portals.set_fault("aurora", "lost_response", match=dealer, times=1, seconds=60)
    demo.ledger.request_enqueue("aurora", (), None, "test")

    def waiting_for_an_answer() -> Lease | None:
        leases = [lease for lease in working_on(demo, "aurora", State.ARMED) if lease.dealer == dealer]
        fired = any(fault["fired"] for fault in demo.portals.faults())
        return leases[0] if leases and fired else None

    kill(wait_for(waiting_for_an_answer, 120))
    run_to_the_end(demo)
    assert assert_filed_once(demo, new) == []
    lost = [claim for claim in demo.ledger.all_claims("aurora") if was_lost_past_the_click(demo, claim)]
    assert [claim.state for claim in lost] == [State.SYNCED]


def was_lost_past_the_click(demo: Demo, claim: Claim) -> bool:
    return any(
        event.details.get("reason") == ReasonCode.WORKER_LOST_POST_INTENT
        for event in demo.ledger.events(claim.claim_id)
    )


def due_tomorrow(demo: Demo, oem: str, seed: int, dealers: int) -> set[str]:
    """One more due claim of each of some dealers of an OEM; their CRM records."""
    seeded = seed_claims(seed, datetime.now(UTC).date())
    claims = list({claim["dealer"]: claim for claim in reversed(seeded) if claim["oem"] == oem}.values())[:dealers]
    before = {record["id"] for record in demo.crm.records()}
    demo.crm.seed(claims)
    new = {record["id"] for record in demo.crm.records()} - before
    wait_for(lambda: new <= {claim.crm_record_id for claim in demo.ledger.all_claims(oem)}, 60)
    return new


def working_on(demo: Demo, oem: str, state: State) -> list[Lease]:
    """Leases whose run has an open attempt at a claim in the state."""
    leases = {lease.run_id: lease for lease in demo.ledger.held_leases() if lease.oem == oem}
    open_runs = [
        claim.run_id
        for claim in demo.ledger.all_claims(oem, state)
        if any(attempt.ended_at is None for attempt in demo.ledger.attempts(claim.claim_id))
    ]
    return [leases[run] for run in open_runs if run in leases]


def kill(lease: Lease) -> None:
    """SIGKILL for the worker that holds the lease."""
    os.kill(int(lease.worker.rsplit(":", 1)[1]), signal.SIGKILL)


def assert_filed_once(demo: Demo, records: set[str]) -> list[ReasonCode | None]:
    """Each of the claims was filed exactly once, or refused, or is held and was filed at most once.

    Returns the reasons of the held.
    """
    filings = demo.portals.truth()["aurora"]["filings"]
    ours = Counter(filing["fields"]["your_reference"] for filing in filings)
    held = []
    for claim in demo.ledger.all_claims("aurora"):
        if claim.crm_record_id not in records:
            continue
        if claim.state is State.OUTCOME_UNKNOWN:
            held.append(claim.reason)
            assert ours[claim.claim_id] <= 1
        else:
            assert claim.state in (State.SYNCED, State.REJECTED), claim
            assert ours[claim.claim_id] == (claim.state is State.SYNCED)
    return held


def launch_backfill(demo: Demo, oem: str, keys: list[str]) -> str:
    """The mutation that the UI's dialog sends."""
    mutation = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
        ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
    assets = [{"path": [oem, name]} for name in ("submission_results", "evidence_bundles", "crm_sync")]
    params = {"assetSelection": assets, "partitionNames": keys, "tags": []}
    answer = graphql(demo, mutation, {"p": params})["launchPartitionBackfill"]
    assert "backfillId" in answer, answer
    backfill: str = answer["backfillId"]
    return backfill


def finished_backfill(demo: Demo, backfill: str) -> Counter[str] | None:
    """Its runs by status, once it is over."""
    query = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
        ... on PartitionBackfill { status runs(limit: 100) { status } } } }"""
    found = graphql(demo, query, {"id": backfill})["partitionBackfillOrError"]
    over = found["status"].startswith(("COMPLETED", "FAILED"))
    return Counter(run["status"] for run in found["runs"]) if over else None


def graphql(demo: Demo, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    answer = requests.post(
        f"{demo.up.addresses.dagster}/graphql", json={"query": query, "variables": variables}, timeout=30
    ).json()
    assert "errors" not in answer, answer
    data: dict[str, Any] = answer["data"]
    return data


def wait_for(look: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing after {seconds} s"
        time.sleep(0.2)  # another process's database is looked at; it sends no event
    return found
