"""`oem-submissions sessions`: the signed-in sessions that wait for their account's next run, and throwing them away."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from oem_submissions.cli.console import AsJson, open_ledger, print_json, require_known, show_rows
from oem_submissions.cli.errors import terminal
from oem_submissions.domain.records import ShelvedSession

sessions = typer.Typer(no_args_is_help=True, help="Sessions at portals that are kept, encrypted, for the next run.")


@sessions.command("list")
def list_sessions(as_json: AsJson = False) -> None:
    """Every kept session: whose, since when it is signed in, until when it may be used. What is in it nobody sees."""
    with open_ledger() as ledger:
        rows = [_row(kept) for kept in ledger.kept_sessions()]
    if as_json:
        print_json({"sessions": rows})
    else:
        show_rows(rows, "No session is kept.")


def _row(kept: ShelvedSession) -> dict[str, str]:
    return {
        name: value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
        for name, value in asdict(kept).items()
    }


@sessions.command("forget")
def forget(
    oem: str,
    dealer: Annotated[str | None, typer.Option(help="Only this dealer's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Throw away what is kept of an OEM's accounts: their next runs log in. A run that is under way is not disturbed.

    At the portal such a session ends when the portal ends it.
    """
    require_known(oem)
    with open_ledger() as ledger:
        count = ledger.forget_sessions(oem, dealer)
        under_way = [
            lease.dealer for lease in ledger.held_leases() if lease.oem == oem and dealer in (None, lease.dealer)
        ]
    if as_json:
        print_json({"forgotten": count, "under_way": under_way})
        return
    terminal.print(f"{count} thrown away.")
    if under_way:
        terminal.print(
            f"Under way, and kept again when they end well: {', '.join(under_way)}. Give the command again then."
        )
