"""The commands. Each reads its words, calls a service, and prints.

`--json` prints one document on stdout and nothing else.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from dotenv import load_dotenv
from rich.table import Table
from rich.text import Text

from adapters.registry import ADAPTERS
from oem_submissions import wiring
from oem_submissions.cli.alerts import alerts, telling
from oem_submissions.cli.console import AsJson, Keys, OnlyOem, open_ledger, person, print_json, require_known, show_rows
from oem_submissions.cli.dead_letters import breakers, dead_letters
from oem_submissions.cli.desk_access import desk_log, desk_token
from oem_submissions.cli.errors import Exit, NotSo, run_saying_errors, terminal
from oem_submissions.cli.evidence import evidence
from oem_submissions.cli.new_oem import new_oem
from oem_submissions.cli.probe import probe
from oem_submissions.cli.release import closed_sentence, release
from oem_submissions.cli.restored import restored
from oem_submissions.cli.sessions import sessions
from oem_submissions.domain.dispositions import Standing
from oem_submissions.domain.evidence import bundle_key
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.gate import NEEDED
from oem_submissions.domain.reasons import REASONS, reasons_table
from oem_submissions.domain.records import Claim
from oem_submissions.domain.releases import ReleaseState
from oem_submissions.domain.scheduler_health import OemHealth
from oem_submissions.domain.states import HELD, State
from oem_submissions.domain.texts import visible
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.chain import broken_links
from oem_submissions.ledger.migrate import migrate as migrate_ledger
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.services.queue import note_command
from oem_submissions.services.release import current, streak_of
from oem_submissions.services.review import Verdict
from oem_submissions.services.scheduler_health import scheduler_health
from oem_submissions.settings import PROJECT, Settings, read_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Files dealers' claims in manufacturers' web portals: once, with proof.",
)
review = typer.Typer(no_args_is_help=True, help="Claims whose outcome can't be told.")
packs = typer.Typer(no_args_is_help=True, help="Selector packs.")
dealers = typer.Typer(no_args_is_help=True, help="Dealers.")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(breakers, name="breakers")
app.add_typer(alerts, name="alerts")
app.add_typer(evidence, name="evidence")
app.add_typer(review, name="review")
app.add_typer(packs, name="packs")
app.add_typer(dealers, name="dealers")
app.command("new-oem")(new_oem)
app.add_typer(release, name="release")
app.add_typer(restored, name="restored")
app.add_typer(sessions, name="sessions")
app.add_typer(evidence, name="evidence")
app.command()(probe)
app.command()(desk_log)
app.command()(desk_token)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def main() -> None:
    """The entry point. SIGTERM stops as Ctrl-C does."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell that starts us in the background has SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    load_dotenv(PROJECT / ".env", override=False)
    words = [word for word in sys.argv[1:] if word != "--debug"]  # wherever it stands
    run_saying_errors(lambda: app(words), debug=len(words) < len(sys.argv) - 1)


@app.callback()
def options(debug: Debug = False) -> None:
    """Options of every command."""


# --- the whole system ---------------------------------------------------------------------------------------------


@app.command()
def demo(
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Stop when every claim has ended.")] = False,
    as_json: AsJson = False,
    seed: Annotated[int, typer.Option(help="Which made-up claims.")] = 1,
    fault: Annotated[str | None, typer.Option(help="A fault of the simulated portals, once per OEM.")] = None,
) -> None:
    """Everything on this machine with simulated portals and CRM, through the real queue, to the end."""
    from oem_submissions.cli.demo import outcome_document, outcome_table, run_to_the_end, running_demo

    terminal.print("Starting PostgreSQL, the simulated portals and CRM, Dagster and the evidence desk …")
    with running_demo(read_settings(), seed, fault) as running:
        document = outcome_document(running, run_to_the_end(running))
        if as_json:
            print_json(document)
        else:
            terminal.print(outcome_table(running, document))
        if not no_serve:
            terminal.print("Serving. Ctrl-C stops everything.")
            _wait_for_ctrl_c()


