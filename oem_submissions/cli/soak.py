"""`oem-submissions soak`: a scheduler's day in less time, judged by the append-only logs.

Compressed, where the clock is ours: the OEMs' cadences (from tick to tick, at least a minute: Dagster knows nothing
shorter) and their catch-up windows. Real, where it is not: Dagster's daemon and queue, the ledger with its leases, the
workers, the browser, the simulated portals and CRM, and all their seconds. Only the schedules put work in the queue.

A home of its own, as `chaos` has: nothing of this machine's other work is touched.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from rich.live import Live
from rich.table import Table

from adapters.registry import ADAPTERS
from oem_submissions.cli.demo import Demo, running_demo
from oem_submissions.cli.errors import terminal
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import FilingLimit
from oem_submissions.domain.records import Claim, Pins
from oem_submissions.domain.scheduler_health import Health
from oem_submissions.domain.scheduling import Source, Tick
from oem_submissions.domain.states import FILED, State
from oem_submissions.ports import ClaimRules
from oem_submissions.services.release import declare_live
from oem_submissions.services.scheduler_health import scheduler_health
from oem_submissions.settings import PREFIX, read_settings
from oem_submissions.simulator.seed import seed_claims

SPEED = "SOAK_SPEED"
_HURRIED = "oem_submissions.cli.soak_definitions"
_HOUR = 60
_FEEDING = 0.6
"""The part of the time in which new claims come due."""
_SETTLE_SECONDS = 600.0
"""Until what is under way at the end is given up on."""
_DOWN_INTERVALS = 2.5
"""For so many of the shortest intervals a killed daemon stays away."""
_STARTING = timedelta(minutes=1)
"""In which the daemon gets to know the schedules: an earlier tick it does not make."""
_MUST_BE_NONE = ("orphans", "overlaps", "missed_ticks", "stuck_claims", "silent_schedules")


@dataclass(frozen=True)
class Hurried:
    """An adapter's rules on another cadence."""

    rules: ClaimRules
    cadence: Cadence

    @property
    def oem(self) -> str:
        """As the adapter."""
        return self.rules.oem

    @property
    def claim_model(self) -> Any:
        """As the adapter."""
        return self.rules.claim_model

    @property
    def digest(self) -> str:
        """As the adapter: it is the same code."""
        return self.rules.digest

    @property
    def filing_limits(self) -> Mapping[str, FilingLimit]:
        """As the adapter."""
        return self.rules.filing_limits

    @property
    def needs_approval(self) -> bool:
        """As the adapter."""
        return self.rules.needs_approval


def hurried(adapters: Mapping[str, ClaimRules], speed: float) -> dict[str, ClaimRules]:
    """The adapters on cadences that are so many times as fast."""
    return {oem: Hurried(rules, hurried_cadence(rules.cadence, speed)) for oem, rules in adapters.items()}


def hurried_cadence(cadence: Cadence, speed: float) -> Cadence:
    """The cadence, so many times as fast, and round the clock: the largest part of an hour, or of a day, that fits.

    Without windows: a portal's nights are not what is tried here.
    """
    minutes = cadence.interval(datetime.now(UTC)) / timedelta(minutes=1) / speed
    if minutes < _HOUR:
        step = max(part for part in range(1, _HOUR) if _HOUR % part == 0 and part <= max(minutes, 1))
        cron = f"*/{step} * * * *"
    else:
        step = max(part for part in range(1, 25) if 24 % part == 0 and part <= minutes / _HOUR)
        cron = f"0 */{step} * * *" if step < 24 else "0 0 * * *"
        step *= _HOUR
    caught_up = max(cadence.catch_up / speed, timedelta(minutes=5 * step))
    return Cadence(cron, cadence.timezone, cadence.period, catch_up=caught_up, deadline_days=cadence.deadline_days)


def run_soak(hours: float, speed: float, seed: int, kill_daemon: bool, home: Path) -> dict[str, Any]:
    """The document of a whole soak: `hours` of the scheduler's time, in an `speed`-th of it."""
    extra = {SPEED: str(speed), f"{PREFIX}INTAKE_SECONDS": "5"}
    settings = read_settings({f"{PREFIX}HOME": str(home)})
    with running_demo(settings, seed, None, extra, pilots=False, definitions=_HURRIED) as demo:
        for oem, rules in ADAPTERS.items():  # what is tried here is not the gate
            pins = Pins(rules.digest, *demo.services.released_packs(oem)[-1])
            declare_live(demo.ledger, oem, pins, "soak", "Everybody files: the scheduler is what is tried.")
        soak = Soak(demo, hurried(ADAPTERS, speed), hours * 3600 / speed, seed)
        with Live(console=terminal, refresh_per_second=2, transient=True, get_renderable=soak.board):
            soak.pass_the_day(kill_daemon)
            soak.come_to_rest()
        return {"hours": hours, "speed": speed, **soak.document()}


