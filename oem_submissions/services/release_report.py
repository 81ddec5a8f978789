"""What people are shown of an OEM's release: where it stands, the dots of its streak, what reset it, its drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oem_submissions.domain.breaker import Breaker, Position
from oem_submissions.domain.gate import Judgement, Streak, Verdict
from oem_submissions.domain.releases import FILES, Release, ReleaseState
from oem_submissions.ports import ClaimRules, Ledger
from oem_submissions.services.drifting import Drift, drift_of
from oem_submissions.services.release import current, streak_of

_SHOWN_RUNS = 10


@dataclass(frozen=True)
class ReleaseReport:
    """One release, as it stands."""

    oem: str
    release: Release
    streak: Streak
    drift: Drift
    breaker: Breaker

    @property
    def state(self) -> ReleaseState:
        """Where it stands; an open breaker suspends it, too."""
        if self.release.state in FILES and self.breaker.position is Position.OPEN:
            return ReleaseState.SUSPENDED
        return self.release.state

    @property
    def why(self) -> str:
        """Why it stands there."""
        if self.state is ReleaseState.SUSPENDED and self.release.state is not ReleaseState.SUSPENDED:
            return self.breaker.sentence()
        return self.release.why

    @property
    def runs(self) -> list[Judgement]:
        """The last runs that worked on claims, oldest first."""
        return [judged for judged in self.streak.judgements if judged.verdict is not Verdict.NOTHING][-_SHOWN_RUNS:]

    @property
    def dots(self) -> str:
        """The streak: ● for a clean run, ○ for one that is still needed."""
        full = self.streak.needed if self.release.is_production else min(self.streak.count, self.streak.needed)
        return "●" * full + "○" * (self.streak.needed - full)

    @property
    def streak_in_words(self) -> str:
        """How far it is, what is waited for, what set it back. Once it is open, the gate does not close by itself."""
        if self.release.is_production:
            return f"The gate is open. The last {self.streak.count} runs in a row were clean."
        words = f"{self.streak.count} clean runs in a row, {self.streak.needed} open the gate."
        if self.streak.waits_for:
            words += f" It waits: {self.streak.waits_for}."
        reset = self.streak.reset_by
        if reset is not None and self.streak.count < self.streak.needed:
            words += f" Run {reset.run.run_id} set it back to 0: {reset.why_not}"
        return words

    def document(self) -> dict[str, Any]:
        """As JSON."""
        pins, baseline = self.release.pins, self.drift.baseline
        reset = self.streak.reset_by
        return {
            "oem": self.oem,
            "release": {
                "adapter_digest": pins.adapter_digest,
                "pack": pins.pack_version,
                "pack_digest": pins.pack_digest,
            },
            "state": self.state,
            "why": self.why,
            "streak": self.streak.count,
            "needed": self.streak.needed,
            "waits_for": self.streak.waits_for or None,
            "reset_by": _run(reset) if reset else None,
            "runs": [_run(judged) for judged in self.runs],
            "baseline": {
                "n": baseline.runs,
                "frozen": baseline.frozen,
                "median_seconds": _rounded(baseline.median_seconds),
                "success_rate": _rounded(baseline.success_rate),
                "success_rate_95": [_rounded(bound) for bound in baseline.wilson],
            },
            "drift": {
                "time_to_submit": {"drifts": self.drift.is_slower, "why": self.drift.time.why},
                "success_rate": {"drifts": self.drift.success.alarm, "why": self.drift.success.why},
            },
            "log": [
                {"at": entry.at, "note": entry.note, "by": entry.actor, "text": entry.text}
                for entry in self.release.log
            ],
        }


def release_report(ledger: Ledger, rules: ClaimRules) -> ReleaseReport | None:
    """The release that people ask about: what verifies, else what is in production; None when nothing was seen yet."""
    release = current(ledger, rules)
    return None if release is None else report_on(ledger, release)


def report_on(ledger: Ledger, release: Release) -> ReleaseReport:
    """One release."""
    streak, drift = streak_of(ledger, release), drift_of(ledger, release)
    return ReleaseReport(release.oem, release, streak, drift, ledger.breaker(release.oem))


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 3)


def _run(judged: Judgement) -> dict[str, Any]:
    clean = {Verdict.CLEAN: True, Verdict.UNCLEAN: False}.get(judged.verdict)
    return {
        "run_id": judged.run.run_id,
        "dealer": judged.run.dealer,
        "period": judged.run.period,
        "started_at": judged.run.started_at,
        "clean": clean,
        "why_not": judged.why_not or None,
    }
