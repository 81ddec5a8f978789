"""`oem-submissions probe`: a walk through an OEM's portal that files nothing, and the next pack as a proposal."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from oem_submissions import wiring
from oem_submissions.cli.console import AsJson, person, print_json, require_known
from oem_submissions.cli.errors import Exit, NotSo, terminal
from oem_submissions.domain.contracts import Change, ProbeRecord, Severity, probe_picture_key
from oem_submissions.domain.texts import visible
from oem_submissions.settings import Settings, read_settings

if TYPE_CHECKING:
    from oem_submissions.portal.proposal import Proposal

_STYLES = {Severity.BLOCK: "red", Severity.WARN: "yellow", Severity.NOTE: "dim"}


def probe(
    oem: str,
    dealer: Annotated[str | None, typer.Option(help="Whose account; a pilot dealer's without.")] = None,
    pack: Annotated[str | None, typer.Option(help="The pack's version; the newest without.")] = None,
    propose: Annotated[
        bool, typer.Option("--propose", help="Write the next pack as a candidate, for you to review.")
    ] = False,
    into: Annotated[Path | None, typer.Option(help="Where the candidate goes; `proposals/OEM` without.")] = None,
    as_json: AsJson = False,
) -> None:
    """Walk through the live portal up to the submit button; whether every page is as its contract says."""
    require_known(oem)
    settings = read_settings()
    folder = (into or settings.home / "proposals" / oem) if propose or into else None
    record, proposal = run_probe(oem, dealer, pack, folder, settings)
    if as_json:
        print_json(_document(record, proposal))
    else:
        _say(record, proposal)
    if record.red:
        raise typer.Exit(Exit.NOT_SO)


def run_probe(
    oem: str, dealer: str | None, pack: str | None, folder: Path | None, settings: Settings
) -> tuple[ProbeRecord, Proposal | None]:
    """Probe, and with a folder write the candidate for the next pack into it."""
    from oem_submissions.portal.packs import load_pack
    from oem_submissions.portal.proposal import Proposer

    run_id = f"cli-{uuid.uuid4().hex[:12]}"
    proposer = Proposer() if folder else None
    with ExitStack() as stack:
        services = stack.enter_context(wiring.build(settings, crm=None))  # a probe tells the CRM nothing
        runtime = stack.enter_context(wiring.browser_runtime(settings, run_id))
        portal = runtime.portal(oem, pack, proposer.look if proposer else None)
        record = services.probe(oem, dealer, run_id, f"{person()}@{run_id}", portal)
    if proposer is None or folder is None:
        return record, None
    if not proposer.has_pages:
        raise NotSo(f"Nothing can be proposed, since no form was reached. {record.text}")
    why = "; ".join(dict.fromkeys(change.words for change in record.changes))
    now = datetime.now(UTC)
    why = f"Proposed by a probe of {now:%Y-%m-%d}: {why or 'the pages as they are now'}."
    used = load_pack(settings.selectors, oem, pack)
    return record, proposer.write(used, folder, visible(why)[:500], now.date())


def _document(record: ProbeRecord, proposal: Proposal | None) -> dict[str, Any]:
    pictures = [str(path) for path in proposal.pictures] if proposal else []
    files = {"candidate": str(proposal.candidate), "diff": str(proposal.diff), "pictures": pictures} if proposal else {}
    return {**asdict(record), "worst": record.worst, **files}


def _say(record: ProbeRecord, proposal: Proposal | None) -> None:
    verdict = "[bold red]red[/]" if record.red else "[bold green]green[/]"
    terminal.print(
        f"{record.oem}, pack {record.pins.pack_version}, dealer {record.dealer}: {verdict}, in {record.seconds:.1f} s"
    )
    if record.reason is not None:
        terminal.print(Text(visible(record.text), style="red"))
    by_place = sorted(record.changes, key=_place)
    for (form, page), changes in groupby(by_place, _place):
        terminal.print(Text(f"{form}, page {page}", style="bold"))
        for change in changes:
            terminal.print(Text(f"  {change.severity:5} {visible(change.words)}", style=_STYLES[change.severity]))
    for form, why in record.stopped.items():
        terminal.print(Text(f"{form} was not walked up to the submit button: {visible(why)}"))
    if record.red:
        terminal.print(Text(f"Pictures: {probe_picture_key(record, '')} in the evidence store."))
    if proposal is not None:
        _say_proposal(proposal)


def _say_proposal(proposal: Proposal) -> None:
    changed = sum(line.startswith(("+", "-")) for line in proposal.text.splitlines())
    terminal.print(
        Text(f"Proposed: {proposal.candidate}, {changed} changed lines in {proposal.diff.name}"), soft_wrap=True
    )
    terminal.print("Nothing uses it. Review it with the pictures, put it among the packs without `.candidate`, then")
    terminal.print("`oem-submissions packs check` and `oem-submissions packs lock`.")


def _place(change: Change) -> tuple[str, str]:
    return change.form, change.page
