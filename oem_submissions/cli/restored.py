"""`oem-submissions restored`: the ledger was put back to an older time, and what it forgot must not be filed twice."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from adapters.registry import ADAPTERS
from oem_submissions.cli.console import AsJson, OnlyOem, open_ledger, print_json, require_known, show_rows
from oem_submissions.cli.errors import NotSo, terminal
from oem_submissions.ledger.store import Ledger

restored = typer.Typer(no_args_is_help=True, help="After a restore to an older time: look up first, then file.")

By = Annotated[str, typer.Option(help="Your name; it stands in every claim's chain for ever.")]
Why = Annotated[str, typer.Option(help="Why, in words for those who read it next year.")]
Since = Annotated[str, typer.Option(help="To when the ledger was put back: 2026-11-26T02:10:00+00:00.", metavar="ISO")]


@restored.command("hold")
def hold(since: Since, by: By, why: Why, oem: OnlyOem = None, as_json: AsJson = False) -> None:
    """Before anything runs again: no claim is filed that was not looked up in the portal's history since now.

    Of every claim that may have been filed after the backup, whatever state the backup has it in; and of those that are
    taken in from now on, until `restored over`.
    """
    if oem is not None:
        require_known(oem)
    with open_ledger() as ledger:
        moment = _moment(since, ledger.now())
        count = ledger.hold_after_restore([oem] if oem else sorted(ADAPTERS), moment, by, why, only=oem is not None)
        rows = _rows(ledger)
    if as_json:
        print_json({"in_doubt": count, "oems": rows})
        return
    show_rows(rows, "The ledger has no claim that could be filed.")
    terminal.print(
        f"{count} claims are looked up before they are filed, and so are those that are taken in from now on. "
        "When the CRM's due records were all taken in: `oem-submissions restored over`."
    )


@restored.command("show")
def show(as_json: AsJson = False) -> None:
    """What is still in doubt, by OEM and state, and whether new claims are."""
    with open_ledger() as ledger:
        rows = _rows(ledger)
    if as_json:
        print_json({"oems": rows})
    else:
        show_rows(rows, "Nothing is in doubt: the ledger was never put back to an older time.")


@restored.command("over")
def over(by: By, why: Why, oem: OnlyOem = None) -> None:
    """Every record that was due in the CRM at the restore was taken in: claims that come now are filed as ever.

    Claims that are in doubt stay so until they were looked up.
    """
    with open_ledger() as ledger:
        open_ones = [one for one in ledger.restores() if not one.is_over and oem in (None, one.oem)]
        for restore in open_ones:
            ledger.restore_is_over(restore, by, why)
    if not open_ones:
        raise NotSo("No restore is under way: see `oem-submissions restored show`.")
    terminal.print(f"Over for {', '.join(restore.oem for restore in open_ones)}; what is in doubt is still looked up.")


def _moment(text: str, now: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is no time: write it as 2026-11-26T02:10:00+00:00.") from error
    if moment.tzinfo is None:
        raise typer.BadParameter(f"'{text}' does not say in which time zone: add +00:00 for UTC.")
    if moment >= now:
        raise typer.BadParameter(f"'{text}' has not come yet: it is {now:%Y-%m-%dT%H:%M:%S+00:00}.")
    return moment


def _rows(ledger: Ledger) -> list[dict[str, Any]]:
    doubts: dict[str, list[str]] = {}
    for oem, state, claims in ledger.in_doubt():
        doubts.setdefault(oem, []).append(f"{claims} {state}")
    return [
        {**asdict(restore), "in_doubt": ", ".join(doubts.get(restore.oem, ()))}
        for restore in ledger.restores()
    ]  # fmt: skip
