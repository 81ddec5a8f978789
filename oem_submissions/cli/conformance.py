"""`oem-submissions conformance`: the suite's progress and its table, line by line, on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from oem_submissions.cli.errors import terminal
from oem_submissions.conformance.scenarios import Scenario
from oem_submissions.conformance.stage import registered, set_up
from oem_submissions.conformance.suite import Outcome, Report, Result, chosen, run_suite
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.settings import Settings
from oem_submissions.simulator.skin import Skin
from oem_submissions.simulator.skins import SkinUnknown, load_skin

_MARKS = {Outcome.PASSED: "[green]✓[/]", Outcome.FAILED: "[red]✗[/]", Outcome.NOT_APPLICABLE: "[dim]–[/]"}
_WIDTHS = (1, 23, 42)
"""Of mark, scenario and expectation, in characters; what happened has the rest."""


def run_conformance(oem: str, skin: str | None, only: Sequence[str], settings: Settings, *, with_table: bool) -> Report:
    """Run the suite, and say how it goes. Evidence of failures goes to `conformance/<oem>` in the home folder."""
    subject = registered(oem, settings.selectors, _skin(skin))
    scenarios, folder, began = chosen(only), settings.home / "conformance" / oem, time.monotonic()
    results: list[Result] = []
    terminal.print(
        f"{oem}: adapter {subject.adapter.digest[:12]}, pack {subject.pack.version}, {subject.skin.__name__}"
    )
    with _progress() as progress:
        task = progress.add_task("starting PostgreSQL, the simulated portal and Chromium", total=len(scenarios))

        def tell(scenario: Scenario) -> None:
            progress.update(task, description=f"{scenario.name}: {scenario.portal}")

        if with_table:
            progress.console.print(_heading())
        with set_up(subject) as stage:
            for result in run_suite(stage, scenarios, folder, tell):
                results.append(result)
                progress.advance(task)
                if with_table:
                    progress.console.print(_line(result))
    report = Report(subject, tuple(results), time.monotonic() - began)
    _say(report, len(scenarios))
    return report


def _skin(name: str | None) -> type[Skin] | None:
    if name is None:
        return None
    if (here := str(Path.cwd())) not in sys.path:  # as `python -m` has it: a skin in the folder where one works
        sys.path.insert(0, here)
    try:
        return load_skin(name)
    except SkinUnknown as error:
        raise ConfigurationError(str(error)) from error


def _progress() -> Progress:
    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=terminal, transient=True)


def _heading() -> Table:
    return _row("", "scenario", "expected", "what happened", style="bold")


def _line(result: Result) -> Table:
    if result.outcome is Outcome.NOT_APPLICABLE:
        return _row(_MARKS[result.outcome], result.scenario, "not applicable", result.problems[0], style="dim")
    style = "red" if result.outcome is Outcome.FAILED else ""
    return _row(_MARKS[result.outcome], result.scenario, result.expected, result.happened, style=style)


def _row(mark: str, scenario: str, expected: str, happened: str, style: str) -> Table:
    """One line of a table whose other lines are not known yet."""
    row = Table.grid(padding=(0, 2, 0, 0))
    rest = max(20, terminal.width - sum(width + 2 for width in _WIDTHS) - 2)
    for width in (*_WIDTHS, rest):
        row.add_column(width=width)
    row.add_row(mark, Text(scenario), Text(expected), Text(happened), style=style)
    return row


def _say(report: Report, wanted: int) -> None:
    """The end: ready, or the first failure with its evidence."""
    failure = report.first_failure
    said = ", ".join(f"{sum(result.outcome is outcome for result in report.results)} {outcome}" for outcome in Outcome)
    terminal.print(f"\n{said}, in {report.seconds:.0f} s")
    if failure is None and report.complete:
        terminal.print(f"[bold green]{report.subject.oem} is ready for the gate.[/]")
        return
    if failure is None:
        terminal.print(
            f"Nothing failed so far; whether {report.subject.oem} is ready for the gate, only all scenarios say."
        )
        return
    terminal.print(f"[bold red]{report.subject.oem} is not ready for the gate.[/] First failure: {failure.scenario}")
    for problem in failure.problems:
        terminal.print(Text(f"  {problem}"))
    terminal.print(Text(f"  The portal: {failure.portal}."))
    terminal.print(Text(f"  Pictures, requests, events and log: {failure.evidence}"), soft_wrap=True)
    if len(report.results) < wanted:
        terminal.print(f"The other {wanted - len(report.results)} scenarios were not tried: mend this one first.")
