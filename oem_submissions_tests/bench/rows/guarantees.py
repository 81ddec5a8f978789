"""What it costs that a claim is filed exactly once: gate and tunnel, leases, read-back, against the same without them.

The issue's limit: the median claim pays less than 15 % more wall time. The bare script is there for orientation.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adapters.aurora.mapping import form_values
from oem_submissions.domain.claims import WarrantyClaim, parse_claim
from oem_submissions.domain.records import Claim
from oem_submissions.evidence.leaks import leaks
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import Account, Portal
from oem_submissions.services.leaking import LeakGate
from oem_submissions.services.release import OpenGate
from oem_submissions.services.submit import Partition, submit_partition
from oem_submissions.settings import EnvironmentSecrets
from oem_submissions_tests.bench import bare
from oem_submissions_tests.bench.meter import Cost
from oem_submissions_tests.bench.report import Report, compare
from oem_submissions_tests.bench.stage import ACCOUNTS, OEM, Stage
from oem_submissions_tests.bench.steps import Timed, Timeline, watched
from oem_submissions_tests.bench.unguarded import LedgerWithoutLeases, unguarded

TITLE = "Filed exactly once: what gate, tunnel, leases and read-back cost (Aurora, warranty, seconds per claim)"
AS_IT_IS, WITHOUT, SCRIPT = "as it is", "without them", "bare script"


@dataclass(frozen=True)
class Services:
    """A worker's parts. Each has an account of its own, because one keeps its lease."""

    account: Account
    ledger: Ledger
    portal: Portal


@dataclass(frozen=True)
class Variant:
    """A way to file."""

    account: Account
    file: Callable[[Partition, list[Claim]], object]


def measure(on: Stage, repetitions: int, claims: int) -> Report:
    """`repetitions` runs of every variant, taking turns, each over a partition of so many claims; then the profile."""
    guarded, other = ACCOUNTS
    portal = on.browsers.portal(OEM)
    workers = {
        AS_IT_IS: Services(guarded, on.ledger, portal),
        WITHOUT: Services(other, LedgerWithoutLeases(on.engine), unguarded(portal)),
    }
    variants = {name: _by_services(on, worker) for name, worker in workers.items()}
    variants[SCRIPT] = Variant(guarded, lambda _, due: _by_script(on, guarded, due))
    costs: dict[str, list[Cost]] = {name: [] for name in variants}
    for variant in variants.values():
        _once(on, variant, claims)  # not counted: what is only slow the first time
    for turn in range(repetitions):
        names = list(variants)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            costs[name].append(_once(on, variants[name], claims))
    comparisons = [compare(costs, AS_IT_IS, WITHOUT), compare(costs, AS_IT_IS, SCRIPT)]
    return Report(TITLE, costs, comparisons, _profile(on, workers, (repetitions + 1) // 2, claims))


def _by_services(on: Stage, worker: Services) -> Variant:
    return Variant(
        worker.account,
        lambda partition, _: run_partition(partition, worker.account, worker.ledger, on.evidence, worker.portal),
    )


def run_partition(partition: Partition, account: Account, ledger: Any, evidence: Any, portal: Portal) -> list[Claim]:
    """A run, as Dagster makes it, with a warm browser."""
    return submit_partition(
        partition,
        "run",
        "worker",
        ledger=ledger,
        evidence=evidence,
        portal=portal,
        gate=OpenGate(),
        account=lambda: account,
        parse=lambda payload: parse_claim(WarrantyClaim, payload),
        lease_seconds=60.0,
        click_seconds=20.0,
        attempts_budget=3,
        look_hours=24.0,
        leak_gate=LeakGate(leaks, EnvironmentSecrets({})),
    )


def _by_script(on: Stage, account: Account, due: list[Claim]) -> None:
    forms = [form_values(parse_claim(WarrantyClaim, claim.payload)) for claim in due]
    bare.file_claims(on.browsers.browser(), on.url, account, forms, on.folder)


def _once(on: Stage, variant: Variant, claims: int) -> Cost:
    """One run, per claim; a run that did not file every claim would cost something else."""
    on.clear_portal()
    partition, due = on.due_claims(variant.account, claims)
    with on.meter.measure() as measured:
        variant.file(partition, due)
    if (filed := on.filed()) != claims:
        raise RuntimeError(f"{filed} of {claims} claims were filed: see what the run logged.")
    return measured[0].per(claims)


def _profile(on: Stage, workers: dict[str, Services], repetitions: int, claims: int) -> dict[str, dict[str, float]]:
    """Median wall seconds per claim by step, of runs of their own: watching them costs something, too."""
    runs: dict[str, list[Timeline]] = {name: [] for name in workers}
    for _ in range(repetitions):
        for name, worker in workers.items():
            timeline = Timeline()
            ledger, evidence = Timed(worker.ledger, timeline, "ledger"), Timed(on.evidence, timeline, "evidence")
            on.clear_portal()
            partition, _ = on.due_claims(worker.account, claims)
            with watched(timeline):
                run_partition(partition, worker.account, ledger, evidence, worker.portal)
            runs[name].append(timeline)
    return {name: _medians(timelines, claims) for name, timelines in runs.items()}


def _medians(timelines: list[Timeline], claims: int) -> dict[str, float]:
    names = dict.fromkeys(name for timeline in timelines for name in timeline.seconds)
    return {name: statistics.median(timeline.seconds[name] for timeline in timelines) / claims for name in names}
