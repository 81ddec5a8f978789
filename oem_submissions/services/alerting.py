"""What is wrong, looked up and not remembered: dead letters, unknown outcomes, failing checks and runs, lost streaks.

Alerts of the moment (a breaker opens, a worker is lost) are raised where it happens. These here follow from what the
ledger holds, so that a crash between two lines loses nothing: the next look finds the same. Nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from oem_submissions.domain.alerting import KIND_OF_CHECK, NO_NEWS, TOLD_BY, Failing
from oem_submissions.domain.gate import Verdict, streak
from oem_submissions.domain.reasons import REASONS
from oem_submissions.domain.records import AlertKind, AlertSeverity, NewAlert
from oem_submissions.domain.releases import ReleaseState, deployed, verifying
from oem_submissions.domain.states import State
from oem_submissions.ports import ClaimRules, Ledger
from oem_submissions.services.hand_over import PREFIX, people_needed

DAEMON = "daemon"
"""The beat of Dagster's daemon: a sensor of ours was evaluated."""
SILENT = timedelta(minutes=5)
UNUSED = timedelta(minutes=30)
"""Who has not been seen by a deliverer for so long is no channel any more."""
_EXAMPLES = 5
_HELD_SHOWN = 1000
_UNDECIDED = frozenset({State.OUTCOME_UNKNOWN, State.RECONCILING, State.PROVEN_ABSENT, State.NEEDS_REVIEW})


def observe(ledger: Ledger, adapters: Mapping[str, ClaimRules], now: datetime | None = None) -> bool:
    """Open and resolve alerts as things stand, and note what people should be told by now; whether it was our turn."""
    with ledger.alone("observe alerts") as ours:
        if ours:
            for prefix, true in (
                ("dead letters ", dead_letters(ledger)),
                ("unknown ", unknown_outcomes(ledger)),
                ("streak ", lost_streaks(ledger, adapters.values())),
                ("scheduler ", silent_scheduler(ledger, now)),
                (PREFIX, people_needed(ledger)),
            ):
                ledger.settle_alerts(prefix, true, now)
            _forget_channels(ledger, now)
            failing = ledger.failing()
            is_open = {(alert.kind, alert.oem) for alert in ledger.alerts(limit=1000)}
            for prefix in ("check ", "run "):
                mine = [found for found in failing if found.subject.startswith(prefix)]
                ledger.settle_alerts(prefix, [new for one in mine if (new := _told(one, is_open, ledger))], now)
            ledger.advance_alerts(now)
    return ours


def dead_letters(ledger: Ledger) -> list[NewAlert]:
    """One per OEM and reason, with the claims that died last. Not with the portals' words: they may name a customer."""
    found = []
    for oem, reason, count in ledger.dead_reasons():
        lines = ledger.dead_lines(oem, reason, None, _EXAMPLES)
        last = lines[0].claim if lines else None
        text = f"{_claims(count)} of {oem} ended as dead letters."
        if reason is not None:
            text = f"{text[:-1]} with {reason}: {REASONS[reason].meaning}. {REASONS[reason].action}"
        ids = tuple(line.claim.claim_id for line in lines)
        key, run_id = f"dead letters {oem} {reason}", last.run_id if last else None
        found.append(NewAlert(key, AlertKind.DEAD_LETTERS, text, oem, None, run_id, ids, count=count))
    return found


def unknown_outcomes(ledger: Ledger) -> list[NewAlert]:
    """One per OEM; critical as soon as a person must decide."""
    by_oem: dict[str, list[tuple[str, State]]] = {}
    for held in ledger.held_claims(_UNDECIDED, _HELD_SHOWN):
        by_oem.setdefault(held.claim.oem, []).append((held.claim.claim_id, held.claim.state))
    found = []
    for oem, held_claims in sorted(by_oem.items()):
        review = [claim_id for claim_id, state in held_claims if state is State.NEEDS_REVIEW]
        text = f"Whether {_claims(len(held_claims))} of {oem} was filed can't be told: nothing is filed again."
        if review:
            text += f" {_claims(len(review))} must be decided by a person."
        severity = AlertSeverity.CRITICAL if review else AlertSeverity.WARNING
        ids = tuple([*review, *(claim_id for claim_id, _ in held_claims if claim_id not in review)][:_EXAMPLES])
        kind, count = AlertKind.UNKNOWN_OUTCOME, len(held_claims)
        found.append(NewAlert(f"unknown {oem}", kind, text, oem, None, None, ids, severity, count))
    return found


