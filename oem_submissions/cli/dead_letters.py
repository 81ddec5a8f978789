"""`oem-submissions dead-letters` and `breakers`: what stopped, why, and the way back."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from oem_submissions.cli.console import AsJson, OnlyOem, OnlyReason, open_ledger, person, print_json, show_rows
from oem_submissions.cli.errors import NotSo, terminal
from oem_submissions.domain.breaker import Breaker, Position
from oem_submissions.domain.reasons import REASONS
from oem_submissions.domain.states import State
from oem_submissions.services.breaking import close, free_account
from oem_submissions.services.dead_letters import DeadLetter, as_rows, letter_of
from oem_submissions.services.dead_letters import dead_letters as find_letters
from oem_submissions.services.dead_letters import redrive as redrive_letters
from oem_submissions.settings import read_settings

dead_letters = typer.Typer(no_args_is_help=True, help="Claims that ended before the click, with their reasons.")
breakers = typer.Typer(no_args_is_help=True, help="Portals and accounts that are left alone, and why.")

OnlyPack = Annotated[str | None, typer.Option("--pack", help="Only those that died under this pack version.")]
By = Annotated[str | None, typer.Option("--by", help="Your name; without it, the user of this shell.")]


@dead_letters.command("list")
def list_dead_letters(
    oem: OnlyOem = None, reason: OnlyReason = None, pack: OnlyPack = None, as_json: AsJson = False
) -> None:
    """Every dead letter, with what to do."""
    with open_ledger() as ledger:
        rows = as_rows(find_letters(ledger, oem, reason, pack))
    if as_json:
        print_json({"dead_letters": rows})
        return
    short = ("claim_id", "oem", "dealer", "reason", "attempts", "text", "next")
    show_rows([{name: row[name] for name in short} for row in rows], "No dead letters.")


@dead_letters.command("show")
def show_dead_letter(claim_id: str, as_json: AsJson = False) -> None:
    """One dead letter: why it died, every attempt, the evidence, what to do."""
    settings = read_settings()
    with open_ledger(settings) as ledger:
        claim = ledger.claim(claim_id)
        if claim is None or claim.state is not State.DEAD:
            stands = "is not known" if claim is None else f"is {claim.state}, no dead letter"
            raise NotSo(f"Claim {claim_id} {stands}: see `oem-submissions lookup {claim_id}`.")
        document = _document(letter_of(claim, ledger), f"{settings.desk_url}/claims/{claim_id}")
    if as_json:
        print_json(document)
        return
    facts = Table.grid(padding=(0, 2))
    for name in ("claim_id", "oem", "dealer", "period", "reason", "class", "stage", "text", "next", "page"):
        facts.add_row(f"[bold]{name}", str(document[name] or "–"))
    terminal.print(facts)
    show_rows(document["attempts"], "It was never attempted: the record was no valid claim.")
    show_rows(document["evidence"], "There is no evidence: no page was reached.")


def _document(letter: DeadLetter, page: str) -> dict[str, Any]:
    claim = letter.claim
    (row,) = as_rows([letter])
    return {
        **row,
        "period": claim.period,
        "crm_record_id": claim.crm_record_id,
        "page": page,
        "attempts": [
            {
                "number": attempt.number,
                "started_at": attempt.started_at.isoformat(timespec="seconds"),
                "run_id": attempt.run_id,
                "pack": attempt.pins.pack_version,
                "armed": attempt.armed_at is not None,
                "step": attempt.step,
                "reason": attempt.reason,
                "text": attempt.reason_text,
            }
            for attempt in letter.attempts
        ],
        "evidence": [
            {"name": artifact.name, "captured_at": artifact.captured_at.isoformat(timespec="seconds"),
             "sha256": artifact.sha256, "key": artifact.key}
            for artifact in letter.artifacts
        ],
    }  # fmt: skip


@dead_letters.command("redrive")
def redrive(
    oem: OnlyOem = None,
    reason: OnlyReason = None,
    pack: OnlyPack = None,
    by: By = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, at a terminal.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make dead letters ready again; records that were no valid claims are read again from the CRM.

    What died past the click is looked up in the portal's history, never filed again.
    """
    with open_ledger() as ledger:
        letters = find_letters(ledger, oem, reason, pack)
        if letters and not (dry_run or yes or as_json) and sys.stdin.isatty():
            show_rows(_counts(letters), "")
            typer.confirm(f"Redrive {len(letters)} claims?", abort=True, err=True)
        redriven = [] if dry_run else redrive_letters(letters, by or person(), ledger)
    if as_json:
        matching = [letter.claim.claim_id for letter in letters]
        print_json({"redriven": len(redriven), "matching": matching, "counts": _counts(letters)})
        return
    if dry_run:
        show_rows(_counts(letters), "")
        terminal.print(f"{len(letters)} claims would be redriven.")
    else:
        terminal.print(f"{len(redriven)} claims are redriven; the schedule, or `enqueue`, takes them up.")


def _counts(letters: list[DeadLetter]) -> list[dict[str, object]]:
    """How many, by what they have in common."""
    kinds: dict[tuple[str, str, str], int] = {}
    for letter in letters:
        kind = (letter.claim.oem, str(letter.claim.reason), letter.pack_version or "–")
        kinds[kind] = kinds.get(kind, 0) + 1
    return [{"oem": o, "reason": r, "pack": p, "claims": n} for (o, r, p), n in sorted(kinds.items())]


@breakers.command("list")
def list_breakers(as_json: AsJson = False) -> None:
    """Every portal and account that is left alone."""
    with open_ledger() as ledger:
        found = ledger.breakers()
    if as_json:
        print_json({"breakers": [{**asdict(breaker), "probe_is_due": breaker.probe_is_due} for breaker in found]})
    else:
        show_rows([_row(breaker) for breaker in found], "No portal and no account is left alone.")


def _row(breaker: Breaker) -> dict[str, object]:
    return {
        "oem": breaker.oem,
        "dealer": breaker.dealer,
        "position": breaker.position,
        "minutes": round(breaker.seconds / 60),
        "reason": breaker.reason,
        "text": breaker.text,
        "next": REASONS[breaker.reason].action if breaker.reason else None,
    }


@breakers.command("reset")
def reset_breaker(
    oem: str,
    dealer: Annotated[str | None, typer.Option(help="The account's; without it, the OEM's.")] = None,
    by: By = None,
) -> None:
    """Say that a portal, or an account, works again. An account's next log-in is one try: refused, it is left alone."""
    with open_ledger() as ledger:
        breaker = ledger.breaker(oem, dealer)
        if breaker.position is Position.CLOSED:
            raise NotSo(f"Nothing is left alone at {oem}{f'/{dealer}' if dealer else ''}: see `breakers list`.")
        if dealer:
            free_account(oem, dealer, by or person(), ledger)
        else:
            close(breaker, by or person(), ledger)
    terminal.print(f"{oem}{f'/{dealer}' if dealer else ''} is {'tried' if dealer else 'filed at'} again.")
