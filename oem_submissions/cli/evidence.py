"""`oem-submissions evidence …`: what auditors are given, whether the log still is what was signed, and what may go."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from oem_submissions import wiring
from oem_submissions.cli.console import AsJson, Keys, open_ledger, print_json
from oem_submissions.cli.erasure import add_commands
from oem_submissions.cli.errors import Exit, NotSo, terminal
from oem_submissions.domain.checkpoints import PROOF_FORMAT, Malformed, parse_proof
from oem_submissions.domain.records import Claim
from oem_submissions.evidence.export import ExportedClaim, ExportedHead, write_export
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.store import Ledger
from oem_submissions.services.audit import Auditor, AuditReport
from oem_submissions.services.prove import prove
from oem_submissions.services.stamp import stamp_newest
from oem_submissions.settings import SettingsError, read_settings

evidence = typer.Typer(no_args_is_help=True, help="Bundles for auditors, the log that they are in, and what may go.")
add_commands(evidence)


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
            wiring.evidence_store(settings, ledger),
            keys.trust,
            verify=None if quick else verify,
            verify_stamp=wiring.stamp_verifier(settings),
        )
        report = auditor.audit(held, lambda done, size: progress.update(bar, completed=done, total=size))
    _show(report, as_json)
    if report.findings:
        raise typer.Exit(Exit.NOT_SO)


@evidence.command()
def export(
    claim: list[str],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    key: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Bundles, proofs and keys of claims as a folder that an auditor verifies with sha256sum, bagit.py and OpenSSL."""
    settings = read_settings()
    keys = wiring.trusted_keys(settings, key or ())
    with open_ledger(settings) as ledger:
        head, proven = prove([_sealed(name, ledger) for name in claim], ledger, wiring.evidence_store(settings, ledger))
        now = ledger.now()
    for item in proven:
        findings = verify_bundle(item.bundle, item.digest, keys).findings
        if findings:
            raise NotSo(f"The bundle of claim {item.claim_id} does not verify: {findings[0]} Nothing was exported.")
    stamp = head.stamp.stamp.response if head.stamp else None
    certificates = settings.tsa_ca.read_bytes() if settings.tsa_ca else None
    claims = [ExportedClaim(p.claim_id, p.bundle, p.digest, p.proof, p.consistency) for p in proven]
    try:
        write_export(output, claims, ExportedHead(head.checkpoint.note, stamp, certificates), keys, now)
    except (OSError, ValueError) as error:
        raise NotSo(f"Nothing whole was exported: {error}") from error
    stamped = head.stamp.stamp.stamped_at if head.stamp else None
    if as_json:
        print_json({"folder": str(output), "claims": claim, "checkpoint": head.checkpoint.size, "stamped_at": stamped})
        return
    since = f"time-stamped {stamped:%Y-%m-%d %H:%M} UTC" if stamped else "not time-stamped yet"
    terminal.print(f"{output}/README.txt says how to verify. The log's checkpoint {head.checkpoint.size} is {since}.")


def _sealed(claim_id: str, ledger: Ledger) -> Claim:
    claim = ledger.claim(claim_id)
    if claim is None or claim.bundle_digest is None:
        stands = f"is {claim.state} and has no sealed bundle" if claim else "is not known: see `oem-submissions lookup`"
        raise NotSo(f"Claim {claim_id} {stands}. Nothing was exported.")
    return claim


@evidence.command()
def stamp(as_json: AsJson = False) -> None:
    """Have the log's newest checkpoint time-stamped by the authority (RFC 3161), unless it is."""
    settings = read_settings()
    authority = wiring.timestamps(settings)
    if authority is None:
        raise SettingsError("OEM_SUBMISSIONS_TSA_URL is not set; it should be the address of an RFC 3161 authority.")
    with open_ledger(settings) as ledger:
        newest = stamp_newest(ledger, authority)
    if as_json:
        size, at = (newest.size, newest.stamp.stamped_at) if newest else (None, None)
        print_json({"checkpoint": size, "stamped_at": at})
    elif newest is None:
        terminal.print("The evidence log is empty: there is nothing to stamp.")
    else:
        terminal.print(f"Checkpoint {newest.size} was stamped {newest.stamp.stamped_at:%Y-%m-%d %H:%M:%S} UTC.")


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
        f" {report.bundles} bundles read, {report.pruned} pruned after their retention."
    )
    mark = "[red]✗[/]" if report.findings else "[green]✓[/] The log is the one that was signed, and all of it is there."
    terminal.print(f"{mark} {counts}", highlight=False)
