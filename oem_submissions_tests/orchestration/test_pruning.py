"""What is old goes, what anybody still needs stays, and nothing that was filed is filed again for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from dagster import DagsterRunStatus
from psycopg import sql
from sqlalchemy.exc import DBAPIError

from oem_submissions.defs.pruning import prune_runs
from oem_submissions.domain.contracts import ProbeReport
from oem_submissions.domain.records import AlertKind, NewAlert
from oem_submissions.domain.sweeping import Finding, Kind, Sweep
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions_tests.making import PINS
from oem_submissions_tests.orchestration.test_filing_runs import OEM, Everything, sensor_tick

LATER = -1
"""Days of retention in this file's tests: everything is older than what is a day ahead."""


@pytest.fixture
def everything(ledger: Ledger, tmp_path: Path) -> Iterator[Everything]:
    made = Everything(ledger, tmp_path)
    yield made
    made.instance.dispose()


def run_ids(everything: Everything) -> set[str]:
    return {run.run_id for run in everything.instance.get_runs()}


def past_the_gates_view(database_url: str) -> None:
    """Fifty newer runs of the same release: its gate looks at no earlier one."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO runs (run_id, release_id, dealer, period, started_at)"
            " SELECT 'newer-' || n, release_id, '10234', '2026-11-10', now() FROM releases, generate_series(1, 50) AS n"
        )


def test_old_runs_go_and_their_partition_files_nothing_again(everything: Everything, database_url: str) -> None:
    everything.add(1)
    everything.take_in()
    filed = everything.run(raise_on_error=True).run_id
    assert prune_runs(everything.instance, everything.ledger, LATER, None) == (0, None), "its gate looks at it"
    past_the_gates_view(database_url)
    unfinished = everything.instance.create_run_for_job(
        everything.defs.resolve_job_def("evidence_log_job"), status=DagsterRunStatus.STARTED
    ).run_id
    assert prune_runs(everything.instance, everything.ledger, 1, None) == (0, None), "it is not old enough"
    assert prune_runs(everything.instance, everything.ledger, LATER, None) == (1, None)
    assert run_ids(everything) == {unfinished}
    assert everything.instance.get_records_for_run(filed).records == []
    assert everything.run(raise_on_error=True).success
    assert len(everything.portal.filed) == 1
    assert everything.crm.writes("REC0001") == 1


def test_a_run_stays_while_a_claim_a_hold_or_an_alert_needs_it(everything: Everything, database_url: str) -> None:
    ledger = everything.ledger
    everything.add(1)
    everything.take_in()
    held = everything.run(raise_on_error=True).run_id
    everything.add(2)
    everything.take_in()
    everything.portal.lose_request = True
    unknown = everything.run().run_id
    looked, alerted, idle = (everything.run().run_id for _ in range(3))
    past_the_gates_view(database_url)
    claim = next(claim for claim in ledger.all_claims(OEM) if claim.run_id == held)
    ledger.set_hold(claim.claim_id, True, "a lawyer", "a dispute")
    ledger.raise_alert(NewAlert("lost", AlertKind.WORKER_LOST, "Lost.", OEM, "10234", alerted))
    gone, after = 0, None
    for _ in range(6):  # one at a time: what stays is gone past, not stumbled over
        deleted, after = prune_runs(everything.instance, ledger, LATER, after, limit=1)
        gone += deleted
    assert gone == 1
    assert run_ids(everything) == {held, unknown, looked, alerted}, idle
    ledger.set_hold(claim.claim_id, False, "a lawyer", "it is settled")
    ledger.resolve_alert("lost")
    assert prune_runs(everything.instance, ledger, LATER, None)[0] == 2
    assert run_ids(everything) == {unknown, looked}


def test_old_lines_of_the_daily_logs_go_and_no_others_can(everything: Everything, database_url: str) -> None:
    ledger = everything.ledger
    for number in range(3):
        ledger.record_tick(OEM, "schedule", ledger.now() - timedelta(days=number), 0)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE ticks SET at = now() - interval '200 days' WHERE tick_id < 3")
    assert everything.settings.run_retention_days == 180
    said = sensor_tick(everything, "prune").skip_message
    assert said == "0 runs and 2 lines of logs were older than 180 days, and are deleted."
    assert ledger.prune_logs(180) == 0
    with pytest.raises(DBAPIError, match="append-only"):
        ledger.prune_logs(0)
    engine = ledger_engine(database_url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT tick_id FROM ticks").scalars().all() == [3]
    engine.dispose()


def test_what_was_found_and_the_newest_lease_stay_and_what_only_said_that_all_is_well_goes(
    ledger: Ledger, database_url: str
) -> None:
    finding = Finding(Kind.HAND_KEYED, "W-1 is nobody's.")
    for found in ((), (finding,)):
        lease = ledger.acquire_lease(OEM, "10234", "run", "worker", 60)
        assert lease is not None
        read = ledger.note_history_read(lease, (OEM, "10234"), ("run", "worker"), PINS, 1, None, "read", 0, 60)
        ledger.add_sweep(read, OEM, "10234", Sweep(found, True, "compared"))
        ledger.note_probe(OEM, "10234", PINS, "run", "worker", 1.0, ProbeReport((), ("warranty",), {}))
        ledger.release_lease(lease)
    ledger.beat("run", "worker")
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert ledger.prune_logs(180) == 0
        connection.execute("SET session_replication_role = replica")
        for table in ("sweeps", "history_reads", "probes", "worker_beats"):
            aged = sql.SQL("UPDATE {} SET at = now() - interval '200 days'")
            connection.execute(aged.format(sql.Identifier(table)))
        connection.execute("UPDATE leases SET released_at = now() - interval '200 days'")
        assert ledger.prune_logs(180) == 1 + 1 + 2 + 1 + 1
        counts = [
            connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
            for table in ("sweeps", "sweep_findings", "history_reads", "probes", "leases", "worker_beats")
        ]
    assert counts == [(1,), (1,), (1,), (0,), (1,), (0,)]
    assert ledger.last_sweep(OEM, "10234") == Sweep((finding,), True, "compared")
