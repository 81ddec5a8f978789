"""What the commands share: options, the ledger, and output as a table or as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from adapters.registry import ADAPTERS
from oem_submissions import wiring
from oem_submissions.cli.errors import terminal
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.settings import Settings, read_settings

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Keys = Annotated[
    list[Path] | None,
    typer.Option("--key", help="A public key (PEM) to trust, instead of this installation's; may be repeated."),
]
OnlyOem = Annotated[str | None, typer.Option("--oem", help="Only this OEM.")]
OnlyReason = Annotated[ReasonCode | None, typer.Option("--reason", help="Only this reason code.", metavar="REASON")]


@contextmanager
def open_ledger(settings: Settings | None = None) -> Iterator[Ledger]:
    """The ledger of these settings, closed at the end."""
    ledger = Ledger(ledger_engine(wiring.database_url(settings or read_settings())))
    try:
        yield ledger
    finally:
        ledger.close()


def require_known(oem: str) -> None:
    """Wrong use when there is no such OEM."""
    if oem not in ADAPTERS:
        raise typer.BadParameter(f"OEM '{oem}' has no adapter; there are {', '.join(sorted(ADAPTERS))}.")


def person() -> str:
    """Who gives the command."""
    return os.environ.get("USER") or "cli"


def print_json(document: Any) -> None:
    """One document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, default=str, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def show_rows(rows: Sequence[Mapping[str, object]], nothing: str) -> None:
    """A table of the rows, or the sentence that there is nothing."""
    if not rows:
        terminal.print(nothing)
        return
    table = Table(*(name.replace("_", " ") for name in rows[0]), header_style="bold")
    for row in rows:
        table.add_row(*("–" if value is None or value == "" else str(value) for value in row.values()))
    terminal.print(table)
