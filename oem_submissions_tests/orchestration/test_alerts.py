"""What becomes of Dagster's event log: failed checks and runs are alerts, told to a real webhook."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetCheckEvaluation, AssetCheckSeverity, AssetKey, DagsterEvent, DagsterEventType, DagsterInstance

from oem_submissions import wiring
from oem_submissions.domain.alerting import Finding
from oem_submissions.domain.records import AlertKind, AlertSeverity
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.store import Ledger
from oem_submissions.services.alerting import DAEMON, observe
from oem_submissions_tests.alerts.receivers import webhook
from oem_submissions_tests.orchestration.test_filing_runs import OEM, PERIOD, Everything, sensor_tick
from oem_submissions_tests.orchestration.test_probe_runs import GREEN, probe


@pytest.fixture
def everything(ledger: Ledger, tmp_path: Path, postgres: EmbeddedPostgres) -> Iterator[Everything]:
    """With Dagster's own storage on PostgreSQL, as it is in production: SQLite's event log has no cursor for checks."""
    made = Everything(ledger, tmp_path)
    made.instance.dispose()
    url = postgres.url(f"dagster_{uuid.uuid4().hex[:12]}").replace("postgresql://", "postgresql+psycopg2://", 1)
    storage = {"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}}
    (tmp_path / "dagster.yaml").write_text(json.dumps(storage))
    made.instance = DagsterInstance.from_config(str(tmp_path))
    yield made
    made.instance.dispose()


def evaluate(everything: Everything, passed: bool, partition: str | None, name: str = "evidence_present") -> None:
    """As a run would report it."""
    everything.instance.report_dagster_event(
        DagsterEvent(
            DagsterEventType.ASSET_CHECK_EVALUATION.value,
            "aurora_filing_job",
            event_specific_data=AssetCheckEvaluation(
                asset_key=AssetKey([OEM, "evidence_bundles"]),
                check_name=name,
                passed=passed,
                severity=AssetCheckSeverity.ERROR,
                description="the post-confirm shot is blank" if not passed else "fine",
                partition=partition,
            ),
        ),
        run_id=str(uuid.uuid4()),
    )


def test_a_lost_reply_is_told_once_per_cause_with_its_partition_and_its_claim(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    everything.portal.lose_reply = True
    with webhook() as hook:
        log_in = {f"OEM_SUBMISSIONS_SECRET_PORTAL_AURORA_10234_{part}": "x" for part in ("USERNAME", "PASSWORD")}
        everything.use(secrets=wiring.EnvironmentSecrets(log_in | {"OEM_SUBMISSIONS_SECRET_ALERTS_URLS": hook.url}))
        run = everything.run()
        assert not run.success
        (claim,) = everything.ledger.all_claims()
        first = sensor_tick(everything, "alerts")
        told = {body["title"]: body["message"] for body in hook.got}
        # Neither the check that says the same nor the run that failed because of it is an alert of its own.
        assert sorted(told) == ["[CRITICAL] Check failed · aurora · 10234", "[WARNING] Unknown outcome · aurora"]
        check = told["[CRITICAL] Check failed · aurora · 10234"]
        assert f"Check reference_captured of aurora/submission_results failed for partition 10234¦{PERIOD}." in check
        assert f"Claim: http://127.0.0.1:8787/claims/{claim.claim_id}" in check
        assert f"Run: http://127.0.0.1:3000/runs/{run.run_id}" in check

        sensor_tick(everything, "alerts", first.cursor)
        sensor_tick(everything, "alerts")  # the daemon died before it kept the cursor
        assert len(hook.got) == 2
        assert min(json.loads(first.cursor).values()) >= 0


def test_a_failed_check_or_run_is_an_alert_until_it_is_well_everywhere(everything: Everything) -> None:
    for dealer in ("10234", "10999"):
        evaluate(everything, False, f"{dealer}|{PERIOD}")
    cursor = sensor_tick(everything, "alerts").cursor
    (alert,) = everything.ledger.alerts()
    assert (alert.kind, alert.count, alert.severity) == (AlertKind.CHECK_FAILED, 2, AlertSeverity.CRITICAL)
    assert alert.text == (
        "Check evidence_present of aurora/evidence_bundles failed for 2 partitions:"
        f" 10999|{PERIOD}, 10234|{PERIOD}. the post-confirm shot is blank"
    )
    evaluate(everything, True, f"10234|{PERIOD}")
    cursor = sensor_tick(everything, "alerts", cursor).cursor
    assert [alert.count for alert in everything.ledger.alerts()] == [1]
    evaluate(everything, True, f"10999|{PERIOD}")
    evaluate(everything, False, None, name="log_consistent")
    assert not probe(everything).success
    cursor = sensor_tick(everything, "alerts", cursor).cursor
    alert, other = everything.ledger.alerts()
    assert other.kind is AlertKind.EVIDENCE_LOG_BROKEN
    assert (alert.kind, alert.oem) == (AlertKind.RUN_FAILED, OEM)
    assert "A run of aurora_probe_job failed. Step aurora__portal_probe: " in alert.text
    assert "No dealer of aurora has a log-in that works" in alert.text
    everything.add(1)
    everything.take_in()
    everything.portal.probe_report = GREEN
    assert probe(everything).success
    sensor_tick(everything, "alerts", cursor)
    assert everything.ledger.alerts() == [other]


def test_a_thousand_failing_partitions_are_one_alert_with_a_count(ledger: Ledger) -> None:
    def finding(number: int, event: int, failed: bool = True) -> Finding:
        check, partition = ("aurora/crm_sync", "crm_matches_ledger"), f"D{number:04d}|{PERIOD}"
        return Finding(event, failed, check, "job", partition, AlertSeverity.CRITICAL, "run-1", "the CRM differs", OEM)

    with webhook() as hook:
        secrets = wiring.EnvironmentSecrets({"OEM_SUBMISSIONS_SECRET_ALERTS_URLS": hook.url})
        tell: Any = wiring.deliverer(wiring.read_settings({}), ledger, secrets, [OEM])
        ledger.note_findings([finding(number, number) for number in range(1000)])
        for _ in range(2):
            observe(ledger, {})
            tell.deliver()
        (alert,) = ledger.alerts()
        assert (alert.count, hook.titles) == (1000, ["[CRITICAL] Check failed · aurora"])
        assert "and 995 more" in alert.text

        ledger.note_findings([finding(number, 2000 + number, failed=False) for number in range(1000)])
        ledger.note_findings([finding(7, 7)])  # it came late, and is old news
        observe(ledger, {})
        ledger.forget_findings(of_checks=True, before=5000)
        assert (ledger.alerts(), ledger.failing()) == ([], [])


def test_a_silent_daemon_is_noticed_by_those_who_are_no_daemon(ledger: Ledger) -> None:
    observe(ledger, {})
    assert ledger.alerts() == []  # there never was one
    ledger.sign_of_life(DAEMON)
    observe(ledger, {}, datetime.now(UTC) + timedelta(minutes=4))
    assert ledger.alerts() == []
    observe(ledger, {}, datetime.now(UTC) + timedelta(minutes=6))
    assert [alert.kind for alert in ledger.alerts()] == [AlertKind.SCHEDULER_SILENT]
    ledger.sign_of_life(DAEMON)
    observe(ledger, {})
    assert ledger.alerts() == []
