"""`oem-submissions evidence …`: what auditors are given, and whether the log still is what was signed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from oem_submissions import wiring
from oem_submissions.cli.console import AsJson, Keys, open_ledger, print_json
from oem_submissions.cli.errors import Exit, NotSo, terminal
from oem_submissions.domain.checkpoints import PROOF_FORMAT, Malformed, parse_proof
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.services.audit import Auditor, AuditReport
from oem_submissions.settings import read_settings

evidence = typer.Typer(no_args_is_help=True, help="Bundles for auditors, and the log that they are in.")


@evidence.command()
def audit(
    key: Keys = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint or log proof from earlier, to which the log must still lead; may be repeated."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Look for every bundle, but do not read it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compute the log anew from its leaves, and say what is missing, rewritten or not where it should be."""
    settings = read_settings()
    keys = wiring.trusted_keys(settings, key or ())
    held = {path.name: _note(path) for path in checkpoint or ()}

    def verify(bundle: bytes, digest: str) -> list[str]:
        return [str(finding) for finding in verify_bundle(bundle, digest, keys).findings]

    with open_ledger(settings) as ledger, Progress(console=terminal, transient=True, disable=as_json) as progress:
        bar = progress.add_task("entries", total=None)
        auditor = Auditor(
            ledger,
            DirectoryStore(settings.evidence),
            keys.trust,
            verify=None if quick else verify,
            verify_stamp=wiring.stamp_verifier(settings),
        )
        report = auditor.audit(held, lambda done, size: progress.update(bar, completed=done, total=size))
    _show(report, as_json)
    if report.findings:
        raise typer.Exit(Exit.NOT_SO)


def _note(path: Path) -> str:
    """The signed checkpoint in a file, alone or at the end of a log proof."""
    try:
        text = path.read_bytes().decode()
        return parse_proof(text.encode()).note if text.startswith(PROOF_FORMAT) else text
    except (OSError, UnicodeDecodeError, Malformed) as error:
        raise NotSo(f"{path} can't be read as a checkpoint: it {getattr(error, 'strerror', None) or error}") from error


def _show(report: AuditReport, as_json: bool) -> None:
    if as_json:
        print_json({"ok": not report.findings, **asdict(report)})
        return
    for finding in report.findings:
        terminal.print(f"✗ {finding}", style="red", markup=False, highlight=False)
    counts = (
        f"{report.entries} entries, {report.checkpoints} checkpoints, {report.stamps} time-stamps,"
        f" {report.bundles} bundles read."
    )
    mark = "[red]✗[/]" if report.findings else "[green]✓[/] The log is the one that was signed, and all of it is there."
    terminal.print(f"{mark} {counts}", highlight=False)
