"""An account's whole history at the simulated portals: all pages, all types, or nothing. What is true they say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters import registry
from oem_submissions.domain.claims import ClaimModel
from oem_submissions.domain.dispositions import Disposition, Seen
from oem_submissions.domain.failures import ConfigurationError, StepFailed
from oem_submissions.domain.listing import Listing
from oem_submissions.domain.outcomes import Filed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.listing import decided
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.session import BrowserSession
from oem_submissions.ports import Submission
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.portal.parts import (
    SELECTORS,
    coop,
    delivery,
    file_claim,
    incentive,
    session,
    vin,
    warranty,
    with_pack,
)

LONG_AGO = timedelta(days=60)
KINDS = {"aurora": "warranty", "borealis": "coop", "cascade": "delivery_report"}
CLAIMS = {"aurora": warranty("RO-1"), "borealis": coop("INV-1"), "cascade": delivery(90)}


def key_in(simulator: Simulator, oem: str, number: int, dealer: str = "10234") -> str:
    """A filing that a person made."""
    fields: dict[str, dict[str, str]] = {
        "aurora": {"repair_order": f"HAND-{number}", "line": "1", "coverage": "basic", "vin": vin(number),
                   "your_reference": "", "claim_total": "12.50"},
        "borealis": {"fund": "2026", "activity": "print", "vendor": "By Hand", "vendor_invoice": f"HAND-{number}",
                     "claimed_amount": "9.00"},
        "cascade": {"vin": vin(number), "sale_sequence": "1", "sale_date": "2026-11-19"},
    }  # fmt: skip
    return simulator.client.key_in(oem, KINDS[oem], dealer, fields[oem])


def everything(opened: BrowserSession) -> Listing:
    return opened.list_history(datetime.now(UTC) - LONG_AGO)


def posts(simulator: Simulator, oem: str) -> int:
    return int(simulator.client.truth(oem)["submit_posts"])


@pytest.mark.parametrize("oem", CLAIMS)
def test_every_page_of_the_history_is_read_and_nothing_is_sent(
    oem: str, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    with session(chromium, simulator, oem) as opened:
        answer = file_claim(opened, CLAIMS[oem], "c1")
        assert isinstance(answer.outcome, Filed)
        by_hand = [key_in(simulator, oem, number) for number in range(22)]
        key_in(simulator, oem, 99, dealer="someone-else")
        before = posts(simulator, oem)
        listing = everything(opened)
        look = opened.look_up(Submission("c1", CLAIMS[oem], "k"))  # and a look finds it as before
        after = everything(opened)  # what the look left filtered is not taken for the whole
        assert posts(simulator, oem) == before == 1
    reference = answer.outcome.reference.value
    assert sorted(f.number or "" for f in listing.filings) == sorted([*by_hand, reference])
    assert (listing.pages, listing.complete, listing.others) == (3, True, 0)
    assert after.filings == listing.filings
    assert len(look.hits) == 1
    (ours,) = [filing for filing in listing.filings if filing.number == reference]
    assert ours.seen == Seen(Disposition.UNDECIDED, "Submitted")
    assert ours.submitted_at is not None
    assert abs(datetime.now(UTC) - ours.submitted_at) < timedelta(minutes=3)
    assert ours.our_reference == ("c1" if oem == "aurora" else None)


@pytest.mark.parametrize("oem", CLAIMS)
def test_a_listed_filing_is_like_its_claim_and_unlike_every_other(
    oem: str, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    with session(chromium, simulator, oem) as opened:
        file_claim(opened, CLAIMS[oem], "c1")
        key_in(simulator, oem, 5)
        filings = everything(opened).filings
    portal = chromium_portal(chromium, simulator, oem)
    claim = portal.likeness(Submission("c1", CLAIMS[oem], "k"))
    assert claim.identity is not None
    assert [claim.differs(filing.likeness) == () for filing in filings] == [False, True]
    assert [claim.identity == filing.likeness.identity for filing in filings] == [False, True]


def chromium_portal(chromium: BrowserRuntime, simulator: Simulator, oem: str) -> Any:
    runtime = BrowserRuntime(registry.adapter, SELECTORS, {oem: simulator.http_url})
    runtime.browser = chromium.browser  # type: ignore[method-assign]
    return runtime.portal(oem)


@pytest.mark.parametrize("oem", CLAIMS)
def test_the_decision_is_what_the_pack_says_the_word_means_and_a_new_word_is_unknown(
    oem: str, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    said = ["submitted", "suspended", "approved", "denied", "paid", "charged back", "under audit"]
    wanted = {key_in(simulator, oem, number): word for number, word in enumerate(said)}
    for reference, word in wanted.items():
        simulator.client.set_disposition(oem, reference, word)
    with session(chromium, simulator, oem) as opened:
        listing = everything(opened)
    seen = {wanted[f.number or ""]: f.seen for f in listing.filings}
    assert {word: one.disposition for word, one in seen.items() if one} == {
        "submitted": Disposition.UNDECIDED,
        "suspended": Disposition.SUSPENDED,
        "approved": Disposition.APPROVED,
        "denied": Disposition.DENIED,
        "paid": Disposition.PAID,
        "charged back": Disposition.CHARGED_BACK,
        "under audit": Disposition.UNRECOGNISED,
    }
    assert seen["under audit"] == Seen(Disposition.UNRECOGNISED, "Under audit")


def test_two_claim_types_in_one_list_are_read_once_and_told_apart(
    chromium: BrowserRuntime, simulator: Simulator
) -> None:
    claims: list[ClaimModel] = [delivery(1), incentive(2)]
    with session(chromium, simulator, "cascade") as opened:
        for number, claim in enumerate(claims):
            file_claim(opened, claim, f"c{number}")
        file_claim(opened, delivery(7, vin=vin(7, "9")))  # rejected: it stands in the list, and is no filing
        before = len(simulator.client.requests("/cascade/api/history"))
        listing = everything(opened)
        assert len(simulator.client.requests("/cascade/api/history")) == before + 1
    assert [filing.claim_type for filing in listing.filings] == ["incentive", "delivery_report"]
    assert listing.claim_types == ("delivery_report", "incentive")


def test_a_filing_without_its_reference_yet_is_listed(chromium: BrowserRuntime, simulator: Simulator) -> None:
    simulator.client.set_fault("borealis", "reference_later")
    with session(chromium, simulator, "borealis") as opened:
        file_claim(opened, coop("INV-1"))
        (filing,) = everything(opened).filings
    assert filing.number is None
    assert getattr(filing.reference, "reason", None) is ReasonCode.REFERENCE_MISSING
    assert "Pending" in filing.name


def test_an_empty_history_is_a_listing_too(chromium: BrowserRuntime, simulator: Simulator) -> None:
    with session(chromium, simulator, "aurora") as opened:
        listing = everything(opened)
    assert (listing.filings, listing.pages, listing.complete) == ((), 1, True)


@pytest.mark.parametrize("oem", ["aurora", "borealis", "cascade"])
def test_what_is_older_than_the_window_is_not_paged_through(
    oem: str, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    old = [key_in(simulator, oem, number) for number in range(30)]
    simulator.client.advance(20 * 86_400)
    new = [key_in(simulator, oem, number) for number in range(40, 45)]
    with session(chromium, simulator, oem) as opened:
        listing = opened.list_history(datetime.now(UTC) + timedelta(days=15))
    numbers = [filing.number for filing in listing.filings]
    assert set(new) <= set(numbers)
    assert listing.pages == 1
    assert len(set(numbers) & set(old)) == (0 if oem == "borealis" else 5)  # Borealis filters by day itself


def test_a_list_whose_pages_do_not_add_up_to_its_own_count_is_no_listing(
    chromium: BrowserRuntime, simulator: Simulator
) -> None:
    page = """<h1>My claims</h1><a href="/borealis/claims">My claims</a><a href="/borealis/balances">Fund balances</a>
        <a href="/borealis/logout">Sign out</a><form action="/borealis/claims"><label>Submitted from <input name=from>
        </label><button>Filter</button></form><p id=count>3 claims</p><p>No claims found.</p>"""
    with session(chromium, simulator, "borealis") as opened:
        assert everything(opened).filings == ()
        simulator.client.set_route("GET", "/borealis/claims", 200, page)
        with pytest.raises(StepFailed, match="says that it has 3 rows, and its pages show 0") as caught:
            everything(opened)
    assert caught.value.reason is ReasonCode.PAGE_CONTRACT_MISMATCH


def test_a_page_that_comes_twice_is_no_listing_although_the_count_is_right(
    chromium: BrowserRuntime, simulator: Simulator
) -> None:
    row = {"reference": "RDR-ABCDEFGH", "kind": "delivery_report", "vin": vin(1), "detail": "1",
           "sale_date": "2026-11-19", "submitted": "2026-11-20T10:00:00", "state": "Retailed",
           "disposition": "Submitted"}  # fmt: skip
    answer = json.dumps({"rows": [row], "page": 1, "pages": 2, "total": 2})
    simulator.client.set_route("GET", "/cascade/api/history", 200, answer, "application/json")
    with session(chromium, simulator, "cascade") as opened, pytest.raises(StepFailed) as caught:
        everything(opened)
    assert "shows 'RDR-ABCDEFGH' on two pages" in caught.value.text


def test_more_pages_than_the_pack_allows_are_an_error_and_no_short_listing(
    chromium: BrowserRuntime, simulator: Simulator, tmp_path: Path
) -> None:
    selectors = with_pack(tmp_path, "aurora", "        days: 395", "        days: 395\n        most_pages: 2")
    for number in range(21):
        key_in(simulator, "aurora", number)
    with session(chromium, simulator, "aurora", selectors=selectors) as opened, pytest.raises(StepFailed) as caught:
        everything(opened)
    assert "more than 2 pages" in caught.value.text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("heading: Status", "heading: Decision", "has no column 'Decision'"),
        ('"%m/%d/%Y %I:%M %p"', '"%Y-%m-%d"', "is no time like %Y-%m-%d"),
        (r"claim\(s\) found$", r"claims$", "which is no count of rows"),
    ],
)
def test_a_list_that_is_not_as_the_pack_says_is_drift(
    old: str, new: str, said: str, chromium: BrowserRuntime, simulator: Simulator, tmp_path: Path
) -> None:
    key_in(simulator, "aurora", 1)
    selectors = with_pack(tmp_path, "aurora", old, new)
    with session(chromium, simulator, "aurora", selectors=selectors) as opened, pytest.raises(StepFailed) as caught:
        everything(opened)
    assert said in caught.value.text
    assert caught.value.reason is ReasonCode.PAGE_CONTRACT_MISMATCH


def test_a_history_that_fails_or_files_by_itself_is_no_listing(chromium: BrowserRuntime, simulator: Simulator) -> None:
    with session(chromium, simulator, "aurora") as opened:
        simulator.client.set_fault("aurora", "history_error", times=1)
        with pytest.raises(StepFailed) as caught:
            everything(opened)
        assert caught.value.reason is ReasonCode.PORTAL_UNAVAILABLE
        script = "fetch('/aurora/claims', {method: 'POST'}).catch(() => 0)"
        page = f"""<h1>Claim history</h1><p id=count>0 claim(s) found</p><p>No claims match your search.</p>
            <script>{script}</script>"""
        simulator.client.set_route("GET", "/aurora/claims/history", 200, page)
        with pytest.raises(StepFailed, match="tried to submit, and was stopped"):
            everything(opened)
    assert posts(simulator, "aurora") == 0


@pytest.mark.parametrize(
    ("oem", "old", "new", "said"),
    [
        ("aurora", "        submitted: {heading: Submitted (UTC)", "        # {", "newest_first needs submitted"),
        ("aurora", "Suspended: SUSPENDED", "Suspended: UNRECOGNISED", "no text means UNRECOGNISED"),
        ("aurora", "Suspended: SUSPENDED", "Suspended: PERHAPS", "decisions.texts.Suspended"),
        ("aurora", "(?P<total>", "(?P<count>", "exactly one group, (?P<total>"),
        ("aurora", '%I:%M %p"}', '%I:%M %p", timezone: Chicago}', "not an IANA time zone"),
        ("borealis", "      go: {role: button, name: Filter}\n", "", "listing.since needs go"),
    ],
)
def test_a_listing_that_makes_no_sense_is_refused_in_one_sentence(
    oem: str, old: str, new: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_pack(with_pack(tmp_path, oem, old, new), oem)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_word_is_known_by_its_whole_cell_in_any_case() -> None:
    history = load_pack(SELECTORS, "aurora").form("warranty").history
    assert history is not None
    assert history.listing is not None
    decisions = history.listing.decisions
    assert decisions is not None
    assert decided(decisions, " CHARGED \n back ") == Seen(Disposition.CHARGED_BACK, "CHARGED back")
    assert decided(decisions, "Paid in part").disposition is Disposition.UNRECOGNISED
    assert decided(decisions, "").disposition is Disposition.UNRECOGNISED
    assert len(decided(decisions, "x" * 9000).text) == 500
