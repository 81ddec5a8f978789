"""The table of scenarios: what the portal does, and how a claim may end then. A row is data; a play is a few lines.

Faults are those of `simulator/faults.py`. A row that asks for one which makes no sense for a skin is not applicable.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from oem_submissions.conformance import endings
from oem_submissions.conformance.endings import FILED, FILED_AGAIN, FOUND, REFUSED, Ending, dead, held
from oem_submissions.conformance.stage import Subject
from oem_submissions.conformance.trial import Trial, beside, differing, same_but_for_the_key
from oem_submissions.domain.reasons import REASONS, FailureClass, ReasonCode
from oem_submissions.services.submit import Partition

R = ReasonCode
DRIFT = tuple(code for code, reason in REASONS.items() if reason.failure_class is FailureClass.DRIFT)
BUSINESS = tuple(code for code, reason in REASONS.items() if reason.failure_class is FailureClass.BUSINESS)
SAMPLES = 12
"""Claims among which one is looked for that differs in a part of the business key."""


@dataclass(frozen=True)
class Fault:
    """How the portal misbehaves from then on."""

    name: str
    times: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Scenario:
    """One row. The default play: a claim comes due, the portal misbehaves, and everything goes on until it rests."""

    name: str
    portal: str
    """What the portal does, or what happens, as a sentence without its full stop."""
    expected: tuple[tuple[Ending, ...], ...]
    """The ways in which each claim may end; the last for all further claims. The first way is the one that is shown."""
    faults: tuple[Fault, ...] = ()
    if_possible: tuple[Fault, ...] = ()
    """Set where the skin has them; where not, its portal is like this anyway."""
    scene: bool = False
    """Whether another claim of the account was filed before: what proves absence needs one that is known."""
    play: Callable[[Trial, Scenario], None] | None = None
    kind: Callable[[Subject], str] | None = None
    """Which claim type it must be; any, by turns, when nothing is said."""
    not_for: Callable[[Subject], str | None] = lambda subject: None
    """Why it makes no sense for this adapter or skin, as the end of a sentence."""


def why_not(scenario: Scenario, subject: Subject) -> str | None:
    """Why the scenario makes no sense here; None when it does."""
    missing = (subject.skin.without.get(fault.name) for fault in scenario.faults)
    return next((why for why in missing if why), None) or scenario.not_for(subject)


def endings_of(scenario: Scenario, has_history: bool) -> Sequence[Sequence[Ending]]:
    """The ways in which each claim may end at this portal."""
    if has_history:
        return scenario.expected
    return [[endings.without_history(ending) for ending in one] for one in scenario.expected]


# --- plays ---


def play(trial: Trial, scenario: Scenario) -> None:
    """Act the scenario out."""
    (scenario.play or _until_it_rests)(trial, scenario)
    trial.portal_recovers()


def _set(trial: Trial, scenario: Scenario) -> None:
    possible = [f for f in scenario.if_possible if f.name not in trial.stage.subject.skin.without]
    trial.may_not_come |= {fault.name for fault in possible}
    for fault in (*scenario.faults, *possible):
        trial.portal_does(fault.name, fault.times, fault.seconds)


def _until_it_rests(trial: Trial, scenario: Scenario) -> None:
    if scenario.scene:
        trial.have_filed_one()
    trial.come_due()
    _set(trial, scenario)
    trial.until_all_rest()


def _every_type(trial: Trial, scenario: Scenario) -> None:
    for kind in trial.stage.subject.adapter.claim_types():
        trial.come_due(trial.make(kind))
    trial.until_all_rest()


def _refusable(trial: Trial, scenario: Scenario) -> None:
    made = trial.stage.subject.skin.refused(trial.make(), trial.today)
    assert made is not None, "a skin that refuses nothing is not applicable"
    trial.come_due(made)
    trial.come_due()
    trial.until_all_rest()


def _two_claims(trial: Trial, scenario: Scenario) -> None:
    trial.come_due()
    trial.come_due()
    _set(trial, scenario)
    trial.until_all_rest()
    path = trial.stage.subject.skin.login_path
    tried = [seen for seen in trial.stage.simulator.client.requests(path) if seen["method"] == "POST"]
    if len(tried) > 1:
        trial.notes.append(f"The portal saw {len(tried)} log-ins after the first was refused: that locks accounts.")


def _entered_twice(trial: Trial, scenario: Scenario) -> None:
    """One business claim, in two CRM records that agree in its business key only."""
    first = trial.make()
    trial.come_due(first)
    others = [trial.make() for _ in range(SAMPLES)]
    other = max(others, key=lambda made: sum(made[0].get(name) != value for name, value in first[0].items()))
    trial.come_due(same_but_for_the_key(first, other, _parts(trial)))
    trial.until_all_rest()


def _neighbours(trial: Trial, scenario: Scenario) -> None:
    """Claims that differ in one part of the business key each: every one is a claim of its own."""
    first, others = trial.make(), [trial.make() for _ in range(SAMPLES)]
    neighbours = [differing(first, others, part) for part in _parts(trial)]
    for made in (first, *filter(None, neighbours)):
        trial.come_due(made)
    trial.until_all_rest()


def _parts(trial: Trial) -> list[str]:
    return [name for name in trial.stage.subject.skin.kinds[trial.kind] if name != "dealer"]


def _early_look(trial: Trial, scenario: Scenario) -> None:
    """Filed, answer lost; the history lists it late, but within the time that the pack gives it."""
    late = max(0.0, trial.settle_minutes * 60 - 60)
    trial.have_filed_one()
    trial.come_due()
    _set(trial, scenario)
    trial.portal_does("history_late", seconds=late)
    trial.work()
    trial.later(2)  # a look that comes too early, and proves nothing
    trial.until_all_rest()


def _overnight(trial: Trial, scenario: Scenario) -> None:
    trial.come_due()
    _set(trial, scenario)
    trial.work()
    trial.later(2)
    trial.work()  # the history lists it without a reference
    trial.later(11 * 60)
    trial.portal_recovers()
    trial.stage.simulator.client.run_batch(trial.account.oem)
    trial.until_all_rest()


def _anothers_reference(trial: Trial, scenario: Scenario) -> None:
    with beside(trial) as other:
        other.come_due()
        other.until_all_rest()
        trial.others += [other.key(claim_id) for claim_id in other.claim_ids]
    trial.posts_before = trial.truth()["submit_posts"]
    _until_it_rests(trial, scenario)


def _killed_before_the_click(trial: Trial, scenario: Scenario) -> None:
    trial.come_due()
    trial.portal_does("slow", seconds=600, match=trial.account.username)
    with trial.worker():
        _posted(trial, trial.stage.subject.skin.login_path)
    _expect_loss(trial, R.WORKER_LOST_PRE_INTENT)


def _killed_after_the_click(trial: Trial, scenario: Scenario) -> None:
    trial.come_due()
    trial.portal_does("lost_response")
    paths = trial.stage.subject.skin.submit_paths
    with trial.worker():
        _posted(trial, paths[0])
    _expect_loss(trial, R.WORKER_LOST_POST_INTENT)


def _posted(trial: Trial, path: str) -> None:
    """Wait until something was sent there: a page may be at the path that it is sent to."""
    while trial.stage.simulator.client.expect_request(path, timeout=60)["method"] != "POST":
        pass


def _expect_loss(trial: Trial, reason: ReasonCode) -> None:
    trial.portal_recovers()
    lost = trial.miss_the_worker()
    found = [claim.reason for worker in lost for claim, _ in worker.left]
    if found != [reason]:
        said = ", ".join(str(code) for code in found) or "nothing"
        trial.notes.append(f"The worker's loss should be noted as {reason}; it was noted as {said}.")
    trial.until_all_rest()


def _backfill(trial: Trial, scenario: Scenario) -> None:
    trial.come_due()
    trial.until_all_rest()
    before = len(trial.stage.simulator.client.requests())
    year = trial.today.year
    periods = [trial.partition.period, *(f"{year}-{month:02d}-01" for month in range(1, 13))]
    for period in periods:
        trial.work(Partition(trial.account.oem, trial.account.dealer, period))
    if more := trial.stage.simulator.client.requests()[before:]:
        trial.notes.append(f"A backfill over filed claims asked the portal for {more[0]['path']}.")


def _with_files(subject: Subject) -> str:
    """The claim type that brings the most files."""
    return max(subject.adapter.claim_types(), key=lambda kind: _files_of(subject, kind))


def _files_of(subject: Subject, kind: str) -> int:
    chance = random.Random(kind)  # noqa: S311 - no secret
    return max(len(subject.skin.claim(kind, "D", chance, date(2026, 1, 31))[1]) for _ in range(SAMPLES))


def _no_files(subject: Subject) -> str | None:
    return None if _files_of(subject, _with_files(subject)) else "no claim of this portal has files"


def _takes_everything(subject: Subject) -> str | None:
    chance, today = random.Random(0), date(2026, 1, 31)  # noqa: S311 - no secret
    made = subject.skin.claim(subject.adapter.claim_types()[0], "D", chance, today)
    return None if subject.skin.refused(made, today) else "the skin has no claim that its portal refuses"


def _no_history(subject: Subject) -> str | None:
    knows = any(form.history for form in subject.pack.data.forms.values())
    return None if knows else "the portal has no history"


def _history_not_asked(subject: Subject) -> str | None:
    asked = any(form.confirmation.history for form in subject.pack.data.forms.values())
    return None if asked else "the pack does not ask the history at a confirmation"


# --- the table ---

ANY_DRIFT, LOST = dead(*DRIFT), Fault("reset_after_filing", times=1)
SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "plain", "the portal behaves, and every claim type of the adapter comes due", ((FILED,),), play=_every_type
    ),
    Scenario("files", "claims bring files", ((FILED,),), kind=_with_files, not_for=_no_files),
    Scenario("neighbours", "claims differ in one part of their business key each", ((FILED,),), play=_neighbours),
    Scenario(
        "entered twice",
        "one claim is entered twice in the CRM, alike in its business key only",
        (
            (FILED,),
            (dead(R.CRM_CONFLICT),),
        ),
        play=_entered_twice,
    ),
    Scenario("second run", "filed claims are run again, and backfilled over a year", ((FILED,),), play=_backfill),
    Scenario(
        "refused",
        "the portal refuses a claim, and takes the next one",
        (
            (
                REFUSED,
                dead(*BUSINESS),
            ),
            (FILED,),
        ),
        play=_refusable,
        not_for=_takes_everything,
    ),
    Scenario("slow", "the portal takes a second for every answer", ((FILED,),), (Fault("slow", times=8, seconds=1.0),)),
    Scenario(
        "maintenance", "the portal is under maintenance for a moment", ((FILED,),), (Fault("maintenance", times=1),)
    ),
    Scenario(
        "maintenance for good",
        "the portal stays under maintenance",
        ((dead(R.PORTAL_MAINTENANCE, R.PORTAL_UNAVAILABLE),),),
        (Fault("maintenance"),),
    ),
    Scenario(
        "log-in refused",
        "the portal refuses the log-in, with two claims due",
        ((dead(R.LOGIN_FAILED),),),
        (Fault("login_refused"),),
        play=_two_claims,
    ),
    Scenario(
        "second factor",
        "the portal asks for a mailed code that nobody has",
        ((dead(R.MFA_REQUIRED),),),
        (Fault("mfa"),),
        play=_two_claims,
    ),
    Scenario(
        "signed in elsewhere",
        "the log-in finds another live session of the account",
        ((FILED,),),
        (Fault("session_elsewhere", times=1),),
    ),
    Scenario(
        "ended from elsewhere",
        "the session is ended because the account signed in elsewhere",
        ((FILED,),),
        (Fault("ended_elsewhere", times=1),),
    ),
    Scenario(
        "session expired", "the session is over before the click", ((FILED,),), (Fault("session_expired", times=1),)
    ),
    Scenario(
        "expired at the click",
        "the session is over when the submit arrives",
        ((FILED_AGAIN,),),
        (Fault("expired_at_submit", times=1),),
        scene=True,
    ),
    Scenario(
        "wrong dealer", "the pages show another dealer's code", ((dead(R.DEALER_MISMATCH),),), (Fault("wrong_dealer"),)
    ),
    Scenario(
        "renamed label",
        "a label of the form reads differently",
        (
            (
                ANY_DRIFT,
                FILED,
            ),
        ),
        (Fault("renamed_label"),),
    ),
    Scenario(
        "moved button",
        "the submit button stands somewhere else",
        (
            (
                FILED,
                ANY_DRIFT,
            ),
        ),
        (Fault("moved_button"),),
    ),
    Scenario(
        "new required field",
        "the form has a new required field",
        ((dead(R.PAGE_CONTRACT_MISMATCH),),),
        (Fault("new_required_field"),),
    ),
    Scenario(
        "new hidden input",
        "the form has a new hidden input",
        ((dead(R.PAGE_CONTRACT_MISMATCH),),),
        (Fault("new_hidden_input"),),
    ),
    Scenario(
        "changed action",
        "the form goes to another address",
        ((dead(R.PAGE_CONTRACT_MISMATCH),),),
        (Fault("changed_action"),),
    ),
    Scenario(
        "dropped value",
        "a field drops what is filled in, and keeps what is typed",
        (
            (
                FILED,
                dead(R.FIELD_READBACK_MISMATCH),
            ),
        ),
        (Fault("drops_filled_value"),),
    ),
    Scenario(
        "script posts twice",
        "the page's script sends the submit twice",
        (
            (
                FILED,
                FOUND,
            ),
        ),
        (Fault("posts_twice"),),
    ),
    Scenario(
        "error before filing",
        "the submit answers 500, and nothing is filed",
        ((FILED_AGAIN,),),
        (Fault("error_before_filing", times=1),),
        scene=True,
    ),
    Scenario(
        "error after filing",
        "the claim is filed, then the submit answers 500",
        ((FOUND,),),
        (Fault("error_after_filing", times=1),),
    ),
    Scenario(
        "reset before filing",
        "the submit's connection is reset, and nothing is filed",
        ((FILED_AGAIN,),),
        (Fault("reset_before_filing", times=1),),
        scene=True,
    ),
    Scenario(
        "reset after filing", "the claim is filed, then its connection, used before, is reset", ((FOUND,),), (LOST,)
    ),
    Scenario(
        "reset on preconnected",
        "the claim is filed, then its connection, opened ahead, is reset",
        ((FOUND,),),
        (
            LOST,
            Fault("closes_connections"),
        ),
    ),
    Scenario(
        "lost response", "the claim is filed, and no answer ever comes", ((FOUND,),), (Fault("lost_response", times=1),)
    ),
    Scenario(
        "killed before the click",
        "the worker is killed while the log-in is slow",
        ((FILED,),),
        play=_killed_before_the_click,
    ),
    Scenario(
        "killed after the click",
        "the worker is killed while it waits for the answer",
        ((FOUND,),),
        play=_killed_after_the_click,
    ),
    Scenario(
        "no duplicate check",
        "the claim is filed, the answer is 500, and a second filing would be taken",
        ((FOUND,),),
        (Fault("error_after_filing", times=1),),
        if_possible=(Fault("no_duplicate_check"),),
    ),
    Scenario(
        "duplicate of ours",
        "the claim is filed, and the answer says that it exists already",
        ((FOUND,),),
        (Fault("duplicate_answer", times=1),),
    ),
    Scenario(
        "duplicate of another's",
        "the answer says that another's filing exists, and nothing is filed",
        ((held(filed=0),),),
        (Fault("duplicate_refused"),),
        scene=True,
    ),
    Scenario(
        "lying success",
        "the page shows a confirmation, and nothing is filed",
        ((FILED_AGAIN,),),
        (Fault("lying_success", times=1),),
        scene=True,
    ),
    Scenario(
        "draft number",
        "a draft is saved instead, and its number is shown",
        ((FILED_AGAIN,),),
        (Fault("draft_number", times=1),),
        scene=True,
    ),
    Scenario(
        "double processing",
        "one submit is filed twice, and one reference is shown",
        ((held(filed=2),),),
        (Fault("double_processing", times=1),),
        not_for=_no_history,
    ),
    Scenario(
        "reference missing",
        "the claim is filed, and no reference is shown",
        ((FOUND,),),
        (Fault("reference_missing", times=1),),
    ),
    Scenario(
        "two references",
        "the claim is filed, and a foreign reference is shown beside its own",
        ((FOUND,),),
        (Fault("two_references", times=1),),
    ),
    Scenario(
        "reference of another",
        "the claim is filed under a reference that another claim holds",
        ((held(),),),
        (Fault("reference_reused"),),
        play=_anothers_reference,
        not_for=_no_history,
    ),
    Scenario(
        "reference overnight",
        "the reference comes with the nightly run",
        ((FOUND,),),
        (Fault("reference_later", times=1),),
        play=_overnight,
    ),
    Scenario(
        "reference never",
        "the reference should come later, and never does",
        ((held(),),),
        (Fault("reference_later", times=1),),
    ),
    Scenario(
        "stuck in process",
        "the claim stays in process until the nightly run",
        ((FOUND,),),
        (Fault("stuck_in_process", times=1),),
        play=_overnight,
    ),
    Scenario(
        "listed late",
        "the answer is lost, and the history lists the claim late",
        ((FOUND,),),
        (LOST,),
        play=_early_look,
        not_for=_no_history,
    ),
    Scenario(
        "history broken",
        "the answer is lost, and the history finds nothing at all",
        ((held(),),),
        (
            LOST,
            Fault("history_empty"),
        ),
        scene=True,
    ),
    Scenario(
        "history down",
        "the answer is lost, and the history answers 500 for a moment",
        ((FOUND,),),
        (
            LOST,
            Fault("history_error", times=1),
        ),
    ),
    Scenario(
        "history down at once",
        "the claim is filed, and the history answers 500 for a moment",
        (
            (
                FOUND,
                FILED,
            ),
        ),
        (Fault("history_error", times=1),),
        not_for=_history_not_asked,
    ),
    Scenario(
        "another's under the key",
        "the answer is lost, and the history lists something else under the key",
        ((held(),),),
        (
            LOST,
            Fault("history_foreign"),
        ),
        not_for=_no_history,
    ),
    Scenario(
        "two hits",
        "the answer is lost, and the history lists the claim twice",
        ((held(),),),
        (
            LOST,
            Fault("history_twice"),
        ),
        not_for=_no_history,
    ),
)
