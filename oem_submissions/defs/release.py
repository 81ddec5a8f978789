"""The release gate of each OEM in Dagster: an asset with the dots of its streak, its checks, and the sensor behind it.

Every tick looks at what the ledger says; what has changed is reported without a run.
"""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    DefaultSensorStatus,
    MaterializeResult,
    MetadataValue,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    TableColumn,
    TableRecord,
    TableSchema,
    asset,
    asset_check,
    sensor,
)

from oem_submissions.defs.assets import asset_keys
from oem_submissions.defs.automation import run_request, runs_under_way
from oem_submissions.defs.metadata import frame_table
from oem_submissions.defs.partitions import add_dealers
from oem_submissions.domain.charts import as_image, cusum_chart, seconds_chart
from oem_submissions.domain.drift_tables import success_table, time_table
from oem_submissions.domain.gate import Judgement, Verdict
from oem_submissions.domain.releases import Release, ReleaseState
from oem_submissions.ports import ClaimRules
from oem_submissions.services.bound import Services
from oem_submissions.services.release import current
from oem_submissions.services.release_report import ReleaseReport, release_report, report_on

RELEASE = "release"
_PROBE_AGAIN = timedelta(minutes=10)
_LOOK_AGAIN = 300.0
"""Seconds after which a release is looked at although nothing seems to have happened to it."""
_SHOWN_RUNS = 50
_NOTHING = "No release was seen yet: its pack has to be released with `oem-submissions packs lock`."
_CHECKS = {
    "clean_run_streak": "Five consecutive clean end-to-end runs let a release go live.",
    "time_to_submit_drift": "Submitting takes as long as in the release's baseline.",
    "success_rate_drift": "No more runs fail than the service level allows.",
}


def release_asset(rules: ClaimRules) -> AssetsDefinition:
    """Where the OEM's release stands. It is computed from the ledger; materialising it only looks again."""

    @asset(
        key=_key(rules.oem),
        deps=[asset_keys(rules.oem)[-1]],
        required_resource_keys={"services"},
        group_name=rules.oem,
        description="Which adapter and pack file for whom: the gate's five dots, what reset them, the baseline.",
        kinds={"postgres"},
        tags={"oem": rules.oem},
        owners=["team:submissions"],
    )
    def release(context: AssetExecutionContext) -> MaterializeResult:
        services: Services = context.resources.services
        services.advance_release(rules.oem)
        return MaterializeResult(metadata=_metadata(services, release_report(services.ledger, rules)))

    return release


def release_checks(rules: ClaimRules) -> list[AssetChecksDefinition]:
    """The gate's check, and the two of drift."""

    def check(name: str) -> AssetChecksDefinition:
        @asset_check(asset=_key(rules.oem), name=name, description=_CHECKS[name], required_resource_keys={"services"})
        def checked(context: AssetCheckExecutionContext) -> AssetCheckResult:
            report = release_report(context.resources.services.ledger, rules)
            return AssetCheckResult(**_checked(name, report))

        return checked

    return [check(name) for name in _CHECKS]


def release_gate_sensor(
    adapters: Mapping[str, ClaimRules], jobs: dict[str, Any], probes: dict[str, Any]
) -> SensorDefinition:
    """Sees new releases, moves them on, asks for the next pilot dealer's run, and reports what has changed.

    `jobs` file, `probes` probe, by OEM: what a red probe suspended is probed again.
    """

    @sensor(
        name="release_gate",
        jobs=[*jobs.values(), *probes.values()],
        minimum_interval_seconds=10,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
    )
    def release_gate(context: SensorEvaluationContext) -> SensorResult:
        services: Services = context.resources.services
        seen, looks, requests, events = _looks(context.cursor), {}, [], []
        for oem, rules in adapters.items():
            for sentence in services.advance_release(oem):
                context.log.info(sentence)
            release, before = current(services.ledger, rules), seen.get(oem, _Look())
            if release is None:
                continue
            mark = _mark(services, release)
            if before.mark == mark and time.time() - before.at < _LOOK_AGAIN:
                looks[oem] = before
            else:
                report = report_on(services.ledger, release)
                looks[oem] = _Look(_fingerprint(report), mark if _is_settled(report) else "", time.time())
                if looks[oem].shown != before.shown:
                    events += _events(services, report)
                requests += _next_pilots(context, services, report, jobs[oem].name)
            requests += _next_probe(services, oem, probes[oem].name)
        cursor = json.dumps({oem: asdict(look) for oem, look in looks.items()})
        if not requests and not events:
            return SensorResult(skip_reason=SkipReason("Every release is where it was."), cursor=cursor)
        return SensorResult(run_requests=requests, asset_events=events, cursor=cursor)

    return release_gate


