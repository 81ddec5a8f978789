"""A made-up release gate for the desk: a release that verifies, its runs, probes, drift; what operators asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from oem_submissions.desk.operating import Act, GateLine
from oem_submissions.domain.breaker import Breaker, Position
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.contracts import Change, ProbeRecord, Severity
from oem_submissions.domain.drift import baseline, success_drift, time_drift
from oem_submissions.domain.gate import FilingRun, Judgement, Streak, Verdict
from oem_submissions.domain.outcomes import Reference
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, Pins, RunMeasure
from oem_submissions.domain.releases import Cause, Entry, Note, Release
from oem_submissions.domain.scheduler_health import Health, Logs, Stuck, judge
from oem_submissions.domain.states import State
from oem_submissions.services import review
from oem_submissions.services.drifting import Drift
from oem_submissions.services.release_report import ReleaseReport

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\u202e{{ 7*7 }}"
WORSE = f"{HOSTILE}\x00\x1b[31m\ud800\u2066=HYPERLINK(1)"
"""With what neither PostgreSQL nor UTF-8 can hold."""
RUN = "3f0c6d1e-9a3b-4b8e-8b0c-52a4e1f0c7aa"
NOON = datetime(2026, 3, 2, 9, 14, tzinfo=UTC)
OEMS = ("aurora", "borealis", "cascade")
NEW, OLD = Pins("sha256:c0de", "v0003", "sha256:ba5e"), Pins("sha256:c0de", "v0002", "sha256:f00d")


def releases(oem: str) -> list[Release]:
    """Of aurora a new one that verifies, and one in production; the others have none."""
    if oem != "aurora":
        return []
    seen, trial = (
        Entry(3, NOON, Note.SEEN, None, "release gate", ""),
        "Pilot dealers D1042 verify it, one run at a time.",
    )
    log = (seen, Entry(4, NOON, Note.VERIFYING, None, "release gate", trial))
    live = (
        Entry(1, NOON, Note.SEEN, None, "release gate", ""),
        Entry(2, NOON, Note.PROMOTED, None, "release gate", "5 clean runs in a row."),
        Entry(5, NOON, Note.SUSPENDED, Cause.PERSON, "Ana", f"Ana: {HOSTILE}"),
    )
    return [Release(2, "aurora", NEW, log), Release(1, "aurora", OLD, live)]


def probes(oem: str) -> list[ProbeRecord]:
    """One that found changes, one that found none."""
    if oem != "aurora":
        return []
    changes = (
        Change(Severity.BLOCK, "warranty", "form", f"new required field '{HOSTILE}' after 'Odometer'"),
        Change(Severity.WARN, "warranty", "form", "the help text has moved"),
    )
    red = ProbeRecord(
        2, oem, "D1042", NEW, RUN, "Ana", NOON, 2.3, True, ReasonCode.PAGE_CONTRACT_MISMATCH, "It changed.", changes, {}
    )
    well = "Every page is as its contract says (warranty)."
    return [red, ProbeRecord(1, oem, "D1042", OLD, RUN, "schedule", NOON, 1.9, False, None, well, (), {})]


def streak() -> Streak:
    """Three clean runs after one that was not."""
    verdicts = [Verdict.CLEAN, Verdict.UNCLEAN, Verdict.CLEAN, Verdict.CLEAN, Verdict.CLEAN]
    judged = [
        Judgement(
            FilingRun(f"{number}{RUN[1:]}", "D1042", f"2026-03-0{number}", NOON + timedelta(days=number), ()),
            verdict,
            f"claim aurora-k3v7q2mxw5la: {HOSTILE}" if verdict is Verdict.UNCLEAN else "",
            "aurora-k3v7q2mxw5la" if verdict is Verdict.UNCLEAN else None,
        )
        for number, verdict in enumerate(verdicts, 1)
    ]
    return Streak(3, 5, "", tuple(judged))


def drift() -> Drift:
    """Forty runs, the last ones slower, one that failed."""
    seconds = [8.0 + (number % 5) * 0.4 + (5 if number > 35 else 0) for number in range(40)]
    outcomes = [number != 20 for number in range(40)]
    timed = tuple(RunMeasure(RUN, "D1042", NOON, (second,), ()) for second in seconds)
    return Drift(
        baseline(seconds, outcomes), time_drift(seconds), success_drift(outcomes, 5.0), timed, tuple(seconds),
        tuple(outcomes), 5.0,
    )  # fmt: skip


def report() -> ReleaseReport:
    """Of the release that verifies."""
    return ReleaseReport("aurora", releases("aurora")[0], streak(), drift(), _closed("aurora"))


def _closed(oem: str) -> Breaker:
    return Breaker(oem, None, Position.CLOSED, None, None, 0.0, 0)


@dataclass
class MadeUpOperating:
    """`Operating` that does nothing but remember."""

    asked: list[tuple[object, ...]] = field(default_factory=list)
    look_hours: float = 24.0

    def oems(self) -> Sequence[str]:
        return OEMS

    def health(self) -> Health:
        cadence = Cadence("0 * * * *", "UTC", "day")
        stuck = [Stuck("aurora-gggghhhhiiii", "aurora", HOSTILE, State.ARMED, NOON)]
        none: dict[str, datetime] = {}
        return judge(
            {"aurora": cadence}, Logs(NOON, NOON + timedelta(hours=1), (), (), none, stuck, none, none, frozenset())
        )

    def verdict_preview(
        self, claim: Claim, verdict: review.Verdict, by: str, why: str, reference: str | None
    ) -> Reference | None:
        return Reference(reference, "claim number", reference, (0, len(reference))) if reference else None

    def needs_picture(self, claim: Claim) -> bool:
        return True

    def give_verdict(
        self, claim: Claim, verdict: review.Verdict, by: str, why: str, reference: str | None, picture: bytes | None
    ) -> Claim:
        self.asked.append((claim.claim_id, verdict, by, why, reference))
        return claim

    def redrive(self, claim: Claim, by: str) -> Claim:
        self.asked.append((claim.claim_id, by))
        return claim

    def gate_line(self, oem: str) -> GateLine:
        if oem != "aurora":
            return GateLine(oem, None, None, _closed(oem), False, "0 7 * * 1-5, Europe/Berlin")
        return GateLine(oem, releases(oem)[0], streak(), _closed(oem), True, "0 */2 * * 1-6, America/Chicago")

    def report(self, oem: str, release_id: int | None) -> ReleaseReport | None:
        return report() if oem == "aurora" and release_id in (None, 1, 2) else None

    def act(self, oem: str, act: Act, by: str, why: str) -> None:
        self.asked.append((oem, act, by, why))

    def reset_breaker(self, oem: str, dealer: str | None, by: str) -> None:
        self.asked.append((oem, dealer, by))
