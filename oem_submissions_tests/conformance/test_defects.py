"""An adapter with a defect fails at the scenario that is there for it, and the failure's folder says why."""

from __future__ import annotations

import json
from pathlib import Path

from oem_submissions.conformance.stage import make_subject
from oem_submissions.conformance.suite import Outcome, Report
from oem_submissions_tests.conformance import defects
from oem_submissions_tests.conformance.conftest import Run
from oem_submissions_tests.conformance.dakota.portal import Dakota
from oem_submissions_tests.conformance.dakota.skin import DakotaPortal


def test_a_pack_that_takes_a_decoy_for_the_reference_fails_at_once(run_on: Run, tmp_path: Path) -> None:
    subject = defects.takes_the_label_for_the_reference(tmp_path / "selectors")
    (result,) = results = run_on(subject)  # where nothing is wrong it can't file: nothing else is tried
    report = Report(subject, tuple(results), 1.0)
    assert report.first_failure is result
    assert (result.scenario, result.outcome) == ("plain", Outcome.FAILED)
    assert result.happened == "filed once, held for a person: REFERENCE_SUSPECT"
    assert "should be filed once and confirmed" in result.problems[0]
    assert (report.document()["ready"], report.document()["first_failure"]) == (False, "plain")


def test_a_history_search_that_can_not_find_anything_fails_where_an_answer_is_lost(run_on: Run, tmp_path: Path) -> None:
    subject = defects.searches_by_the_wrong_value(tmp_path / "selectors")
    plain, lost = run_on(subject, "plain", "reset after filing")
    assert plain.outcome is Outcome.PASSED
    assert lost.outcome is Outcome.FAILED
    assert lost.happened == "filed once, held for a person: OUTCOME_UNKNOWN"


def test_a_natural_key_that_is_too_narrow_fails_where_claims_differ_in_one_part(run_on: Run) -> None:
    subject = make_subject(defects.TooNarrowAKey(), DakotaPortal, defects.SELECTORS)
    plain, neighbours = run_on(subject, "plain", "neighbours")
    assert (plain.outcome, neighbours.outcome) == (Outcome.PASSED, Outcome.FAILED)
    assert "CRM_CONFLICT" in neighbours.problems[0]


def test_a_natural_key_that_is_too_wide_fails_where_one_claim_is_entered_twice(run_on: Run) -> None:
    subject = make_subject(defects.TooWideAKey(), DakotaPortal, defects.SELECTORS)
    plain, twice = run_on(subject, "plain", "entered twice")
    assert (plain.outcome, twice.outcome) == (Outcome.PASSED, Outcome.FAILED)
    assert any("should be not filed, dead letter: CRM_CONFLICT" in problem for problem in twice.problems)


def test_a_failure_leaves_pictures_requests_events_and_no_secret(run_on: Run, tmp_path: Path) -> None:
    subject = make_subject(Dakota(), defects.BrokenPortal, defects.SELECTORS)
    (result,) = run_on(subject)
    assert result.problems[0] == "The skin broke: RuntimeError: the template is missing"
    assert result.evidence is not None
    files = {path.name: path for path in result.evidence.rglob("*") if path.is_file()}
    assert {"verdict.txt", "log.txt", "requests.json", "filings.json", "claim.json", "events.json"} <= set(files)
    assert any(name.endswith(".webp") for name in files), files
    assert "The skin broke" in files["verdict.txt"].read_text()
    seen = json.loads(files["requests.json"].read_text())
    log_ins = [
        request["body"] for request in seen if request["path"] == "/dakota/login" and request["method"] == "POST"
    ]
    assert log_ins
    assert all("user=claimsd0001" in body for body in log_ins)
    for name, path in files.items():
        for secret in (b"Pw-D0001-k7Qz!x", b"Pw-D0001-k7Qz%21x"):
            assert secret not in path.read_bytes(), name


def test_a_fault_that_never_came_to_pass_proves_nothing(run_on: Run) -> None:
    subject = make_subject(Dakota(), defects.DeafPortal, defects.SELECTORS)
    (listed_late,) = run_on(subject, "listed late")
    assert listed_late.outcome is Outcome.FAILED
    assert listed_late.happened == "filed once, found by reconciliation"
    (problem,) = listed_late.problems
    assert problem == "The portal's fault 'history_late' never came to pass: does the skin act it out?"
