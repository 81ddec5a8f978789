"""What the daemon, the workers, the checks and the desk ask the ledger all day, on a ledger of `many_claims`.

The test of plans asks each once and looks at how PostgreSQL answers; the benchmark row `scale` takes the time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from oem_submissions.domain.breaker import Breaker
from oem_submissions.domain.records import Claim, Lease, LostLease
from oem_submissions.domain.states import HELD, State
from oem_submissions.ledger.store import Ledger
from oem_submissions.services.audit import glance
from oem_submissions.services.health import lost_workers, recover_lost_workers
from oem_submissions.services.queue import work_to_enqueue
from oem_submissions.services.release import streak
from oem_submissions.services.release_report import report_on
from oem_submissions_tests.many_claims import NEWEST

OEM = "aurora"
OEMS = ("aurora", "borealis", "cascade")
DEALER = "d0006"
CADENCES = dict.fromkeys(OEMS, "0 6 * * * UTC")
Ask = Callable[[Ledger], Any]


def _claim(ledger: Ledger) -> Claim:
    found = ledger.recent_claims(10)
    return next(claim for claim in found if claim.oem == OEM)


def _lease(ledger: Ledger) -> Lease:
    return Lease(0, OEM, DEALER, "run-new", "worker-1", 1 << 40, datetime.now(UTC))


def _lost(ledger: Ledger) -> LostLease:
    claim = _claim(ledger)
    token = ledger.attempts(claim.claim_id)[0].fencing_token
    return LostLease(1, NEWEST, OEM, claim.dealer, claim.run_id or "", "worker-1", token)


def _tick(ledger: Ledger) -> Any:
    return [work_to_enqueue(ledger, oem, ledger.releases(oem), set()) for oem in OEMS]


def _checks(ledger: Ledger) -> Any:
    claim = _claim(ledger)
    mine = ledger.claims(claim.oem, claim.dealer, claim.period)
    return [(ledger.artifacts(c.claim_id), ledger.standing(c.claim_id), ledger.events(c.claim_id)) for c in mine]


def _status(ledger: Ledger) -> Any:
    lines = ledger.queue_lines(OEMS)
    return [(line, ledger.releases(line.oem), ledger.breaker(line.oem)) for line in lines], ledger.alerts()


def _dead_letters(ledger: Ledger) -> Any:
    return ledger.dead_kinds(), ledger.dead_lines(None, None, None, 200), ledger.all_claims(OEM, State.DEAD)


def _lost_workers(ledger: Ledger) -> Any:
    recover_lost_workers(ledger, "nobody", 60)
    lost_workers(ledger, ledger.last_lease_entry())
    ledger.has_beaten("run-1"), ledger.was_raised("worker lost nobody")
    return ledger.silent_runs(60), ledger.left_by(_lost(ledger)), ledger.unfinished(_lease(ledger))


def _scheduler_health(ledger: Ledger) -> Any:
    day = NEWEST - timedelta(hours=24)
    due = dict.fromkeys(OEMS, (day.date(), NEWEST.date()))
    return (
        list(ledger.lease_entries(day)), ledger.ticks_since(CADENCES, day), ledger.first_ticks(CADENCES),
        ledger.newest_ticks(CADENCES), ledger.stuck_claims(600), ledger.at_risk(due),
    )  # fmt: skip


def _look_up(ledger: Ledger) -> Any:
    claim = _claim(ledger)
    return [ledger.look_up(term, 10) for term in (claim.claim_id, claim.reference or "", claim.crm_record_id)]


def _probes(ledger: Ledger) -> Any:
    return ledger.last_probe(OEM, "c0de", "ba5e"), ledger.probes(OEM), ledger.held_leases()


def _breakers(ledger: Ledger) -> list[Breaker]:
    ledger.last_endings(OEM, 3)
    return [*ledger.breakers(), ledger.breaker(OEM), ledger.breaker(OEM, DEALER)]


def _histories(ledger: Ledger) -> Any:
    return [(ledger.due_polls(oem, 3600), ledger.last_history_read(oem, DEALER)) for oem in OEMS]


def _reconciling(ledger: Ledger) -> Any:
    found = [ledger.partitions_to_look_up(oem) for oem in OEMS]
    return found, ledger.due_looks(OEM, DEALER, "2026-10-27"), ledger.known_filing(_claim(ledger), 3600)


ASKED: dict[str, Ask] = {
    "enqueue tick, three OEMs": _tick,
    "look-up, three terms": _look_up,
    "a partition's checks": _checks,
    "release gate: streak": lambda ledger: streak(ledger.release_runs(ledger.releases(OEM)[0])),
    "release gate: report with drift": lambda ledger: report_on(ledger, ledger.releases(OEM)[0]),
    "queue and its age": lambda ledger: (ledger.queue_lines(OEMS), ledger.oldest_ready(OEMS)),
    "lost workers": _lost_workers,
    "scheduler's health, 24 hours": _scheduler_health,
    "intake: a known record": lambda ledger: ledger.claim_of_record(OEM, _claim(ledger).crm_record_id),
    "intake: what the CRM lacks": lambda ledger: ledger.untold(),
    "requests after the cursor": lambda ledger: ledger.enqueue_requests(1 << 40),
    "look-ups that are due": _reconciling,
    "histories that are due": _histories,
    "dealers and pilots": lambda ledger: [(ledger.dealers(oem), ledger.pilots(oem)) for oem in OEMS],
    "breakers": _breakers,
    "probes": _probes,
    "dead letters": _dead_letters,
    "review list": lambda ledger: ledger.held_claims(HELD, 200),
    "status, without the count of ends": _status,
    "evidence past retention": lambda ledger: ledger.past_retention(84),
    "evidence log at a glance": lambda ledger: glance(ledger, lambda *_: None),  # type: ignore[arg-type,return-value]
}
