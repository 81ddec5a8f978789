"""The release gate: five consecutive clean end-to-end runs, computed from what the ledger's chains say. Pure.

A run is clean when the chain of every claim that it worked on is, from the first attempt to the CRM's record, exactly
the way of a claim on which nothing went wrong. What the way does not list resets the streak, also what nobody has
thought of yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from oem_submissions.domain.reasons import REASONS, FailureClass, ReasonCode
from oem_submissions.domain.records import Event
from oem_submissions.domain.states import HELD, State

NEEDED = 5
"""Clean runs in a row that open the gate."""


class Verdict(StrEnum):
    """What a run says for the gate."""

    CLEAN = "clean"
    UNCLEAN = "unclean"
    UNDECIDED = "undecided"
    """It is under way: nothing is counted past it."""
    HELD = "held"
    """The outcome of a claim is unknown: the gate is frozen until it is resolved."""
    NOTHING = "nothing"
    """It worked on no claim: it counts as neither."""


@dataclass(frozen=True)
class Trouble:
    """A step of a run that failed, or was tried again."""

    step: str
    text: str


@dataclass(frozen=True)
class ClaimInRun:
    """A claim that a run attempted."""

    claim_id: str
    natural_key: str
    state: State
    """As it stands now."""
    events: tuple[Event, ...]
    """Its whole chain."""
    warnings: tuple[str, ...] = ()
    """Of the page's contract."""
    rejection_expected: bool = False
    """Declared before the run, as a test of the OEM's refusal."""


@dataclass(frozen=True)
class FilingRun:
    """A run that was let file with a release."""

    run_id: str
    dealer: str
    period: str
    started_at: datetime
    claims: tuple[ClaimInRun, ...]
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """A run, and what it says for the gate."""

    run: FilingRun
    verdict: Verdict
    why_not: str = ""
    claim_id: str | None = None
    """The claim that it is because of, if any."""


@dataclass(frozen=True)
class Streak:
    """Clean runs in a row, up to the last one that is decided."""

    count: int
    needed: int
    waits_for: str
    """Why the gate can't open now although enough runs are clean; empty when nothing is waited for."""
    judgements: tuple[Judgement, ...]
    """Every run, in the order of their starts."""

    @property
    def opens(self) -> bool:
        """Whether the gate opens."""
        return self.count >= self.needed and not self.waits_for

    @property
    def reset_by(self) -> Judgement | None:
        """The last run that set it back."""
        return next((judged for judged in reversed(self.judgements) if judged.verdict is Verdict.UNCLEAN), None)


def streak(runs: Sequence[FilingRun], needed: int = NEEDED) -> Streak:
    """The streak of a release. `runs` in the order of their starts: a run that ends early gains nothing by it."""
    judgements = tuple(judge(run) for run in runs)
    telling = [judged for judged in judgements if judged.verdict is not Verdict.NOTHING]
    while telling and telling[-1].verdict is Verdict.UNDECIDED:
        telling.pop()
    count, keys = 0, set[str]()
    for judged in reversed(telling):
        if judged.verdict is not Verdict.CLEAN:
            break
        new = {claim.natural_key for claim in judged.run.claims} - keys
        keys |= new
        count += bool(new)  # the same claim again proves nothing new
    return Streak(count, needed, _waits_for(judgements), judgements)


def _waits_for(judgements: Sequence[Judgement]) -> str:
    for judged in judgements:
        if judged.verdict is Verdict.HELD:
            return judged.why_not
    last = next((judged for judged in reversed(judgements) if judged.verdict is not Verdict.NOTHING), None)
    return last.why_not if last is not None and last.verdict is Verdict.UNDECIDED else ""


