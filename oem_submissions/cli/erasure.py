"""`oem-submissions evidence erase`, `hold`, `release`, `holds` and `prune`: what may go, what must stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from adapters.registry import ADAPTERS
from oem_submissions import wiring
from oem_submissions.cli.console import AsJson, open_ledger, person, print_json, show_rows
from oem_submissions.cli.errors import NotSo, terminal
from oem_submissions.services import retention
from oem_submissions.services.retention import Keeping
from oem_submissions.settings import Settings, read_settings

By = Annotated[str, typer.Option(help="Your name; it stands in the claim's story for ever.")]
Why = Annotated[str, typer.Option(help="On whose request, and on which ground.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]


def add_commands(group: typer.Typer) -> None:
    """The commands of this page, as commands of the group."""
    for command in (erase, hold, release, holds, prune):
        group.command()(command)


@contextmanager
def _keeping(settings: Settings, by: str, why: str) -> Iterator[Keeping]:
    if not by.strip() or not why.strip():
        raise NotSo("Say who you are and why (--by, --why): both stand in the claim's story for ever.")
    with open_ledger(settings) as ledger:
        yield Keeping(ledger, wiring.evidence_store(settings, ledger), ADAPTERS)


def erase(claim: str, by: By, why: Why, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Erase a claim's personal data, for ever. Its bundle stays and still verifies."""
    with _keeping(read_settings(), by, why) as keeping:
        erased = retention.erase(claim, by, why, keeping, dry_run)
    if as_json:
        print_json({"claim_id": claim, "erased": not dry_run, "fields": erased.fields, "keys": erased.keys})
        return
    would = "would be" if dry_run else "are"
    fields = ", ".join(erased.fields) or "no field (again)"
    terminal.print(f"Claim {claim}: its data key, {len(erased.keys)} files and {fields} {would} erased.")


def hold(claim: str, by: By, why: Why, as_json: AsJson = False) -> None:
    """Put a claim under a legal hold: nothing of it is deleted or erased until it is released."""
    with _keeping(read_settings(), by, why) as keeping:
        placed = retention.hold(claim, by, why, keeping)
    _say({"claim_id": claim, "held": True, "changed": placed}, f"Claim {claim} is under a legal hold.", as_json)


def release(claim: str, by: By, why: Why, as_json: AsJson = False) -> None:
    """Lift a claim's legal hold."""
    with _keeping(read_settings(), by, why) as keeping:
        lifted = retention.release(claim, by, why, keeping)
    _say({"claim_id": claim, "held": False, "changed": lifted}, f"Claim {claim} is under no legal hold.", as_json)


def holds(as_json: AsJson = False) -> None:
    """Every legal hold."""
    with open_ledger() as ledger:
        rows = [asdict(found) for found in ledger.holds()]
    if as_json:
        print_json({"holds": rows})
    else:
        show_rows(rows, "No claim is under a legal hold.")


def prune(
    by: Annotated[str | None, typer.Option(help="Your name; without it, the user of this shell.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give up the evidence of claims whose retention is over, and finish erasures that were interrupted."""
    settings = read_settings()
    with _keeping(settings, by or person(), "retention") as keeping:
        done = retention.prune(settings.retention_months, by or person(), keeping, dry_run)
    would = "would be" if dry_run else "are"
    text = f"{len(done.pruned)} claims {would} pruned, {len(done.finished)} {would} finished."
    _say({"dry_run": dry_run, **asdict(done)}, text, as_json)
    for sentence in done.locked if not as_json else ():
        terminal.print(sentence, style="yellow", markup=False, highlight=False)


def _say(document: dict[str, object], text: str, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        terminal.print(text, markup=False, highlight=False)