def _next_pilots(
    context: SensorEvaluationContext, services: Services, report: ReleaseReport, job_name: str
) -> list[RunRequest]:
    """The next pilot dealer's run, for as long as runs are clean; after one that was not, it is the schedule's turn.

    Without a run key: a run that is under way is not asked for again.
    """
    if report.state is not ReleaseState.VERIFYING:
        return []
    decided = [judged for judged in report.runs if judged.verdict is not Verdict.UNDECIDED]
    if decided and decided[-1].verdict is not Verdict.CLEAN:
        return []
    pilots = services.ledger.pilots(report.oem)
    due = services.due(report.oem, runs_under_way(context.instance, report.oem), pilots)
    fresh = [work for work in due if work.untried]
    add_dealers(context.instance, report.oem, (work.dealer for work in fresh))
    return [run_request(work, None, job_name) for work in fresh]


def _next_probe(services: Services, oem: str, job_name: str) -> list[RunRequest]:
    """A suspended portal is probed more often than by the hour, so that it is paused no longer than need be."""
    last, dealer = services.probe_to_repeat(oem, _PROBE_AGAIN), services.dealer_to_probe(oem)
    if last is None or dealer is None:
        return []
    return [RunRequest(f"probe after {last.probe_id}", job_name=job_name, tags={"oem": oem, "dealer": dealer})]


# --- what is shown ------------------------------------------------------------------------------------------------


def _key(oem: str) -> AssetKey:
    return AssetKey([oem, RELEASE])


@dataclass(frozen=True)
class _Look:
    """What a release was like when it was last looked at: that reads hundreds of claims, and most ticks need not."""

    shown: str = ""
    mark: str = ""
    """Empty: it must be looked at again."""
    at: float = 0.0
    """Seconds since the epoch."""


def _looks(cursor: str | None) -> dict[str, _Look]:
    """By OEM. A cursor of an older version is none."""
    known = json.loads(cursor or "{}")
    return {oem: _Look(**look) for oem, look in known.items() if isinstance(look, dict)}


def _mark(services: Services, release: Release) -> str:
    """Changes when somebody moved the release or a run began with it."""
    return f"{release.name} {release.log[-1].entry} {services.ledger.newest_run(release)}"


def _is_settled(report: ReleaseReport) -> bool:
    """Whether only a new run can change it: none waits for its outcome, or for the next pilot's turn."""
    is_verifying = report.state in (ReleaseState.CANDIDATE, ReleaseState.VERIFYING)
    return not is_verifying and all(judged.verdict is not Verdict.UNDECIDED for judged in report.runs)


def _fingerprint(report: ReleaseReport) -> str:
    """Changes when there is something to report."""
    last = [f"{judged.run.run_id}:{judged.verdict}" for judged in report.runs[-5:]]
    drift = f"{report.drift.is_slower}{report.drift.success.alarm}"
    return " ".join([report.release.name, report.state, str(report.release.log[-1].entry), drift, *last])


def _events(services: Services, report: ReleaseReport) -> list[AssetMaterialization | AssetCheckEvaluation]:
    key = _key(report.oem)
    made = AssetMaterialization(key, metadata=_metadata(services, report))
    checks = [AssetCheckEvaluation(asset_key=key, check_name=name, **_checked(name, report)) for name in _CHECKS]
    return [made, *checks]


