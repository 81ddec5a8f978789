# ruff: noqa: E501
"""The streak: every way a run can go, and random histories against a second, naive implementation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oem_submissions.domain.gate import NEEDED, ClaimInRun, FilingRun, Trouble, Verdict, judge, streak
from oem_submissions.domain.records import Event
from oem_submissions.domain.states import State

START = datetime(2026, 11, 10, 12, tzinfo=UTC)
HERE, THERE = "this run", "another run"
Link = tuple[str, State | None, State | None, str | None, dict[str, Any]]


def link(
    kind: str, to: State | None = None, *, source: State | None = None, run: str | None = HERE, **details: Any
) -> Link:
    return (kind, source, to, run, details)


def moved(source: State, to: State, run: str | None = HERE, **details: Any) -> Link:
    return link("moved", to, source=source, run=run, **details)


TAKEN = link("taken_in", State.READY, run=None)
STARTED = link("attempt_started")
KEPT = link("evidence_kept", name="pre_submit.webp")
ARMING = (STARTED, KEPT, moved(State.READY, State.PREPARED), moved(State.PREPARED, State.ARMED), link("sent"))
ANSWERED = (*ARMING, link("response"), KEPT)
CONFIRMED = (TAKEN, *ANSWERED, moved(State.ARMED, State.CONFIRMED))
SEALED = link("sealed", State.SEALED, source=State.CONFIRMED)
TOLD = link("crm_told", State.SYNCED, source=State.SEALED)
CLEAN = (*CONFIRMED, SEALED, TOLD)
REFUSED_AT_PORTAL = (
    TAKEN, *ANSWERED, moved(State.ARMED, State.REJECTED, reason="VALIDATION_REJECTED", text="too old"),
    link("sealed", State.REJECTED, source=State.REJECTED), link("crm_told", State.REJECTED, source=State.REJECTED),
)  # fmt: skip
REFUSED_BEFORE = (
    TAKEN, STARTED, moved(State.READY, State.DEAD, reason="VALIDATION_REJECTED", text="closed fund"),
    link("crm_told", State.DEAD, source=State.DEAD),
)  # fmt: skip
LOST_REPLY = moved(State.ARMED, State.OUTCOME_UNKNOWN, reason="OUTCOME_UNKNOWN", text="no answer", step="submit")
RECONCILED = (
    TAKEN, *ARMING, link("no_response"), LOST_REPLY, link("look_begun", State.RECONCILING),
    moved(State.RECONCILING, State.CONFIRMED), SEALED, TOLD,
)  # fmt: skip
FAILED_ONCE = link("attempt_failed", reason="SELECTOR_NOT_FOUND", text="the VIN is not there", step="fill")


@dataclass(frozen=True)
class Story:
    """What happened to a claim, where it stands, and what that says of its run. The oracle."""

    links: tuple[Link, ...]
    state: State
    verdict: Verdict
    warnings: tuple[str, ...] = ()
    rejection_expected: bool = False


STORIES = {
    "clean": Story(CLEAN, State.SYNCED, Verdict.CLEAN),
    "corrected in the CRM before": Story(
        (TAKEN, link("amended", State.READY, run=None), *CLEAN[1:]), State.SYNCED, Verdict.CLEAN
    ),
    "decided by the OEM since": Story((*CLEAN, link("disposition", run=THERE)), State.SYNCED, Verdict.CLEAN),
    "told to the CRM once more": Story(
        (*CLEAN, link("crm_told", State.SYNCED, source=State.SYNCED, run=THERE)), State.SYNCED, Verdict.CLEAN
    ),
    "refused as expected": Story(REFUSED_AT_PORTAL, State.REJECTED, Verdict.CLEAN, rejection_expected=True),
    "refused before the click as expected": Story(
        REFUSED_BEFORE, State.DEAD, Verdict.CLEAN, rejection_expected=True
    ),
    "refused": Story(REFUSED_AT_PORTAL, State.REJECTED, Verdict.UNCLEAN),
    "refused before the click": Story(REFUSED_BEFORE, State.DEAD, Verdict.UNCLEAN),
    "filed, and a refusal was expected": Story(CLEAN, State.SYNCED, Verdict.UNCLEAN, rejection_expected=True),
    "dead for another reason than the expected refusal": Story(
        (TAKEN, STARTED, moved(State.READY, State.DEAD, reason="LOGIN_FAILED", text="no"),
         link("crm_told", State.DEAD, source=State.DEAD)),
        State.DEAD, Verdict.UNCLEAN, rejection_expected=True,
    ),
    "tried twice": Story((TAKEN, STARTED, FAILED_ONCE, *CLEAN[1:]), State.SYNCED, Verdict.UNCLEAN),
    "tried before by another run": Story(
        (TAKEN, link("attempt_started", run=THERE), link("attempt_failed", run=THERE), *CLEAN[1:]),
        State.SYNCED, Verdict.UNCLEAN,
    ),
    "redriven by a person": Story((TAKEN, link("redriven", State.READY, run=None), *CLEAN[1:]), State.SYNCED, Verdict.UNCLEAN),
    "failed once, and waits": Story((TAKEN, STARTED, FAILED_ONCE), State.READY, Verdict.UNCLEAN),
    "reconciled": Story(RECONCILED, State.SYNCED, Verdict.UNCLEAN),
    "late evidence": Story(
        (*CONFIRMED, link("evidence_kept", run=THERE, name="history.webp"), SEALED, TOLD), State.SYNCED, Verdict.UNCLEAN
    ),
    "sealed by another run": Story(
        (*CONFIRMED, link("sealed", State.SEALED, source=State.CONFIRMED, run=THERE), TOLD), State.SYNCED, Verdict.UNCLEAN
    ),
    "told by another run": Story(
        (*CONFIRMED, SEALED, link("crm_told", State.SYNCED, source=State.SEALED, run=THERE)), State.SYNCED, Verdict.UNCLEAN
    ),
    "with a warning of the contract": Story(CLEAN, State.SYNCED, Verdict.UNCLEAN, warnings=("a new optional field",)),
    "changed while it was filed": Story(
        (TAKEN, STARTED, link("amended", State.READY, run=None), link("attempt_ended")), State.READY, Verdict.UNCLEAN
    ),
    "something nobody has thought of yet": Story((*CONFIRMED, link("blessed"), SEALED, TOLD), State.SYNCED, Verdict.UNCLEAN),
    "without an answer, yet confirmed": Story(
        (TAKEN, *ARMING, link("no_response"), moved(State.ARMED, State.CONFIRMED), SEALED, TOLD), State.SYNCED, Verdict.UNCLEAN
    ),
    "outcome unknown": Story((TAKEN, *ARMING, link("no_response"), LOST_REPLY), State.OUTCOME_UNKNOWN, Verdict.HELD),
    "reference later": Story(
        (TAKEN, *ANSWERED, moved(State.ARMED, State.AWAITING_REFERENCE, reason="REFERENCE_MISSING")),
        State.AWAITING_REFERENCE, Verdict.HELD,
    ),
    "armed": Story((TAKEN, *ARMING), State.ARMED, Verdict.UNDECIDED),
    "sealed, the CRM not told": Story((*CONFIRMED, SEALED), State.SEALED, Verdict.UNDECIDED),
}  # fmt: skip


def claim(name: str, story: Story, run_id: str, key: str) -> ClaimInRun:
    events = tuple(
        Event(key, number, START + timedelta(seconds=number), "worker", kind, source, to,
              {HERE: run_id, THERE: "other", None: None}[run], None, details, "", "")
        for number, (kind, source, to, run, details) in enumerate(story.links)
    )  # fmt: skip
    return ClaimInRun(f"{name}-{key}", key, story.state, events, story.warnings, story.rejection_expected)


def filing_run(number: int, names: Sequence[str], troubles: Sequence[Trouble] = (), again: bool = False) -> FilingRun:
    """A run over one claim per story, new ones, or (`again`) always the same."""
    run_id = f"run-{number}"
    keys = [f"{'same' if again else number}-{position}" for position in range(len(names))]
    made = tuple(claim(name, STORIES[name], run_id, key) for name, key in zip(names, keys, strict=True))
    return FilingRun(run_id, "10234", "2026-11-10", START + timedelta(minutes=number), made, tuple(troubles))


@pytest.mark.parametrize("name", STORIES)
def test_what_a_claim_says_of_its_run(name: str) -> None:
    judged = judge(filing_run(1, [name]))
    assert judged.verdict is STORIES[name].verdict
    assert bool(judged.why_not) is (judged.verdict is not Verdict.CLEAN)


def test_the_step_the_code_and_the_claim_are_named() -> None:
    judged = judge(filing_run(1, ["clean", "failed once, and waits"]))
    assert judged.claim_id == "failed once, and waits-1-1"
    assert judged.why_not.endswith("step fill, SELECTOR_NOT_FOUND: the VIN is not there")


def test_a_step_that_was_tried_again_makes_a_run_of_clean_claims_unclean() -> None:
    judged = judge(filing_run(1, ["clean"], [Trouble("sync_crm", "The CRM is down.")]))
    assert (judged.verdict, judged.why_not) == (Verdict.UNCLEAN, "step sync_crm: The CRM is down.")


def test_a_run_without_a_claim_counts_nothing_and_one_that_failed_before_its_first_claim_resets() -> None:
    clean = [filing_run(number, ["clean"]) for number in range(4)]
    assert streak([*clean, filing_run(4, [])]).count == 4
    assert streak([*clean, filing_run(4, [], [Trouble("submit_claims", "no log-in is set")])]).count == 0


def test_five_clean_runs_open_the_gate_and_four_do_not() -> None:
    runs = [filing_run(number, ["clean", "clean"]) for number in range(NEEDED)]
    assert (streak(runs).count, streak(runs).opens) == (NEEDED, True)
    assert not streak(runs[1:]).opens


def test_the_same_claims_again_prove_nothing_new() -> None:
    assert streak([filing_run(number, ["clean"], again=True) for number in range(NEEDED)]).count == 1


def test_a_run_that_ends_late_is_counted_where_it_started() -> None:
    """Five quick runs after a slow one that is still under way: its end decides."""
    slow = filing_run(3, ["sealed, the CRM not told"])
    runs = [filing_run(0, ["clean"]), filing_run(1, ["clean"]), slow, filing_run(4, ["clean"])]
    assert streak(runs).count == 1
    ended = replace(slow, claims=filing_run(3, ["clean"]).claims)
    assert streak([*runs[:2], ended, runs[3]]).count == 4
    failed = replace(slow, claims=filing_run(3, ["told by another run"]).claims)
    assert streak([*runs[:2], failed, runs[3]]).count == 1


def test_an_unknown_outcome_freezes_the_gate_until_it_is_resolved_and_then_resets_it() -> None:
    clean = [filing_run(number, ["clean"]) for number in range(NEEDED)]
    held = filing_run(-1, ["outcome unknown"])
    assert streak([held, *clean]).count == NEEDED
    assert not streak([held, *clean]).opens
    assert streak([filing_run(-1, ["reconciled"]), *clean]).opens


@st.composite
def histories(draw: st.DrawFn) -> list[FilingRun]:
    """Runs in the order of their starts; clean ones often enough for streaks to grow."""
    names = st.one_of(st.just("clean"), st.just("clean"), st.sampled_from(sorted(STORIES)))
    trouble = st.sampled_from([(), (), (), (), (Trouble("seal_evidence", "tried again"),)])
    return [
        filing_run(
            number, draw(st.lists(names, max_size=3)), draw(trouble), draw(st.booleans()) and draw(st.booleans())
        )
        for number in range(draw(st.integers(0, 14)))
    ]


@given(histories())
def test_random_histories_against_a_naive_count(runs: list[FilingRun]) -> None:
    found = streak(runs)
    count, opens = naive(runs)
    assert (found.count, found.opens) == (count, opens)


@given(histories(), st.integers(0, 13))
def test_nothing_but_clean_runs_ever_adds(runs: list[FilingRun], where: int) -> None:
    """Whatever is put in front of a history that ends in something unclean opens nothing."""
    spoilt = [*runs[:where], filing_run(99, ["tried twice"])]
    assert streak(spoilt).count == 0
    assert not streak(spoilt).opens


def naive(runs: Sequence[FilingRun]) -> tuple[int, bool]:
    """Forward, with a counter, from the oracle's table alone."""
    told = [(run, told_of(run)) for run in runs]
    decided = [(run, verdict) for run, verdict in told if verdict != "nothing"]
    waiting = bool(decided) and decided[-1][1] == "undecided"
    frozen = any(verdict == "held" for _, verdict in decided)
    while decided and decided[-1][1] == "undecided":
        decided = decided[:-1]
    row: list[FilingRun] = []
    for run, verdict in decided:
        row = [*row, run] if verdict == "clean" else []
    count, seen = 0, set[str]()
    for run in reversed(row):
        keys = {made.natural_key for made in run.claims}
        if keys - seen:
            count += 1
        seen |= keys
    return count, count >= 5 and not waiting and not frozen


def told_of(run: FilingRun) -> str:
    verdicts = {str(STORIES[made.claim_id.rsplit("-", 2)[0]].verdict) for made in run.claims}
    for verdict in ("held", "unclean"):
        if verdict in verdicts:
            return verdict
    if run.troubles:
        return "unclean"
    if "undecided" in verdicts:
        return "undecided"
    return "clean" if verdicts else "nothing"