class Soak:
    """One soak: feeds claims, may kill the daemon, and waits for the end."""

    def __init__(self, demo: Demo, adapters: Mapping[str, ClaimRules], seconds: float, seed: int) -> None:
        self._demo, self._adapters, self._seconds, self._seed = demo, adapters, seconds, seed
        self._began, self._since = time.monotonic(), demo.ledger.now()
        self._batches, self._killed, self._phase = 0, 0, "the day"

    def pass_the_day(self, kill_daemon: bool) -> None:
        """Until its time is over. A daemon that is to be killed is killed in the middle, and comes back."""
        daemon = self._demo.up.process("dagster-daemon")
        now = self._demo.ledger.now()
        shortest = min(rules.cadence.interval(now) for rules in self._adapters.values()).total_seconds()
        back_at = None
        while self._elapsed() < self._seconds or back_at is not None:
            if kill_daemon and not self._killed and self._elapsed() >= self._seconds / 2:
                daemon.kill(with_children=True)
                self._killed, back_at = 1, self._elapsed() + _DOWN_INTERVALS * shortest
            if back_at is not None and self._elapsed() >= back_at:
                daemon.start()
                back_at = None
            if back_at is None:
                self._demo.up.check()
            if self._elapsed() < self._seconds * _FEEDING:
                self._feed()
            time.sleep(0.5)

    def come_to_rest(self) -> None:
        """Until nobody holds an account, every tick that was missed is dealt with, and every claim rests."""
        self._phase, began = "coming to rest", time.monotonic()
        while time.monotonic() - began < _SETTLE_SECONDS:
            self._demo.up.check()
            if not self._demo.ledger.held_leases() and all(map(self._rests, self._demo.ledger.all_claims())):
                return
            time.sleep(1)

    def _rests(self, claim: Claim) -> bool:
        """Whether it is at its end, or waits for a tick that comes too late for this soak."""
        interval = self._adapters[claim.oem].cadence.interval(self._since)
        return claim.is_at_rest or (claim.state is State.READY and interval.total_seconds() > _SETTLE_SECONDS)

    def board(self) -> str:
        """For people."""
        left = max(self._seconds - self._elapsed(), 0)
        killed = ", the daemon was killed" if self._killed else ""
        return f"Soak: {self._phase}{killed}; {left:.0f} s of it are left"

    def document(self) -> dict[str, Any]:
        """The result."""
        ledger = self._demo.ledger
        window = ledger.now() - self._since
        health = scheduler_health(ledger, self._adapters, {}, window)
        cadences = {oem: rules.cadence for oem, rules in self._adapters.items()}
        log = ledger.ticks_since({oem: str(cadence) for oem, cadence in cadences.items()}, self._since)
        return {
            "real_minutes": round(window / timedelta(minutes=1), 1),
            "daemon_killed": self._killed,
            **soak_document(health, ledger.all_claims(), log, cadences),
        }

    def _feed(self) -> None:
        """More claims come due when all that came before are on their way."""
        claims = self._demo.ledger.all_claims()
        known = {claim.crm_record_id for claim in claims}
        if not known.issuperset(self._demo.records) or any(not claim.is_at_rest for claim in claims):
            return
        self._batches += 1
        more = seed_claims(self._seed * 1000 + self._batches, datetime.now(UTC).date(), pilots=False)
        self._demo.records += tuple(self._demo.crm.seed(more))

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def soak_document(
    health: Health, claims: Sequence[Claim], log: Sequence[Tick], cadences: Mapping[str, Cadence]
) -> dict[str, Any]:
    """What the logs say. A schedule that never ticked, although it should have, is silent: that is no clean day."""
    ticked = {tick.oem for tick in log}
    since, until = health.since + _STARTING, health.now - timedelta(minutes=1)
    silent = [oem for oem, cadence in cadences.items() if oem not in ticked and any(cadence.ticks(since, until))]
    late_ticks = [(t.at - t.scheduled_for).total_seconds() for t in log if t.source is not Source.MISSED]
    filed = [claim for claim in claims if claim.state in FILED and claim.confirmed_at]
    late_claims = [(c.confirmed_at - c.created_at).total_seconds() for c in filed if c.confirmed_at]
    late = [queue.sentence() for queue in health.late]  # real seconds against hurried intervals: told, not judged
    findings = [sentence for sentence in health.sentences() if sentence not in late]
    return {
        "orphans": len(health.orphans),
        "overlaps": len(health.overlaps),
        "missed_ticks": len(health.missed),
        "made_up_ticks": sum(missed.made_up_at is not None for missed in health.missed),
        "catch_ups": sum(tick.source is Source.CATCH_UP for tick in log),
        "stuck_claims": len(health.stuck),
        "silent_schedules": len(silent),
        "late_queues": len(late),
        "lost_workers": sum(oem.lost_workers for oem in health.oems),
        "ticks": {oem.oem: oem.ticks_expected for oem in health.oems},
        "interval_seconds": {oem.oem: oem.queue.interval.total_seconds() for oem in health.oems},
        "claims": len(claims),
        "filed": len(filed),
        "at_rest": sum(claim.is_at_rest for claim in claims),
        "lateness": {"ticks": _spread(late_ticks), "claims": _spread(late_claims)},
        "findings": findings + [f"The schedule of {oem} never ticked." for oem in silent],
    }


def _spread(seconds: Sequence[float]) -> dict[str, float | int | None]:
    ordered = sorted(seconds)
    if not ordered:
        return {"count": 0, "median_seconds": None, "p95_seconds": None, "max_seconds": None}
    return {
        "count": len(ordered),
        "median_seconds": round(median(ordered), 1),
        "p95_seconds": round(ordered[ceil(len(ordered) * 0.95) - 1], 1),
        "max_seconds": round(ordered[-1], 1),
    }


def wrong_in(document: Mapping[str, Any]) -> list[str]:
    """What must be none and is not."""
    return [f"{name.replace('_', ' ')} {document[name]}" for name in _MUST_BE_NONE if document[name]]


def soak_table(document: Mapping[str, Any]) -> Table:
    """The document for people."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in document.items():
        if name in ("findings", "lateness"):
            continue
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        bad = name in _MUST_BE_NONE and value
        table.add_row(name.replace("_", " "), f"[red]{shown}[/]" if bad else shown)
    for what, spread in document["lateness"].items():
        shown = ", ".join(f"{k.replace('_seconds', '')} {v}" for k, v in spread.items())
        table.add_row(f"lateness of {what}, s", shown)
    for sentence in document["findings"]:
        table.add_row("[red]finding[/]", sentence)
    return table
