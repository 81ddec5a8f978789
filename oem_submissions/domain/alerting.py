"""The rules of alerts as data: how much each kind matters, when people are told again, and what they should do.

Pure. `docs/alerts.md` shows this table, with an anchor per kind; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from oem_submissions.domain.records import Alert, AlertChange, AlertKind, AlertSeverity

_W, _C = AlertSeverity.WARNING, AlertSeverity.CRITICAL
_K = AlertKind


@dataclass(frozen=True)
class Rule:
    """How alerts of one kind are told."""

    severity: AlertSeverity
    escalate_hours: float
    """So long after it was raised an open alert becomes critical, and people are told once more."""
    repeat_hours: float
    """While it is open and counted on, people are told the new count, but not more often than this."""
    when: str
    next: str
    """What to do."""
    min_count: int = 1
    """Nobody is told before it is counted so often."""


RULES: Mapping[AlertKind, Rule] = {
    _K.WORKER_LOST: Rule(
        _W, 2, 6, "A worker stopped renewing its lease.",
        "Its claims are put right by themselves. If it happens again, see the run's log and the machine's memory.",
    ),
    _K.BREAKER_OPEN: Rule(
        _C, 2, 6, "An OEM's portal failed in the same way several times in a row: nothing is filed there.",
        "Look at the portal. It is probed, and goes on by itself; `oem-submissions breakers reset` does it at once.",
    ),
    _K.ACCOUNT_REFUSED: Rule(
        _C, 4, 24, "A portal refused a dealer's log-in: nobody logs in to that account any more.",
        "Set the right password, then run `oem-submissions breakers reset`.",
    ),
    _K.RELEASE_PASSED: Rule(
        _W, 48, 24, "A release has passed its gate and waits for a named approval.",
        "Look at its runs, then run `oem-submissions release approve`.",
    ),
    _K.RELEASE_SUSPENDED: Rule(
        _C, 4, 24, "A release files nothing any more: a red probe, a drift error, or a person's hand.",
        "Run `oem-submissions release show`, mend what it says, then `oem-submissions release resume`.",
    ),
    _K.STREAK_LOST: Rule(
        _W, 72, 24, "A run of a release that is verifying was not clean: its streak is back at 0.",
        "Look at the run that set it back, and mend the adapter or the selector pack.",
    ),
    _K.DRIFT: Rule(
        _W, 24, 24, "A release fails more often, or takes longer, than it did.",
        "Look at the OEM's page on the desk: has the portal changed, or is it slow?",
    ),
    _K.PROBE_RED: Rule(
        _W, 2, 6, "A walk through the portal found it otherwise than the selector pack says.",
        "Run `oem-submissions probe` and release a pack that fits; nothing is filed past a broken contract.",
    ),
    _K.CHECK_FAILED: Rule(
        _W, 8, 6, "An asset check failed; of severity ERROR it is critical. One alert per asset and check.",
        "Open the run and read the check's description; materialise the partitions again when it is mended.",
    ),
    _K.RUN_FAILED: Rule(
        _W, 8, 6, "A Dagster run failed, and nothing more exact tells why. One alert per job.",
        "Open the run. Materialising a partition again is always safe.",
    ),
    _K.DEAD_LETTERS: Rule(
        _W, 24, 6, "Claims ended before the click. One alert per OEM and reason.",
        "Run `oem-submissions dead-letters list`; mend the cause, then `oem-submissions dead-letters redrive`.",
    ),
    _K.UNKNOWN_OUTCOME: Rule(
        _W, 4, 6, "Whether claims were filed can't be told. Critical when a person must decide.",
        "They are looked up by themselves. For those in review run `oem-submissions review list`.",
    ),
    _K.QUEUE_AGE: Rule(
        _W, 2, 6, "The oldest work of an OEM waits for more than two intervals of its schedule.",
        "Look at the desk's queue page: is the daemon up, are slots free, is a breaker open?",
    ),
    _K.DEADLINE_AT_RISK: Rule(
        _C, 1, 4, "Claims will not be filed before their deadline if nothing changes.",
        "Raise the queue's limits, or run `oem-submissions enqueue` for these dealers now.",
    ),
    _K.EVIDENCE_LOG_BROKEN: Rule(
        _C, 1, 4, "The evidence log does not continue what was signed.",
        "Run `oem-submissions evidence audit`. Change nothing before its output is kept.",
    ),
    _K.SCHEDULER_SILENT: Rule(
        _C, 1, 4, "Dagster's daemon has evaluated no sensor for five minutes: nothing is enqueued.",
        "See that the daemon runs and reaches its database, and read its log.",
    ),
    _K.CHANNEL_BROKEN: Rule(
        _C, 4, 12, "An alert channel does not take messages. They are kept, and sent when it does.",
        "Mend the URL in the secret `alerts/urls`, then run `oem-submissions alerts test`.", min_count=2,
    ),
    _K.HEARTBEAT_FAILED: Rule(
        _W, 2, 6, "The address that is pinged while all is well does not answer.",
        "See that the secret `alerts/heartbeat_url` is right and its service is up.", min_count=3,
    ),
    _K.PERSON_NEEDED: Rule(
        _C, 1, 4, "A log-in waits for a person, for a limited time.",
        "Open the desk's page `/hand-overs`, take the log-in and do it; the run goes on by itself.",
    ),
}  # fmt: skip

KIND_OF_CHECK: Mapping[str, AlertKind] = {
    "queue_age": AlertKind.QUEUE_AGE,
    "log_consistent": AlertKind.EVIDENCE_LOG_BROKEN,
}
"""Checks whose failure has a kind of its own; the others are `CHECK_FAILED`."""

TOLD_BY: Mapping[str, frozenset[AlertKind]] = {
    "clean_run_streak": frozenset({_K.STREAK_LOST, _K.RELEASE_SUSPENDED, _K.BREAKER_OPEN}),
    "time_to_submit_drift": frozenset({_K.DRIFT}),
    "success_rate_drift": frozenset({_K.DRIFT, _K.RELEASE_SUSPENDED}),
    "portal_contract": frozenset({_K.PROBE_RED}),
    "no_unknown_outcomes": frozenset({_K.UNKNOWN_OUTCOME}),
}
"""Checks whose failure is not told while an alert of one of these kinds is open for the OEM: it is the same cause."""

NO_NEWS = frozenset({("clean_run_streak", AlertSeverity.WARNING)})
"""What fails while all goes as planned: a release that is verifying is not live yet."""


@dataclass(frozen=True)
class Finding:
    """How an asset check or a run ended, as Dagster's event log has it."""

    event: int
    """Dagster's number of it."""
    failed: bool
    check: tuple[str, str] | None
    """(asset, check); None: it is a run."""
    job: str
    partition: str
    """Empty without one."""
    severity: AlertSeverity
    run_id: str
    text: str
    oem: str | None = None

    @property
    def subject(self) -> str:
        """What it is a finding of, and its alert's key."""
        return f"check {self.check[0]} {self.check[1]}" if self.check else f"run {self.job}"


