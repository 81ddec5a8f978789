"""The sweep on a real ledger, with a portal that knows what was filed: every finding, and what proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text, update

from oem_submissions.domain.claims import WarrantyClaim, parse_claim
from oem_submissions.domain.dispositions import Disposition, Seen
from oem_submissions.domain.failures import LeaseLost, StepFailed
from oem_submissions.domain.keys import claim_id
from oem_submissions.domain.listing import ListedFiling
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.domain.sweeping import Finding, Kind, Sweep
from oem_submissions.ledger.store import Ledger
from oem_submissions.ledger.tables import claims, dealers
from oem_submissions.services.history import Reader
from oem_submissions.services.sweep import Swept, sweep_account
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import ACCOUNT, PARTITION, expire_leases, let_pass, run

DOWN = StepFailed(ReasonCode.PORTAL_UNAVAILABLE, "The portal answered HTTP 500.", "look up")
DENIED = Seen(Disposition.DENIED, "Denied")


def reader(ledger: Any, portal: FakePortal, **changes: Any) -> Reader:
    values: dict[str, Any] = {
        "oem": "aurora", "dealer": PARTITION.dealer, "run_id": "run-s", "worker": "worker-s", "ledger": ledger,
        "portal": portal, "account": lambda: ACCOUNT, "parse": lambda payload: parse_claim(WarrantyClaim, payload),
        "lease_seconds": 60.0, "poll_seconds": 21_600.0,
    }  # fmt: skip
    return Reader(**(values | changes))


def swept(ledger: Ledger, portal: FakePortal) -> Sweep:
    return sweep_account(reader(ledger, portal)).sweep


def only(sweep: Sweep) -> Finding:
    (finding,) = sweep.findings
    return finding


@pytest.fixture
def portal() -> FakePortal:
    return FakePortal()


@pytest.fixture
def filed(ledger: Ledger, portal: FakePortal) -> list[Claim]:
    """Three claims that were filed long enough ago, WC-000001 to WC-000003."""
    for number in (1, 2, 3):
        ledger.add_claim(new_claim(number))
        run(ledger, portal)
    let_pass(ledger, 2)
    found = ledger.all_claims("aurora")
    assert {claim.state for claim in found} == {State.CONFIRMED}
    return sorted(found, key=lambda claim: claim.reference or "")


def lists(portal: FakePortal, change: Callable[[list[ListedFiling]], list[ListedFiling]]) -> None:
    portal.rows = lambda portal: change(portal.everything())


def test_a_history_that_is_as_the_ledger_says_has_no_finding_and_nothing_is_moved(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    sweep = swept(ledger, portal)
    assert (sweep.findings, sweep.conclusive) == ((), True)
    assert ledger.last_sweep("aurora", "10234") == sweep
    assert ledger.all_claims("aurora") == filed
    assert portal.filed == [claim.natural_key for claim in filed]
    assert portal.listed_since[0] < datetime.now(UTC) - timedelta(days=390)


# --- what the portal has, and the ledger has not ---


def test_what_a_person_keyed_in_is_reported_without_alarm(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    portal.filed.append("aurora:warranty:10234:BYHAND:1:BASIC")
    finding = only(swept(ledger, portal))
    assert (finding.kind, finding.reference, finding.kind.serious) == (Kind.HAND_KEYED, "WC-000004", False)
    assert finding.cells == {"Claim number": "WC-000004", "Total": "1.00"}
    assert only(ledger.last_sweep("aurora", "10234") or Sweep((), True, "")) == finding


def test_what_was_keyed_in_before_our_time_is_none_of_our_business(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    with ledger._engine.begin() as connection:
        connection.execute(update(dealers).values(first_seen_at=text("clock_timestamp() - interval '1 day'")))
    now = datetime.now(UTC)
    old = portal.row("WC-000900", "BYHAND1", at=now - timedelta(days=3))
    new = portal.row("WC-000901", "BYHAND2", at=now - timedelta(hours=2))
    lists(portal, lambda rows: [*rows, old, new])
    assert only(swept(ledger, portal)).reference == "WC-000901"


def test_a_filing_that_carries_an_id_of_ours_that_nobody_knows_is_a_lost_one(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    ours = claim_id("aurora", "a record of another database")
    portal.filed.append("aurora:warranty:10234:RO9:1:BASIC")
    portal.carried["WC-000004"] = ours.upper()
    finding = only(swept(ledger, portal))
    assert (finding.kind, finding.claim_id, finding.kind.serious) == (Kind.LOST, ours, True)


@pytest.mark.parametrize("carries", [True, False], ids=["by our reference", "by the natural key"])
def test_a_filing_of_a_claim_that_the_ledger_believes_unfiled_is_a_lost_one(
    carries: bool, ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    claim = ledger.add_claim(new_claim(7))
    portal.filed.append(str(claim.natural_key))
    if carries:
        portal.carried["WC-000004"] = claim.claim_id
    finding = only(swept(ledger, portal))
    assert (finding.kind, finding.claim_id, finding.reference) == (Kind.LOST, claim.claim_id, "WC-000004")
    assert "READY in the ledger" in finding.text
    assert ledger.claim(claim.claim_id) == claim  # it is reported, not touched


def test_a_held_claim_is_the_looks_business(ledger: Ledger, portal: FakePortal, filed: list[Claim]) -> None:
    ledger.add_claim(new_claim(7))
    portal.lose_reply = True
    run(ledger, portal)
    assert len(portal.filed) == 4
    assert swept(ledger, portal).findings == ()


# --- two filings for one claim ---


@pytest.mark.parametrize("carries", [True, False], ids=["ours filed twice", "keyed in besides"])
def test_two_filings_for_one_natural_key_are_a_duplicate(
    carries: bool, ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    portal.filed.append(portal.filed[0])
    if carries:
        portal.carried["WC-000004"] = filed[0].claim_id
    finding = only(swept(ledger, portal))
    assert (finding.kind, finding.claim_id) == (Kind.DUPLICATE, filed[0].claim_id)
    assert "WC-000004" in finding.text
    assert "WC-000001" in finding.text


def test_two_strange_filings_for_one_natural_key_are_a_duplicate_too(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    portal.filed += ["BYHAND", "BYHAND"]
    finding = only(swept(ledger, portal))
    assert (finding.kind, finding.claim_id) == (Kind.DUPLICATE, None)


def test_one_of_ours_that_stands_under_another_key_with_our_reference_is_a_duplicate(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    portal.filed.append("changed by the portal")
    portal.carried["WC-000004"] = filed[0].claim_id
    finding = only(swept(ledger, portal))
    assert (finding.kind, finding.claim_id, finding.reference) == (Kind.DUPLICATE, filed[0].claim_id, "WC-000004")


def test_a_second_filing_without_its_reference_yet_is_a_duplicate(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    lists(portal, lambda rows: [*rows, portal.row("", portal.filed[0])])
    assert only(swept(ledger, portal)).kind is Kind.DUPLICATE


def test_a_filing_that_was_denied_may_be_followed_by_another(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    lists(portal, lambda rows: [*rows, portal.row("WC-000900", portal.filed[0])])
    portal.decisions["WC-000900"] = DENIED
    assert swept(ledger, portal).findings == ()


def test_a_row_that_is_shown_twice_while_the_list_grew_is_one_filing(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    lists(portal, lambda rows: [*rows, rows[-1]])
    assert swept(ledger, portal).findings == ()


# --- what the ledger has, and the portal has not ---


def test_a_filed_claim_that_is_not_listed_any_more_is_missing(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    lists(portal, lambda rows: [row for row in rows if row.number != "WC-000002"])
    finding = only(swept(ledger, portal))
    assert (finding.kind, finding.claim_id, finding.reference) == (Kind.MISSING, filed[1].claim_id, "WC-000002")


def test_a_claim_that_was_filed_just_now_need_not_be_listed(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    ledger.add_claim(new_claim(7))
    run(ledger, portal)
    lists(portal, lambda rows: [row for row in rows if row.number != "WC-000004"])
    assert swept(ledger, portal).findings == ()


def test_a_claim_from_before_the_portals_window_need_not_be_listed(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    with ledger._engine.begin() as connection:
        old = update(claims).where(claims.c.reference == "WC-000001")
        connection.execute(old.values(created_at=text("clock_timestamp() - interval '400 days'")))
    lists(portal, lambda rows: [row for row in rows if row.number != "WC-000001"])
    assert swept(ledger, portal).findings == ()


@pytest.mark.parametrize("rows", [[], ["BYHAND1", "BYHAND2"]], ids=["empty", "somebody else's"])
def test_a_history_that_shows_none_of_the_known_claims_proves_nothing_and_says_so(
    rows: list[str], ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    lists(portal, lambda _: [portal.row(f"WC-00090{number}", key) for number, key in enumerate(rows)])
    sweep = swept(ledger, portal)
    assert (sweep.findings, sweep.conclusive) == ((), False)
    assert "Nothing is concluded for warranty" in sweep.text


def test_a_list_that_may_end_too_soon_proves_nothing_of_what_is_older(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    lists(portal, lambda rows: [row for row in rows if row.number == "WC-000003"])  # the newest page only
    portal.complete = False
    with ledger._engine.begin() as connection:
        newest = update(claims).where(claims.c.reference == "WC-000003")
        connection.execute(newest.values(confirmed_at=text("confirmed_at + interval '30 minutes'")))
    sweep = swept(ledger, portal)
    assert sweep.findings == ()
    assert "2 claims are not listed, but neither is any older one" in sweep.text
    portal.complete = True  # the portal's own count says that this is the whole list
    assert {finding.kind for finding in swept(ledger, portal).findings} == {Kind.MISSING}


def test_trouble_of_the_portal_concludes_nothing_and_is_kept(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    portal.history_failures = [DOWN]
    done = sweep_account(reader(ledger, portal))
    assert done.trouble is DOWN
    assert (done.sweep.findings, done.sweep.conclusive) == ((), False)
    assert "HTTP 500" in done.sweep.text
    assert ledger.last_sweep("aurora", "10234") == done.sweep
    last = ledger.last_history_read("aurora", "10234")
    assert last is not None
    assert (last.reason, last.failures) == (ReasonCode.PORTAL_UNAVAILABLE, 1)
    assert swept(ledger, portal).conclusive
    last = ledger.last_history_read("aurora", "10234")
    assert last is not None
    assert (last.reason, last.failures) == (None, 0)


def test_a_refused_log_in_is_not_tried_again_by_the_next_sweep(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    portal.history_failures = [StepFailed(ReasonCode.LOGIN_FAILED, "Wrong password.", "log in")]
    sweep_account(reader(ledger, portal))
    again = sweep_account(reader(ledger, portal))
    assert again == Swept(again.sweep)
    assert "refused our log-in" in again.sweep.text
    assert len(portal.listed_since) == 1
    assert ledger.last_sweep("aurora", "10234") == again.sweep


# --- one reference, two stories ---


def test_a_reference_with_another_amount_than_ours_is_different(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    changed = portal.row("WC-000001", portal.filed[0], amount="9.99")
    lists(portal, lambda rows: [changed if row.number == "WC-000001" else row for row in rows])
    finding = only(swept(ledger, portal))
    assert (finding.kind, finding.claim_id) == (Kind.DIFFERENT, filed[0].claim_id)
    assert "another amount" in finding.text


def test_a_claim_that_is_listed_under_another_reference_is_different_and_not_missing_too(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    moved = portal.row("WC-000900", portal.filed[0])
    lists(portal, lambda rows: [moved if row.number == "WC-000001" else row for row in rows])
    finding = only(swept(ledger, portal))
    assert (finding.kind, finding.claim_id, finding.reference) == (Kind.DIFFERENT, filed[0].claim_id, "WC-000900")
    assert "WC-000001" in finding.text


def test_a_reference_of_another_dealer_is_different(ledger: Ledger, portal: FakePortal, filed: list[Claim]) -> None:
    other = new_claim(50, dealer="20345", crm_record_id="OTHER")
    ledger.add_claim(other)
    elsewhere = FakePortal(filed=["x"] * 50)
    run(ledger, elsewhere, partition=type(PARTITION)("aurora", "20345", "2026-11-10"))
    holder = ledger.claim_of_record("aurora", "OTHER")
    assert holder is not None
    assert holder.reference == "WC-000051"
    lists(portal, lambda rows: [*rows, portal.row("WC-000051", str(holder.natural_key))])
    finding = only(swept(ledger, portal))
    assert (finding.kind, finding.claim_id) == (Kind.DIFFERENT, holder.claim_id)
    assert "dealer 20345" in finding.text


# --- under the account's lease ---


def test_a_sweep_waits_for_no_filing_run_for_ever_and_never_shares_its_account(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    assert ledger.acquire_lease("aurora", "10234", "other", "other", 60) is not None
    with pytest.raises(LeaseLost, match="held by another worker"):
        sweep_account(reader(ledger, portal, lease_seconds=0.2))
    assert portal.listed_since == []
    assert ledger.last_sweep("aurora", "10234") is None


def test_a_sweep_that_takes_a_lost_workers_account_over_puts_its_claims_right(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    claim = ledger.add_claim(new_claim(7))
    lease = ledger.acquire_lease("aurora", "10234", "lost", "lost", 60)
    assert lease is not None
    ledger.start_attempt(claim, lease, portal.pins)
    expire_leases(ledger)
    assert swept(ledger, portal).findings == ()
    (attempt,) = ledger.attempts(claim.claim_id)
    assert attempt.reason is ReasonCode.WORKER_LOST_PRE_INTENT
    assert ledger.held_leases() == []


def test_a_portal_without_a_list_is_swept_without_a_conclusion_about_any_claim(
    ledger: Ledger, portal: FakePortal, filed: list[Claim]
) -> None:
    portal.listing_rules_ = None
    portal.rows = lambda _: []
    assert swept(ledger, portal).findings == ()