def judge(run: FilingRun) -> Judgement:
    """Whether the run was clean, and if not, which step it was and why."""
    found = [(*_judge_claim(claim, run.run_id), claim.claim_id) for claim in run.claims]
    for worst in (Verdict.HELD, Verdict.UNCLEAN):
        for verdict, why_not, claim_id in found:
            if verdict is worst:
                return Judgement(run, verdict, f"claim {claim_id}: {why_not}", claim_id)
    if run.troubles:
        return Judgement(run, Verdict.UNCLEAN, f"step {run.troubles[0].step}: {run.troubles[0].text}")
    for verdict, why_not, claim_id in found:
        if verdict is Verdict.UNDECIDED:
            return Judgement(run, verdict, f"claim {claim_id}: {why_not}", claim_id)
    return Judgement(run, Verdict.CLEAN if found else Verdict.NOTHING)


_BEFORE = frozenset({"taken_in", "amended"})
"""What may have happened to a claim before its first attempt."""
_BESIDE = frozenset({"disposition", "decision_overdue", "crm_told_disposition"})
"""What other runs only saw or told of a claim that was filed: it says nothing of the filing."""
_WAY = ("attempt_started", "PREPARED", "ARMED", "sent", "response", "CONFIRMED", "SEALED", "SYNCED")
_REFUSED_WAYS = (
    ("attempt_started", "PREPARED", "ARMED", "sent", "response", "REJECTED", "sealed REJECTED", "crm_told REJECTED"),
    ("attempt_started", "DEAD", "crm_told DEAD"),
)


def _judge_claim(claim: ClaimInRun, run_id: str) -> tuple[Verdict, str]:
    start = next((i for i, e in enumerate(claim.events) if e.kind == "attempt_started" and e.run_id == run_id), None)
    assert start is not None, "a run's claims are those that it attempted"
    if stranger := next((event for event in claim.events[:start] if event.kind not in _BEFORE), None):
        earlier = any(event.kind == "attempt_started" for event in claim.events[:start])
        what = "it was not its first attempt" if earlier else f"before it: {stranger.kind.replace('_', ' ')}"
        return Verdict.UNCLEAN, what
    ways = _REFUSED_WAYS if claim.rejection_expected else (_WAY,)
    done: list[str] = []
    for event in claim.events[start:]:
        if event.kind == "evidence_kept" and event.run_id == run_id:
            continue
        if event.kind in _BESIDE:
            continue
        if tuple(done) in ways:
            break  # what comes after the end of the way is another story
        done.append(_step(event))
        if event.run_id != run_id or not any(way[: len(done)] == tuple(done) for way in ways):
            return _strayed(claim, event, run_id)
        if claim.rejection_expected and not _is_business(event):
            return _strayed(claim, event, run_id)
    if claim.warnings:
        return Verdict.UNCLEAN, f"the page's contract warned: {claim.warnings[0]}"
    if tuple(done) in ways:
        return Verdict.CLEAN, ""
    if claim.state in HELD:
        return Verdict.HELD, f"it is {claim.state}, and the gate is frozen until that is resolved"
    return Verdict.UNDECIDED, f"it is {claim.state}, under way"


def _strayed(claim: ClaimInRun, event: Event, run_id: str) -> tuple[Verdict, str]:
    if claim.state in HELD:
        return Verdict.HELD, f"it is {claim.state}, and the gate is frozen until that is resolved"
    details = event.details
    if reason := details.get("reason"):
        step = f"step {details['step']}, " if details.get("step") else ""
        return Verdict.UNCLEAN, f"{step}{reason}: {details.get('text') or ''}".rstrip(": ")
    what = (event.to_state or event.kind).replace("_", " ")
    if event.run_id != run_id:
        return Verdict.UNCLEAN, f"{what} by {f'run {event.run_id}' if event.run_id else event.actor}, not by this run"
    return Verdict.UNCLEAN, f"{what}, which is not on the way of a clean run"


def _step(event: Event) -> str:
    """How the ways name it: a move by where it leads, the rest by its kind."""
    if event.kind in ("moved", "sealed", "crm_told") and event.to_state is not None:
        moved = event.from_state != event.to_state
        return event.to_state if moved else f"{event.kind} {event.to_state}"
    return event.kind


def _is_business(event: Event) -> bool:
    """Whether a refusal is the OEM's, and not trouble of ours. Other events have no reason."""
    reason = event.details.get("reason")
    return reason is None or REASONS[ReasonCode(reason)].failure_class is FailureClass.BUSINESS