@dataclass(frozen=True)
class Failing:
    """The partitions of one subject whose newest finding is a failure."""

    subject: str
    oem: str | None
    count: int
    severity: AlertSeverity
    """The worst."""
    examples: tuple[str, ...]
    """Partitions, those that failed last first."""
    run_id: str
    text: str
    """Of the last failure."""


@dataclass(frozen=True)
class Transition:
    """A line of what people are told of an alert."""

    number: int
    at: datetime
    alert: Alert
    """As it is now; what follows is as it was then."""
    change: AlertChange
    severity: AlertSeverity
    count: int
    text: str
    channels: tuple[tuple[str, datetime], ...] = ()
    """Which took it, and when."""


@dataclass(frozen=True)
class ChannelState:
    """Where an alert channel stands."""

    channel: str
    """Scheme and host, never the URL."""
    added_at: datetime
    seen_at: datetime
    """When a deliverer last had it."""
    told: int
    sent_at: datetime | None
    failures: int
    """In a row."""
    failing_since: datetime | None
    next_try_at: datetime | None
    problem: str | None
    waiting: int = 0
    """Transitions that it was not told yet."""


def severity_of(kind: AlertKind, given: AlertSeverity | None) -> AlertSeverity:
    """As the rule says, if nothing else is given."""
    return given or RULES[kind].severity


def due_change(alert: Alert, now: datetime) -> AlertChange | None:
    """What people should be told of an open alert now, if anything."""
    rule = RULES[alert.kind]
    if alert.told_at is None:
        return AlertChange.RAISED if alert.count >= rule.min_count else None
    if alert.escalated_at is None and now - alert.raised_at >= timedelta(hours=rule.escalate_hours):
        return AlertChange.ESCALATED
    if alert.count > alert.told_count and now - alert.told_at >= timedelta(hours=rule.repeat_hours):
        return AlertChange.REPEATED
    return None