@app.command()
def up(simulate: Annotated[bool, typer.Option("--simulate", help="With simulated portals and CRM.")] = False) -> None:
    """Start database, Dagster webserver and daemon, and desk; Ctrl-C stops all."""
    from oem_submissions.cli.demo import Demo, running_demo
    from oem_submissions.cli.stack import running_stack

    settings = read_settings()
    if not simulate:
        wiring.bare_store(settings).inspect()  # a bucket that can't lock evidence is refused before anything is filed
    with running_demo(settings, 1, None) if simulate else running_stack(settings, {}) as running:
        addresses = (running.up if isinstance(running, Demo) else running).addresses
        terminal.print(f"Dagster        {addresses.dagster}\nEvidence desk  {addresses.desk}")
        if addresses.simulator:
            terminal.print(f"Simulator      {addresses.simulator}")
        terminal.print("Serving. Ctrl-C stops everything.")
        _wait_for_ctrl_c()


@app.command()
def chaos(
    minutes: Annotated[float, typer.Option(min=0.1, help="Of faults; what it takes to come to rest is added.")] = 5,
    seed: Annotated[int, typer.Option(help="Which faults, in which order, and which made-up claims.")] = 1,
    home: Annotated[
        Path | None, typer.Option(help="An empty folder to keep; else one that goes if all is well.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The whole system under random faults, judged by what the portals filed. Touches nothing of this installation."""
    from oem_submissions.cli.chaos import chaos_home, chaos_table, run_chaos, wrong_in

    with chaos_home(home) as own:
        terminal.print(f"Starting a whole system in {own} …")
        document = run_chaos(minutes, seed, own)  # whatever ends it early: the folder stays, and its name was printed
    wrong = wrong_in(document)
    document["evidence"] = str(own) if home or wrong else None
    if document["evidence"] is None:
        shutil.rmtree(own, ignore_errors=True)
    if as_json:
        print_json(document)
    else:
        terminal.print(chaos_table(document))
    if wrong:
        raise NotSo(f"Must be none and is not: {', '.join(wrong)}. The logs, and each claim's events, are in {own}.")


@app.command()
def soak(
    hours: Annotated[float, typer.Option(min=0.01, help="Of the scheduler's time.")] = 24,
    speed: Annotated[float, typer.Option(min=1, help="So many times as fast: 24 hours at 60 take 24 minutes.")] = 60,
    seed: Annotated[int, typer.Option(help="Which made-up claims.")] = 1,
    kill_daemon: Annotated[
        bool, typer.Option("--kill-daemon", help="SIGKILL Dagster's daemon in the middle, and start it again.")
    ] = False,
    home: Annotated[
        Path | None, typer.Option(help="An empty folder to keep; else one that goes if all is well.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A scheduler's day in less time, judged by the append-only logs: orphans, overlaps, missed ticks, lateness.

    Compressed are the OEMs' cadences, down to a tick a minute, and their catch-up windows. Real are Dagster's daemon
    and queue, database, leases, workers, browser, portals and every second they take. A missed tick is one also when it
    was made up. Touches nothing of this installation.
    """
    from oem_submissions.cli.chaos import chaos_home
    from oem_submissions.cli.soak import run_soak, soak_table, wrong_in

    with chaos_home(home) as own:
        terminal.print(f"Starting a whole system in {own} …")
        document = run_soak(hours, speed, seed, kill_daemon, own)
    wrong = wrong_in(document)
    if not (home or wrong):
        shutil.rmtree(own, ignore_errors=True)
    if as_json:
        print_json(document)
    else:
        terminal.print(soak_table(document))
    if wrong:
        raise NotSo(f"Must be none and is not: {', '.join(wrong)}. The logs are in {own}.")


@app.command()
def simulator(
    port: Annotated[int, typer.Option(help="Of http; 0 takes any.")] = 8700,
    state: Annotated[Path | None, typer.Option(help="Where it keeps what it filed; in memory without.")] = None,
    skin: Annotated[list[str] | None, typer.Option(help="module:Class of one more portal; may be repeated.")] = None,
    accounts: Annotated[bool, typer.Option("--accounts", help="Make a log-in for each portal, and print it.")] = False,
) -> None:
    """The simulated portals and CRM alone."""
    words = ["--port", str(port)] + (["--state", str(state)] if state else []) + ["--accounts"] * accounts
    words += [word for name in skin or () for word in ("--skin", name)]
    os.execv(sys.executable, [sys.executable, "-m", "oem_submissions.simulator", *words])  # noqa: S606 - no shell, our own module


@app.command()
def desk(
    port: Annotated[int, typer.Option(help="Where it listens.")] = 8787,
    host: Annotated[
        str | None, typer.Option(help="Address; OEM_SUBMISSIONS_DESK_HOST without, else 127.0.0.1.")
    ] = None,
) -> None:
    """The evidence desk alone. Anywhere but on this machine it starts only with a way to sign in."""
    from oem_submissions.cli.desk import desk_app
    from oem_submissions.desk.serving import serve

    settings = read_settings()
    host = host or settings.desk.host
    with open_ledger(settings) as ledger:
        access = wiring.desk_access(settings, host, person(), ledger)
        serve(desk_app(ledger, wiring.evidence_store(settings, ledger), settings), access, host, port)


@app.command()
def watch() -> None:
    """Look after workers without Dagster, and tell people of alerts. Ctrl-C stops it.

    Lost workers are found, and their claims put right; the dead man's switch is pinged while all is well.
    """
    from oem_submissions.cli.watch import watch as look_after

    settings = read_settings()
    stop = threading.Event()
    with open_ledger(settings) as ledger, telling(settings, ledger):
        look_after(ledger, settings.lease_seconds, stop)


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the ledger's schema up to date; safe to repeat, safe beside running workers."""
    engine = ledger_engine(wiring.database_url(read_settings()))
    try:
        revision = migrate_ledger(engine)
    finally:
        engine.dispose()
    print_json({"revision": revision}) if as_json else terminal.print(f"The ledger is at revision {revision}.")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What is missing on this machine or wrong in the configuration, and the command that mends it."""
    from oem_submissions.cli.doctor import diagnose

    settings = read_settings()
    diagnoses = diagnose(settings, wiring.secret_source(settings))
    if as_json:
        print_json({"ok": all(d.ok for d in diagnoses), "parts": [asdict(d) for d in diagnoses]})
    else:
        table = Table(show_header=False, box=None)
        for diagnosis in diagnoses:
            table.add_row("[green]✓[/]" if diagnosis.ok else "[red]✗[/]", diagnosis.part, diagnosis.says)
        terminal.print(table)
    if not all(d.ok for d in diagnoses):
        raise typer.Exit(Exit.NOT_SO)


@app.command()
def reasons() -> None:
    """Every reason code and what to do about it, as Markdown."""
    sys.stdout.write(reasons_table())


# --- work ---------------------------------------------------------------------------------------------------------


@app.command()
def enqueue(
    oem: str,
    dealer: Annotated[list[str] | None, typer.Option(help="Only this dealer; may be repeated.")] = None,
    period: Annotated[str | None, typer.Option(help="Only this period.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put due work in the queue, idempotently, and return."""
    require_known(oem)
    wanted = tuple(dealer or ())
    with open_ledger() as ledger:
        due = ledger.due_work(oem, wanted, period)
        request = ledger.request_enqueue(oem, wanted, period, person()) if due else None
        closed = closed_sentence(ledger, oem) if due else None
        if not wanted and period is None:
            note_command(ledger, ADAPTERS[oem], len(due))
    document = {"oem": oem, "request_id": request, "due": [asdict(work) for work in due], "closed": closed}
    if as_json:
        print_json(document)
    elif due:
        claims = sum(work.claims for work in due)
        requested = f"{len(due)} runs for {claims} claims are requested"
        terminal.print(f"{oem}: {requested}; those under way are not queued twice.")
        if closed:
            terminal.print(closed, style="yellow", markup=False, highlight=False)
    else:
        terminal.print(f"{oem}: nothing is due.")


@app.command()
def status(as_json: AsJson = False) -> None:
    """Per OEM: release and streak, claims by state, queue age, last tick; the scheduler's trouble of the last day."""
    with open_ledger() as ledger:
        health = {one.oem: one for one in scheduler_health(ledger, ADAPTERS, {}).oems}
        rows = [_status(oem, ledger, health[oem]) for oem in ADAPTERS]
        open_alerts = ledger.alerts()
    if as_json:
        print_json({"oems": rows, "alerts": [asdict(alert) for alert in open_alerts]})
        return
    show_rows([_shown(row) for row in rows], "")
    for alert in open_alerts:
        times = f" ({alert.count} times)" if alert.count > 1 else ""
        at = f"{alert.raised_at:%Y-%m-%d %H:%M}"
        terminal.print(f"ALERT {at} {alert.kind}{times}: {alert.text}", style="red", markup=False, highlight=False)


_TROUBLES = ("missed_ticks", "orphans", "overlaps", "stuck")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """The row as it fits a terminal."""
    dots = "●" * min(row["streak"] or 0, NEEDED) + "○" * max(NEEDED - (row["streak"] or 0), 0)
    stands = f"{row['release']} {row['state']}" if row["release"] else None
    if row["state"] == ReleaseState.VERIFYING:
        stands = f"{stands} {dots}"
    said = [f"{row[name]} {name.replace('_', ' ')}" for name in _TROUBLES if row[name]]
    rest = {n: v for n, v in row.items() if n not in ("oem", "release", "state", "streak", "late", *_TROUBLES)}
    return {"oem": row["oem"], "release": stands, **rest, "trouble": ", ".join([*said, *filter(None, [row["late"]])])}


def _status(oem: str, ledger: Ledger, health: OemHealth) -> dict[str, Any]:
    count, queue = ledger.states_of(oem), ledger.queue_lines([oem])[0]
    oldest, tick = queue.oldest_ready, queue.last_tick
    release = current(ledger, ADAPTERS[oem])
    return {
        "oem": oem,
        "release": release.pins.pack_version if release else None,
        "state": release.state if release else None,
        "streak": streak_of(ledger, release).count if release else None,
        "ready": count[State.READY],
        "running": count[State.PREPARED] + count[State.ARMED],
        "filed": count[State.CONFIRMED] + count[State.SEALED] + count[State.SYNCED],
        "refused": count[State.REJECTED],
        "held": sum(count[state] for state in HELD),
        "dead": count[State.DEAD],
        "breaker": ledger.breaker(oem).position,
        "queue_age_seconds": round((datetime.now(UTC) - oldest).total_seconds()) if oldest else None,
        "last_tick": tick.isoformat(timespec="seconds") if tick else None,
        "late": " and ".join(health.queue.late) or None,
        "missed_ticks": len(health.missed),
        "orphans": len(health.orphans),
        "overlaps": len(health.overlaps),
        "stuck": len(health.stuck),
    }


@app.command()
def withdraw(
    claim_id: str,
    by: Annotated[str, typer.Option(help="Your name; it stands in the claim's chain for ever.")],
    why: Annotated[str, typer.Option(help="Why: cancelled, keyed in by hand, its record is gone …")],
) -> None:
    """Take a claim back before it is filed, for ever: what is or may be filed is not withdrawn."""
    with open_ledger() as ledger:
        claim = ledger.claim(claim_id)
        if claim is None:
            raise NotSo(f"There is no claim {claim_id}: look it up with `oem-submissions lookup`.")
        try:
            ledger.withdraw(claim, by, why)
        except StateConflict as refused:
            raise NotSo(str(refused)) from refused
    terminal.print(f"Claim {claim_id} is withdrawn; the next run of its partition tells the CRM.")


@app.command()
def lookup(text: str, as_json: AsJson = False) -> None:
    """By reference, claim id, CRM record, repair order, VIN, invoice: the claim's story and where its proof is."""
    settings = read_settings()
    with open_ledger(settings) as ledger:
        found = ledger.find(text)
        if not found:
            raise NotSo(
                f"Nothing is known under '{text}': "
                "try the reference, claim id, CRM record, repair order, VIN or invoice."
            )
        stories = [_story(claim, ledger, settings) for claim in found]
    if as_json:
        print_json({"claims": stories})
        return
    for story in stories:
        _show_story(story)


def _story(claim: Claim, ledger: Ledger, settings: Settings) -> dict[str, Any]:
    events, standing = ledger.events(claim.claim_id), ledger.standing(claim.claim_id)
    return {
        **{k: v for k, v in asdict(claim).items() if k != "payload"},
        "disposition": _disposition(standing) if standing else None,
        "next": REASONS[claim.reason].action if claim.reason else None,
        "page": f"{settings.desk_url}/claims/{claim.claim_id}",
        "evidence": f"{settings.desk_url}/e/{claim.claim_id}/{claim.bundle_digest}" if claim.bundle_digest else None,
        "chain": broken_links(events) or "intact",
        "events": [asdict(event) for event in events],
    }


def _disposition(standing: Standing) -> dict[str, Any]:
    """What the OEM decided, as last seen; `text` is the portal's word."""
    shown = ("disposition", "text", "expected", "overdue", "changed_at", "seen_at")
    return {name: getattr(standing, name) for name in shown}


def _in_words(disposition: dict[str, Any]) -> str:
    flags = [] if disposition["expected"] else ["not expected after what it was"]
    flags += ["overdue"] if disposition["overdue"] else []
    since = f"{disposition['changed_at']:%Y-%m-%d %H:%M} UTC"
    said = f"{disposition['disposition']}, '{visible(disposition['text'])}', since {since}"
    return "; ".join([said, *flags])


def _show_story(story: dict[str, Any]) -> None:
    facts = Table.grid(padding=(0, 2))
    for name in ("claim_id", "oem", "dealer", "period", "state", "reference", "reason", "reason_text", "next",
                 "crm_record_id", "run_id", "page", "evidence", "chain"):  # fmt: skip
        if story[name]:
            facts.add_row(f"[bold]{name.replace('_', ' ')}", Text(visible(str(story[name]))))
    if story["disposition"]:
        facts.add_row("[bold]the OEM's decision", Text(_in_words(story["disposition"])))
    terminal.print(facts)
    table = Table(header_style="bold", box=None, padding=(0, 2))
    for column in ("at (UTC)", "what", "move", "who", "details"):
        table.add_column(column, no_wrap=column == "at (UTC)")
    for event in story["events"]:
        move = f"{event['from_state'] or ''} → {event['to_state']}" if event["to_state"] else ""
        at = event["at"].strftime("%Y-%m-%d %H:%M:%S")
        details = ", ".join(f"{k} {v}" for k, v in event["details"].items() if v and len(str(v)) < 60)
        said = (at, event["kind"].replace("_", " "), move, event["actor"], details)
        table.add_row(*(Text(visible(part)) for part in said))  # a portal's words are no markup
    terminal.print(table)


# --- a new OEM ----------------------------------------------------------------------------------------------------


@app.command()
def conformance(
    oem: str,
    skin: Annotated[str | None, typer.Option(help="module:Class of the simulated portal; ours without.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this scenario; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """The fault suite: the adapter with its newest pack, on its simulated portal. Ready for the gate, or not."""
    from oem_submissions.cli.conformance import run_conformance

    require_known(oem)
    report = run_conformance(oem, skin, only or (), read_settings(), with_table=not as_json)
    if as_json:
        print_json(report.document())
    if report.first_failure is not None:
        raise typer.Exit(Exit.NOT_SO)


# --- evidence -----------------------------------------------------------------------------------------------------


@app.command()
def verify(what: str, key: Keys = None, as_json: AsJson = False) -> None:
    """Verify a bundle offline (a zip, or its unpacked folder), or the sealed bundle of a claim."""
    keys = wiring.trusted_keys(read_settings(), key or ())
    verification = verify_bundle(Path(what) if Path(what).exists() else _bundle_of(what), keys=keys)
    if as_json:
        print_json(
            {
                "ok": verification.ok,
                "digest": verification.digest,
                "findings": [asdict(finding) for finding in verification.findings],
            }
        )
    elif verification.ok:
        terminal.print(f"[green]✓[/] The bundle is whole, signed and in the log. Digest {verification.digest}")
    for finding in verification.findings if not as_json else ():
        terminal.print(f"✗ {finding}", style="red", markup=False)
    if not verification.ok:
        raise typer.Exit(Exit.NOT_SO)


def _bundle_of(claim_id: str) -> bytes:
    settings = read_settings()
    with open_ledger(settings) as ledger:
        claim = ledger.claim(claim_id)
    if claim is None:
        raise NotSo(f"'{claim_id}' is neither a file nor a claim: see `oem-submissions lookup`.")
    if claim.bundle_digest is None:
        raise NotSo(f"Claim {claim_id} is {claim.state} and has no sealed bundle.")
    if claim.pruned_at is not None:
        raise NotSo(f"The bundle of claim {claim_id} was given up on {claim.pruned_at:%Y-%m-%d}, past its retention.")
    return wiring.bare_store(settings).get(bundle_key(claim_id, claim.bundle_digest))


# --- what needs a person ------------------------------------------------------------------------------------------


@review.command("list")
def list_held(oem: OnlyOem = None, as_json: AsJson = False) -> None:
    """Every held claim, with what to do."""
    with open_ledger() as ledger:
        held = [claim for state in sorted(HELD) for claim in ledger.all_claims(oem, state)]
        _show_claims(held, as_json, "No claim is held.")


@review.command("decide")
def decide_held(
    claim: str,
    verdict: Annotated[Verdict, typer.Option(help="What the portal itself shows.")],
    by: Annotated[str, typer.Option(help="Your name; it stands in the claim's story for ever.")],
    why: Annotated[str, typer.Option(help="What you saw, and where.")],
    reference: Annotated[str | None, typer.Option(help="The portal's reference, for the verdict 'filed'.")] = None,
    picture: Annotated[Path | None, typer.Option(help="PNG, JPEG or WebP of the page that shows it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give your verdict on a claim that needs review. A filed one is sealed and told to the CRM by the next run."""
    from oem_submissions.cli.verdicts import Verdicts

    settings = read_settings()
    with open_ledger(settings) as ledger:
        held = ledger.claim(claim)
        if held is None:
            raise NotSo(f"There is no claim '{claim}'; `oem-submissions review list` shows those that are held.")
        verdicts = Verdicts(ledger, wiring.evidence_store(settings, ledger), settings)
        decided = verdicts.carry_out(held, verdict, by, why, reference, _read(picture) if picture else None)
    if as_json:
        print_json({"claim_id": decided.claim_id, "state": decided.state, "reference": decided.reference})
    else:
        terminal.print(f"Claim {decided.claim_id} is {decided.state} {decided.reference or ''}")


def _read(picture: Path) -> bytes:
    try:
        return picture.read_bytes()
    except OSError as error:
        raise NotSo(f"{picture} can't be read: {error}") from error


def _show_claims(claims: Sequence[Claim], as_json: bool, nothing: str) -> None:
    rows = [
        {
            "claim_id": claim.claim_id,
            "oem": claim.oem,
            "dealer": claim.dealer,
            "state": claim.state,
            "reason": claim.reason,
            "text": claim.reason_text,
            "next": REASONS[claim.reason].action if claim.reason else None,
        }
        for claim in claims
    ]
    if as_json:
        print_json({"claims": rows})
    else:
        show_rows(rows, nothing)


# --- packs and dealers --------------------------------------------------------------------------------------------


@packs.command("check")
def check_packs(as_json: AsJson = False) -> None:
    """Validate every pack and run its goldens. The first that is wrong is named."""
    with wiring.browser_runtime(read_settings()) as runtime:
        found = [f"{pack.oem} {pack.version} {pack.digest[:12]}" for pack in runtime.check()]
    if as_json:
        print_json({"packs": found})
    else:
        terminal.print("Valid, and the goldens give what they should: " + ", ".join(found))


@packs.command("lock")
def lock_packs() -> None:
    """Freeze the packs that are released: from now on they may not be edited."""
    from oem_submissions.portal.packs import check_packs as check
    from oem_submissions.portal.packs import lock_packs as lock

    selectors = read_settings().selectors
    found = check(selectors)
    lock(selectors, found)
    terminal.print(f"Locked: {', '.join(f'{pack.oem} {pack.version}' for pack in found)}.")


@dealers.command("list")
def list_dealers(as_json: AsJson = False) -> None:
    """Dealers by OEM: which are pilots, that verify what is new, and whether their portal log-in is set."""
    settings = read_settings()
    secrets = wiring.secret_source(settings)
    with open_ledger(settings) as ledger:
        rows = [
            {
                "oem": oem,
                "dealer": dealer,
                "pilot": dealer in pilots,
                "log_in_set": secrets.find(f"portal/{oem}/{dealer}/password") is not None,
            }
            for oem in ADAPTERS
            for pilots in [ledger.pilots(oem)]
            for dealer in ledger.dealers(oem)
        ]
    if as_json:
        print_json({"dealers": rows})
        return
    table = Table("OEM", "dealer", "pilot", "log-in", header_style="bold")
    for row in rows:
        where = secrets.where(f"portal/{row['oem']}/{row['dealer']}/password")
        pilot = "yes" if row["pilot"] else ""
        table.add_row(str(row["oem"]), str(row["dealer"]), pilot, "set" if row["log_in_set"] else f"set {where}")
    terminal.print(table)


@dealers.command("import")
def import_dealers(file: Path) -> None:
    """Dealers from a CSV with the columns oem, dealer and, optionally, name and pilot (yes or no)."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise NotSo(f"{file} can't be read: {error}") from error
    for number, row in enumerate(rows, 2):
        if not row.get("oem") or not row.get("dealer"):
            raise NotSo(f"{file}, line {number}: the columns oem and dealer must be filled. Nothing was imported.")
        require_known(row["oem"])
        if (row.get("pilot") or "no").strip().lower() not in ("yes", "no"):
            raise NotSo(f"{file}, line {number}: pilot is '{row['pilot']}', not yes or no. Nothing was imported.")
    with open_ledger() as ledger:
        ledger.import_dealers([(r["oem"], r["dealer"], r.get("name") or None, _is_pilot(r)) for r in rows])
    terminal.print(f"{len(rows)} dealers imported.")


def _is_pilot(row: dict[str, str]) -> bool:
    return (row.get("pilot") or "").strip().lower() == "yes"


# --- helpers of this file -----------------------------------------------------------------------------------------


def _wait_for_ctrl_c() -> None:
    try:
        signal.pause()
    except KeyboardInterrupt:
        terminal.print("Stopping …")
