"""`oem-submissions desk-log` and `desk-token`: who did what at the desk, and tokens for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from oem_submissions import wiring
from oem_submissions.cli.console import AsJson, open_ledger, print_json, show_rows
from oem_submissions.cli.errors import terminal
from oem_submissions.domain.desk_log import DeskRecord
from oem_submissions.domain.texts import visible
from oem_submissions.settings import read_settings


def desk_log(
    who: Annotated[str | None, typer.Option(help="Only this user.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many lines, from the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Who signed in at the desk, decided, downloaded, or was refused."""
    with open_ledger() as ledger:
        records = ledger.access_log(limit, who)
    if as_json:
        print_json({"lines": [_document(record) for record in records]})
    else:
        show_rows([_row(record) for record in records], "Nothing was done at the desk yet.")


def desk_token(
    name: str,
    operator: Annotated[bool, typer.Option("--operator", help="Its bearer may decide; without, look.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a token for a machine; the desk is told only its hash."""
    # Here and not above: only this command needs the web's libraries, and they take a tenth of a second.
    from oem_submissions.desk.access import Role, fit_name
    from oem_submissions.desk.tokens import new_token

    fit = fit_name(name)
    if fit is None or any(char in fit for char in ":,"):
        raise typer.BadParameter(f"'{visible(name)[:100]}' should be a name of one line, without colon and comma.")
    token, entry = new_token(fit, Role.OPERATOR if operator else Role.VIEWER)
    where = wiring.secret_source(read_settings()).where("desk/tokens")
    if as_json:
        print_json({"token": token, "entry": entry, "variable": where})
        return
    terminal.print(f"For the machine, and shown only now:\n{token}", markup=False, highlight=False, soft_wrap=True)
    terminal.print(f"For the desk, added to {where}:\n{entry}", markup=False, highlight=False, soft_wrap=True)


def _document(record: DeskRecord) -> dict[str, Any]:
    return {"number": record.number, "at": record.at, **asdict(record.entry)}


def _row(record: DeskRecord) -> dict[str, object]:
    told = {name: visible(value) if value else value for name, value in asdict(record.entry).items()}
    return {"at": f"{record.at:%Y-%m-%d %H:%M:%S}", **told}
