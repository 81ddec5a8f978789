"""What a row says, as a table for people and as a document."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from oem_submissions_tests.bench.figures import Ratio, ratio
from oem_submissions_tests.bench.meter import Cost

_RATIO = ("median", "95 % from", "to", "least", "most")


@dataclass(frozen=True)
class Comparison:
    """One variant by another."""

    one: str
    other: str
    wall: Ratio
    cpu: Ratio


def compare(costs: dict[str, list[Cost]], one: str, other: str) -> Comparison:
    """Repetition by repetition."""
    wall, cpu = (
        ratio([getattr(cost, what) for cost in costs[one]], [getattr(cost, what) for cost in costs[other]])
        for what in ("wall", "cpu")
    )
    return Comparison(one, other, wall, cpu)


@dataclass(frozen=True)
class Report:
    """A row's figures. Costs are seconds per claim, one of every repetition; `steps` are wall seconds per claim."""

    title: str
    costs: dict[str, list[Cost]]
    comparisons: list[Comparison]
    steps: dict[str, dict[str, float]] = field(default_factory=dict)
    """By variant and step."""

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "title": self.title,
            "seconds_per_claim": {
                name: {**_medians(costs), "repetitions": [asdict(cost) for cost in costs]}
                for name, costs in self.costs.items()
            },
            "ratios": [asdict(comparison) for comparison in self.comparisons],
            "steps": self.steps,
        }

    def show(self, console: Console) -> None:
        """Tables on the console."""
        console.print(f"\n[bold]{self.title}[/bold]")
        console.print(_table(["", "wall s", "CPU s"], (_cost_cells(name, costs) for name, costs in self.costs.items())))
        console.print(_table(["", *_RATIO], (cells for comparison in self.comparisons for cells in _ratio(comparison))))
        if self.steps:
            console.print(_table(["wall ms per claim", *self.steps], self._step_cells()))

    def _step_cells(self) -> Iterable[list[str]]:
        names = list(dict.fromkeys(name for steps in self.steps.values() for name in steps))
        for name in names:
            yield [name, *(f"{1000 * steps[name]:.0f}" if name in steps else "" for steps in self.steps.values())]
        yield ["all", *(f"{1000 * sum(steps.values()):.0f}" for steps in self.steps.values())]


@dataclass(frozen=True)
class Figures:
    """A row's figures when they are not costs: tables of their own, by name, each a list of lines."""

    title: str
    note: str
    """What the figures mean."""
    tables: dict[str, list[dict[str, str | float]]]

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)

    def show(self, console: Console) -> None:
        """Tables on the console."""
        console.print(f"\n[bold]{self.title}[/bold]")
        console.print(self.note)
        for name, lines in self.tables.items():
            console.print()
            console.print(
                _table([name, *list(lines[0])[1:]], ([_cell(cell) for cell in line.values()] for line in lines))
            )


def _cell(cell: str | float) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"


def _medians(costs: list[Cost]) -> dict[str, float]:
    return {what: statistics.median(getattr(cost, what) for cost in costs) for what in ("wall", "cpu")}


def _cost_cells(name: str, costs: list[Cost]) -> list[str]:
    medians = _medians(costs)
    return [name, f"{medians['wall']:.3f}", f"{medians['cpu']:.3f}"]


def _ratio(comparison: Comparison) -> Iterable[list[str]]:
    for what, found in (("wall", comparison.wall), ("CPU", comparison.cpu)):
        figures = (found.median, found.low, found.high, found.least, found.most)
        yield [f"{comparison.one} / {comparison.other}, {what}", *(f"{figure:.3f}" for figure in figures)]


def _table(headings: list[str], rows: Iterable[list[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table