def lost_streaks(ledger: Ledger, adapters: Iterable[ClaimRules]) -> list[NewAlert]:
    """Of releases that are verifying and whose last telling run was not clean."""
    found = []
    for rules in adapters:
        trial = verifying(deployed(ledger.releases(rules.oem), rules.digest))
        if trial is None or trial.state is not ReleaseState.VERIFYING:
            continue
        seen = streak(ledger.release_runs(trial))
        telling = [judged for judged in seen.judgements if judged.verdict in (Verdict.CLEAN, Verdict.UNCLEAN)]
        if telling and telling[-1].verdict is Verdict.UNCLEAN:
            last = telling[-1]
            text = f"The streak of release {trial.name} of {rules.oem} is back at 0: {last.why_not}"
            key, ids = f"streak {rules.oem} {trial.name}", (last.claim_id,) if last.claim_id else ()
            count = sum(judged.verdict is Verdict.UNCLEAN for judged in telling)
            run = last.run
            found.append(
                NewAlert(key, AlertKind.STREAK_LOST, text, rules.oem, run.dealer, run.run_id, ids, count=count)
            )
    return found


def silent_scheduler(ledger: Ledger, now: datetime | None = None) -> list[NewAlert]:
    """Whether Dagster's daemon has fallen silent. One that never said a word may not be there at all."""
    last = ledger.last_sign_of_life(DAEMON)
    if last is None or (now or ledger.now()) - last < SILENT:
        return []
    text = f"Dagster's daemon has evaluated no sensor since {last:%Y-%m-%d %H:%M} UTC: nothing is enqueued."
    return [NewAlert("scheduler silent", AlertKind.SCHEDULER_SILENT, text, count=1)]


def _forget_channels(ledger: Ledger, now: datetime | None) -> None:
    """A channel that no deliverer has any more is not broken."""
    at = now or ledger.now()
    for state in ledger.alert_channels():
        if at - state.seen_at > UNUSED:
            ledger.resolve_alert(f"channel {state.channel}", now)


def _told(failing: Failing, is_open: set[tuple[AlertKind, str | None]], ledger: Ledger) -> NewAlert | None:
    """The alert of a check or job that fails; None when there is nothing new in it."""
    what, _, rest = failing.subject.partition(" ")
    asset, _, check = rest.partition(" ")
    if what == "check":
        if (check, failing.severity) in NO_NEWS:
            return None
        if any((kind, failing.oem) in is_open for kind in TOLD_BY.get(check, ())):
            return None
        kind, name = KIND_OF_CHECK.get(check, AlertKind.CHECK_FAILED), f"Check {check} of {asset} failed"
    else:
        kind, name = AlertKind.RUN_FAILED, f"A run of {rest} failed"
    where = ""
    if failing.examples:
        more = failing.count - len(failing.examples)
        partitions = "partition" if failing.count == 1 else f"{failing.count} partitions:"
        where = f" for {partitions} {', '.join(failing.examples)}{f' and {more} more' if more > 0 else ''}"
    text = f"{name}{where}. {failing.text}"
    dealer = failing.examples[0].partition("|")[0] if failing.count == 1 and "|" in "".join(failing.examples) else None
    ids, severity = _claims_of(failing, ledger), failing.severity if what == "check" else None
    return NewAlert(
        failing.subject, kind, text, failing.oem, dealer, failing.run_id, ids, severity=severity, count=failing.count
    )


def _claims_of(failing: Failing, ledger: Ledger) -> tuple[str, ...]:
    """Some claims of the partition that failed last: their pages lead to the evidence."""
    dealer, _, period = (failing.examples[0] if failing.examples else "").partition("|")
    if failing.oem is None or not period:
        return ()
    found = ledger.claims(failing.oem, dealer, period)
    worst = sorted(found, key=lambda claim: (claim.state is State.SYNCED, claim.claim_id))
    return tuple(claim.claim_id for claim in worst[:_EXAMPLES])


def _claims(count: int) -> str:
    return "1 claim" if count == 1 else f"{count:,} claims"