def _checked(name: str, report: ReleaseReport | None) -> dict[str, Any]:
    if report is None:
        return {"passed": False, "severity": AssetCheckSeverity.WARN, "description": _NOTHING}
    match name:
        case "clean_run_streak":
            return _streak_checked(report)
        case "time_to_submit_drift":
            found, drifts = report.drift.time, report.drift.is_slower
            severity = AssetCheckSeverity.WARN
        case _:
            found, drifts = report.drift.success, report.drift.success.alarm
            severity = AssetCheckSeverity.ERROR
    metadata = {"cusum": round(found.statistic, 2), "limit": found.limit, "runs": len(found.series)}
    return {"passed": not drifts, "severity": severity, "description": found.why, "metadata": metadata}


def _streak_checked(report: ReleaseReport) -> dict[str, Any]:
    files = report.state in (ReleaseState.LIVE, ReleaseState.DEGRADED)
    suspended = f": {report.why}" if report.state is ReleaseState.SUSPENDED else "."
    words = f"{report.dots} Release {report.release.name} is {report.state}{suspended} {report.streak_in_words}"
    return {
        "passed": files,
        "severity": AssetCheckSeverity.ERROR if report.state is ReleaseState.SUSPENDED else AssetCheckSeverity.WARN,
        "description": words,
        "metadata": {"streak": report.streak.count, "needed": report.streak.needed},
    }


def _metadata(services: Services, report: ReleaseReport | None) -> dict[str, Any]:
    if report is None:
        return {"state": "none", "why": _NOTHING}
    baseline, dagster_url = report.drift.baseline, services.settings.dagster_url
    return {
        "state": str(report.state),
        "release": report.release.name,
        "why": report.why,
        "streak": MetadataValue.md(_dots(report, dagster_url)),
        "clean runs in a row": report.streak.count,
        "runs": _runs_table(report.runs),
        "baseline": MetadataValue.json(report.document()["baseline"]),
        **({"median seconds": round(baseline.median_seconds, 2)} if baseline.median_seconds else {}),
        "adapter": report.release.pins.adapter_digest,
        "pack": f"{report.release.pins.pack_version} {report.release.pins.pack_digest}",
        **_plots(report),
    }


def _dots(report: ReleaseReport, dagster_url: str) -> str:
    """The five dots, each linked to its run, and in words what set the streak back."""
    clean = [judged for judged in report.runs if judged.verdict is Verdict.CLEAN]
    full = report.dots.count("●")
    linked = [f"[●]({dagster_url}/runs/{judged.run.run_id})" for judged in clean[-full:]] if full else []
    dots = ["●"] * (full - len(linked)) + linked + ["○"] * (report.streak.needed - full)
    return f"{' '.join(dots)}\n\n{report.streak_in_words}"


def _runs_table(runs: list[Judgement]) -> MetadataValue:
    columns = ("run", "dealer", "period", "started", "verdict", "why not")
    records = [
        TableRecord(
            {
                "run": judged.run.run_id[:8],
                "dealer": judged.run.dealer,
                "period": judged.run.period,
                "started": f"{judged.run.started_at:%Y-%m-%d %H:%M:%S}",
                "verdict": str(judged.verdict),
                "why not": judged.why_not,
            }
        )
        for judged in reversed(runs)
    ]
    return MetadataValue.table(records, schema=TableSchema([TableColumn(name, "string") for name in columns]))


def _plots(report: ReleaseReport) -> dict[str, Any]:
    """Seconds per run against the baseline, and both sums against their limits, as pictures and tables."""
    drift, name = report.drift, f"{report.oem} {report.release.pins.pack_version}"
    if not drift.seconds:
        return {}
    seconds = as_image(seconds_chart(drift.seconds, f"{name}: seconds to submit a claim, by run"), drift.time.why)
    slower = as_image(cusum_chart(drift.time, f"{name}: sum of slow-downs"), drift.time.why)
    failing = as_image(cusum_chart(drift.success, f"{name}: sum of failures"), drift.success.why)
    return {
        "time to submit": MetadataValue.md(f"{seconds}\n\n{slower}\n\n{drift.time.why}"),
        "times": frame_table(time_table(drift.seconds), _SHOWN_RUNS),
        "success rate": MetadataValue.md(f"{failing}\n\n{drift.success.why}"),
        "successes": frame_table(success_table(drift.outcomes, drift.runs_a_day), _SHOWN_RUNS),
    }
