"""Real runs of a portal's probe, its check and its schedule, on a portal that lives in the test."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetCheckSeverity,
    AssetKey,
    DagsterRun,
    DagsterRunStatus,
    MarkdownMetadataValue,
    build_schedule_context,
)
from PIL import Image

from oem_submissions import wiring
from oem_submissions.defs.automation import runs_under_way
from oem_submissions.defs.reading import reads_only
from oem_submissions.defs.run_coordinator import business_tags
from oem_submissions.domain.contracts import Change, ProbedPage, ProbeReport, Severity
from oem_submissions.domain.evidence import Artifact
from oem_submissions_tests.orchestration.test_filing_runs import OEM, Everything, everything
from oem_submissions_tests.services.fakes import NOW

__all__ = ["everything"]
GREEN = ProbeReport((ProbedPage("warranty", "form", 0.3),), ("warranty",), {})


def found(severity: Severity) -> ProbeReport:
    """One change, with its picture."""
    change = Change(severity, "warranty", "form", "new required field 'Fuel type' after 'Odometer'")
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(file, "WEBP", lossless=True)
    shot = Artifact("warranty-form.webp", "image/webp", file.getvalue(), NOW)
    return ProbeReport((ProbedPage("warranty", "form", 0.3, (change,)),), (), {"warranty": "blocked"}, None, (shot,))


def probe(everything: Everything) -> Any:
    job = everything.defs.resolve_job_def("aurora_probe_job")
    return job.execute_in_process(instance=everything.instance, raise_on_error=False)


def verdict(result: Any) -> tuple[bool, AssetCheckSeverity, str]:
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.asset_key, evaluation.check_name) == (AssetKey([OEM, "portal_probe"]), "portal_contract")
    return evaluation.passed, evaluation.severity, evaluation.description


def hour(everything: Everything) -> Any:
    schedule = everything.defs.resolve_schedule_def("aurora_probe")
    with (
        wiring.build(everything.settings, **everything.parts) as services,
        build_schedule_context(
            instance=everything.instance,
            scheduled_execution_time=datetime(2026, 11, 10, 14, 40, tzinfo=UTC),
            resources={"services": services},
            repository_def=everything.defs.get_repository_def(),
        ) as context,
    ):
        return schedule.evaluate_tick(context)


def test_a_probe_says_in_its_check_what_changed_and_is_no_run_that_files(everything: Everything) -> None:
    nobody = probe(everything)
    assert not nobody.success
    assert "No dealer of aurora has a log-in that works" in str(nobody.all_events)
    assert "No dealer has a log-in" in hour(everything).skip_message
    everything.add(1)
    everything.take_in()

    everything.portal.probe_report = GREEN
    green = probe(everything)
    assert verdict(green) == (True, AssetCheckSeverity.WARN, "Every page is as its contract says (warranty).")
    run = everything.instance.get_run_by_id(green.run_id)
    assert {"oem": OEM, "dealer": "10234", "pack": "v0001-pack-digest"}.items() <= run.tags.items()
    assert reads_only(run) == "portal_probe"

    everything.portal.probe_report = found(Severity.BLOCK)
    red = probe(everything)
    passed, severity, description = verdict(red)
    assert (red.success, passed, severity) == (True, False, AssetCheckSeverity.ERROR)
    assert "BLOCK new required field 'Fuel type' after 'Odometer' on page form" in description
    (event,) = red.get_asset_materialization_events()
    metadata = event.materialization.metadata
    (row,) = metadata["changes"].records
    assert row.data["what changed"] == "new required field 'Fuel type' after 'Odometer'"
    picture = metadata["changed pages"]
    assert isinstance(picture, MarkdownMetadataValue)
    assert "![warranty-form.webp](data:image/jpeg;base64," in str(picture.md_str)

    everything.portal.probe_report = found(Severity.WARN)
    assert verdict(probe(everything))[:2] == (False, AssetCheckSeverity.WARN)
    everything.portal.probe_report = found(Severity.NOTE)
    assert verdict(probe(everything))[0] is True
    assert everything.portal.filed == []


def test_every_hour_one_account_is_probed_through_the_queue(everything: Everything) -> None:
    everything.add(1)
    everything.take_in()
    schedule = everything.defs.resolve_schedule_def("aurora_probe")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("40 * * * *", "America/Chicago")
    (request,) = hour(everything).run_requests
    assert {"oem": OEM, "dealer": "10234"}.items() <= request.tags.items()
    job = everything.defs.resolve_job_def("aurora_probe_job")
    everything.instance.create_run_for_job(job, tags=dict(request.tags), status=DagsterRunStatus.STARTED)
    assert runs_under_way(everything.instance, OEM) == set()
    assert hour(everything).skip_message == "A probe is under way."


def test_a_probe_that_the_ui_launched_is_known_for_one() -> None:
    run = DagsterRun(job_name="__ASSET_JOB", asset_selection=frozenset({AssetKey([OEM, "portal_probe"])}))
    assert (reads_only(run), business_tags(run)) == ("portal_probe", {"oem": OEM})
