"""`oem-submissions release`: which adapter and pack file for whom, and what a named person does about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from adapters.registry import ADAPTERS
from oem_submissions.cli.console import AsJson, open_ledger, print_json, require_known, show_rows
from oem_submissions.cli.errors import NotSo, terminal
from oem_submissions.domain.failures import ConfigurationError, StateConflict
from oem_submissions.domain.gate import Verdict
from oem_submissions.domain.releases import ReleaseState
from oem_submissions.domain.texts import shortened, visible
from oem_submissions.ledger.store import Ledger
from oem_submissions.services import release as gate

if TYPE_CHECKING:
    from oem_submissions.services.release_report import ReleaseReport

release = typer.Typer(no_args_is_help=True, help="The release gate: who files with which adapter and pack.")

By = Annotated[str, typer.Option(help="Your name; it stands in the release's log for ever.")]
Why = Annotated[str, typer.Option(help="Why, in words for those who read it next year.")]
_SHOWN = 160
"""Characters of why a run was not clean; `--json` has them all."""
_STYLES = {
    ReleaseState.LIVE: "green",
    ReleaseState.VERIFYING: "yellow",
    ReleaseState.DEGRADED: "yellow",
    ReleaseState.SUSPENDED: "red",
}


@release.command("show")
def show(oem: str, as_json: AsJson = False) -> None:
    """Where the OEM's release stands: its dots, what reset them, its baseline, its log."""
    from oem_submissions.services.release_report import release_report  # here: most commands do without scipy

    require_known(oem)
    with open_ledger() as ledger:
        report = release_report(ledger, ADAPTERS[oem])
        others = _others(ledger, oem, report)
    if report is None:
        raise NotSo(
            f"No release of {oem} was seen yet: release its pack with `oem-submissions packs lock`,"
            " and see that Dagster's daemon runs."
        )
    if as_json:
        print_json({**report.document(), "others": others})
        return
    _show(report)
    show_rows(others, "")


@release.command("approve")
def approve(oem: str, by: By) -> None:
    """Let a release go live that has passed its gate."""
    require_known(oem)
    with open_ledger() as ledger, _or_not_so():
        approved = gate.approve(ledger, ADAPTERS[oem], by)
    terminal.print(f"Release {approved.name} of {oem} is approved by {by}; it goes live within seconds.")


@release.command("suspend")
def suspend(oem: str, by: By, why: Why) -> None:
    """File nothing more for this OEM, until it is resumed. Probes go on."""
    require_known(oem)
    with open_ledger() as ledger:
        moved = gate.suspend_oem(ledger, ADAPTERS[oem], by, why)
    if not moved:
        raise NotSo(f"Nothing is filed for {oem} that could be suspended: see `oem-submissions release show {oem}`.")
    terminal.print(f"Suspended: {', '.join(release.name for release in moved)} of {oem}.")


@release.command("resume")
def resume(oem: str, by: By, why: Why) -> None:
    """Take back what suspended it, whatever that was. The next batch is probed first."""
    require_known(oem)
    with open_ledger() as ledger:
        moved = gate.resume_oem(ledger, ADAPTERS[oem], by, why)
    if not moved:
        raise NotSo(f"No release of {oem} is suspended: see `oem-submissions release show {oem}`.")
    terminal.print(f"Resumed: {', '.join(release.name for release in moved)} of {oem}.")


@release.command("rollback")
def rollback(oem: str, by: By, why: Why) -> None:
    """Back to the release that was live before, at once."""
    require_known(oem)
    with open_ledger() as ledger, _or_not_so():
        back = gate.rollback(ledger, ADAPTERS[oem], by, why)
    terminal.print(f"{oem} files with {back.name} again.")


@release.command("rebaseline")
def rebaseline(oem: str, by: By, why: Why) -> None:
    """Begin the baseline of times and successes anew, from the next run on."""
    from oem_submissions.services.release_report import release_report  # here: most commands do without scipy

    require_known(oem)
    with open_ledger() as ledger:
        report = release_report(ledger, ADAPTERS[oem])
        if report is None:
            raise NotSo(f"No release of {oem} was seen yet.")
        gate.rebase(ledger, report.release, by, why)
    terminal.print(f"The baseline of {report.release.name} of {oem} begins with its next run.")


@release.command("expect-rejection")
def expect_rejection(claim: str, by: By, why: Why) -> None:
    """Declare that the OEM is meant to refuse this claim, before it is attempted: then its refusal is a clean run."""
    with open_ledger() as ledger:
        if ledger.claim(claim) is None:
            raise NotSo(f"There is no claim {claim}: see `oem-submissions lookup`.")
        try:
            ledger.expect_rejection(claim, by, why)
        except StateConflict as tried:
            raise NotSo(str(tried)) from tried
    terminal.print(f"Claim {claim} is expected to be refused.")


def closed_sentence(ledger: Ledger, oem: str) -> str | None:
    """Why not every dealer of the OEM is filed for now; None when all are."""
    admission = gate.admission(ledger, ADAPTERS[oem], "")
    return None if admission.release else f"Not all of it is filed now: {admission.why_not}"


@contextmanager
def _or_not_so() -> Iterator[None]:
    try:
        yield
    except (ConfigurationError, StateConflict) as refused:
        raise NotSo(str(refused)) from refused


def _others(ledger: Ledger, oem: str, report: ReleaseReport | None) -> list[dict[str, Any]]:
    return [
        {"release": other.name, "state": other.state, "why": other.why}
        for other in ledger.releases(oem)
        if report is None or other.release_id != report.release.release_id
    ]


def _show(report: ReleaseReport) -> None:
    style = _STYLES.get(report.state, "bold")
    facts = Table.grid(padding=(0, 2))
    facts.add_row("[bold]release", Text(f"{report.oem} {report.release.name}"))
    facts.add_row("[bold]state", Text.assemble((str(report.state), style), f"  {visible(report.why)}"))
    facts.add_row("[bold]streak", Text(f"{' '.join(report.dots)}  {visible(report.streak_in_words)}"))
    facts.add_row("[bold]baseline", Text(_baseline(report)))
    facts.add_row("[bold]time to submit", Text(report.drift.time.why))
    facts.add_row("[bold]successes", Text(report.drift.success.why))
    terminal.print(facts)
    marks = {Verdict.CLEAN: "● clean", Verdict.UNCLEAN: "✗ not clean", Verdict.HELD: "? held"}
    show_rows(
        [
            {
                "run": judged.run.run_id[:8],
                "dealer": judged.run.dealer,
                "period": judged.run.period,
                "started (UTC)": f"{judged.run.started_at:%Y-%m-%d %H:%M:%S}",
                "": marks.get(judged.verdict, str(judged.verdict)),
                "why not": shortened(visible(judged.why_not), _SHOWN),
            }
            for judged in reversed(report.runs)
        ],
        "No run has filed with it yet.",
    )


def _baseline(report: ReleaseReport) -> str:
    baseline = report.drift.baseline
    if baseline.median_seconds is None:
        return "none yet"
    low, high = baseline.wilson
    rate = f"{baseline.success_rate:.0%}" if baseline.success_rate is not None else "–"
    frozen = "frozen" if baseline.frozen else "growing"
    return (
        f"{baseline.runs} runs ({frozen}), median {baseline.median_seconds:.1f} s per claim,"
        f" {rate} of the runs without a fault (95 % interval {low:.0%} to {high:.0%})"
    )
