"""The judge of a chaos run can fail: whatever is planted, it calls by name. And the plan follows from its seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from oem_submissions.cli.chaos_faults import FAULTS, plan
from oem_submissions.cli.chaos_judge import Due, Evidence, Wrong, judge, key_of
from oem_submissions.domain.lease_log import LeaseEntry
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.simulator.faults import KINDS
from oem_submissions_tests.making import warranty_payload

_NOW = datetime(2026, 11, 10, 8, tzinfo=UTC)


def claim(state: State, reference: str | None = None, reason: ReasonCode | None = None) -> Claim:
    return Claim(
        claim_id="c1", oem="aurora", dealer="10234", period="2026-11-10", claim_type="warranty",
        crm_record_id="REC1", natural_key="k", payload={}, payload_sha256="", source_sha256="",
        due_on=date(2026, 11, 10), state=state, version=1, attempts=1, reason=reason, reason_text=None,
        reference=reference, reference_kind=None, run_id=None, bundle_digest=None, crm_version=None,
        created_at=_NOW, updated_at=_NOW, confirmed_at=None,
    )  # fmt: skip


def filing(reference: str = "WC-1", **changes: Any) -> dict[str, Any]:
    """As the portal's truth has it: fields as the form sent them."""
    return {
        "kind": "warranty",
        "dealer": "10234",
        "reference": reference,
        "fields": {"repair_order": "ro000001", "line": "1", **changes},
    }


def evidence(
    claims: Sequence[Claim], filings: Sequence[dict[str, Any]], told: str | None = None, log: Sequence[LeaseEntry] = ()
) -> Evidence:
    due = Due("REC1", "aurora", key_of("warranty", "10234", warranty_payload(1)))
    return Evidence([due], {"aurora": filings}, claims, {"REC1": told}, log, _NOW)


def wrongs(found: Evidence) -> list[Wrong]:
    return [finding.wrong for finding in judge(found).findings]


@pytest.mark.parametrize(
    ("state", "reference", "filings"),
    [
        (State.SYNCED, "WC-1", 1),
        (State.OUTCOME_UNKNOWN, None, 1),
        (State.OUTCOME_UNKNOWN, None, 0),
        (State.NEEDS_REVIEW, None, 0),
        (State.REJECTED, None, 0),
        (State.DEAD, None, 0),
    ],
)
def test_what_the_portal_and_the_ledger_agree_on_or_somebody_looks_at_is_no_finding(
    state: State, reference: str | None, filings: int
) -> None:
    judgement = judge(evidence([claim(state, reference)], [filing()] * filings))
    assert judgement.findings == []
    assert (judgement.claims, judgement.filed_once) == (1, filings)


@pytest.mark.parametrize("state", [State.SYNCED, State.OUTCOME_UNKNOWN, State.NEEDS_REVIEW])
def test_a_claim_that_the_portal_holds_twice_is_named_whatever_the_ledger_says(state: State) -> None:
    judgement = judge(evidence([claim(state, "WC-1")], [filing("WC-1"), filing("WC-2")]))
    assert [(f.wrong, f.claim_id) for f in judgement.findings] == [(Wrong.TWICE, "c1")]
    assert "WC-1, WC-2" in judgement.findings[0].sentence
    assert judgement.filed_once == 0


@pytest.mark.parametrize(
    ("known", "told", "why"),
    [
        ([claim(State.SYNCED, "WC-9")], "FILED", "SYNCED under WC-9"),
        ([claim(State.DEAD)], "FILED", "the CRM says FILED"),
        ([], None, "never heard of it"),
    ],
)
def test_a_claim_that_was_not_filed_and_of_which_nobody_would_hear_is_silent(
    known: list[Claim], told: str | None, why: str
) -> None:
    judgement = judge(evidence(known, [], told))
    assert [finding.wrong for finding in judgement.findings] == [Wrong.SILENT]
    assert why in judgement.findings[0].sentence


@pytest.mark.parametrize("state", [State.READY, State.PREPARED, State.ARMED, State.RECONCILING])
def test_a_claim_that_has_not_come_to_rest_is_silent_and_unfinished(state: State) -> None:
    assert wrongs(evidence([claim(state)], [])) == [Wrong.SILENT, Wrong.UNFINISHED]


@pytest.mark.parametrize("state", [State.DEAD, State.REJECTED])
def test_a_filing_of_a_claim_that_the_ledger_calls_not_filed_is_named(state: State) -> None:
    assert wrongs(evidence([claim(state)], [filing()])) == [Wrong.UNKNOWN]


def test_a_filing_that_no_record_asks_for_is_named() -> None:
    found = evidence([claim(State.SYNCED, "WC-1")], [filing(), filing("WC-7", repair_order="RO999")])
    assert wrongs(found) == [Wrong.UNKNOWN]


def test_a_reference_that_is_not_the_portals_is_named() -> None:
    assert wrongs(evidence([claim(State.SYNCED, "WC-2")], [filing("WC-1")])) == [Wrong.REFERENCE]


def test_leases_that_overlapped_and_leases_that_nobody_ended_are_named() -> None:
    first = LeaseEntry(
        _NOW - timedelta(minutes=5), "acquired", "aurora", "10234", "host:1", "run-1", 1, _NOW - timedelta(minutes=4)
    )
    second = replace(first, at=first.at + timedelta(seconds=30), fencing_token=2, worker="host:2")
    ended = replace(second, at=second.at + timedelta(seconds=1), kind="released")
    filed = [claim(State.SYNCED, "WC-1")]
    assert wrongs(evidence(filed, [filing()], log=[first, second, ended])) == [Wrong.OVERLAP, Wrong.ORPHAN]


def test_the_plan_follows_from_the_seed_alone() -> None:
    def dealt(seed: int) -> list[tuple[str, str, float, float]]:
        return [(s.fault.name, s.oem, s.die, s.pause) for s in islice(plan(seed, (1, 2)), 200)]

    assert dealt(7) == dealt(7)
    assert dealt(7) != dealt(8)


def test_every_fault_strikes_as_often_as_its_weight_in_each_deck() -> None:
    deck = sum(fault.weight for fault in FAULTS)
    dealt = Counter(strike.fault.name for strike in islice(plan(1, (1, 2)), deck))
    assert dealt == {fault.name: fault.weight for fault in FAULTS}


def test_faults_at_the_portals_are_the_simulators_own() -> None:
    assert {fault.name for fault in FAULTS if fault.at_portal} <= set(KINDS)
    assert not {"double_processing", "posts_twice"} & {fault.name for fault in FAULTS}
