"""`oem-submissions chaos`: the whole system under random faults, judged by what the portals filed.

Three parts: claims come due while faults strike; then everything is put right and every claim comes to rest; then the
judgement. The faults are in `chaos_faults`, the judgement in `chaos_judge`.

A home of its own: database, portals, CRM and evidence of this machine's other work are never touched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import requests
from rich.live import Live
from rich.table import Table

from adapters.registry import ADAPTERS
from oem_submissions.cli.chaos_faults import (
    FAULTS,
    OPERATOR,
    Ground,
    NothingToStrike,
    Strike,
    plan,
    processes_of,
)
from oem_submissions.cli.chaos_judge import Due, Evidence, Judgement, Wrong, judge, key_of, rests
from oem_submissions.cli.demo import Demo, running_demo
from oem_submissions.cli.errors import NotSo, terminal
from oem_submissions.cli.stack import Process, free_port
from oem_submissions.crm.mapping import SalesforceMapping
from oem_submissions.domain.records import Claim, Pins
from oem_submissions.domain.releases import Cause
from oem_submissions.domain.states import FILED, HELD, State
from oem_submissions.portal.packs import check_packs, lock_packs
from oem_submissions.ports import CrmUnavailable, LedgerUnavailable
from oem_submissions.services.breaking import close, free_account
from oem_submissions.services.release import declare_live, resume
from oem_submissions.settings import PREFIX, PROJECT, read_settings
from oem_submissions.simulator.seed import seed_claims

LEASE_SECONDS = 24
_SETTLE_MINUTES = 2
"""In the copies of the selector packs: longer than a worker's pause and a late history together, as in real ones."""
_PATIENCE = {
    "LEASE_SECONDS": str(LEASE_SECONDS),
    "CLICK_SECONDS": "16",
    "RETRY_SECONDS": "2",
    "INTAKE_SECONDS": "5",
}
_FEEDING = 0.6
"""The part of the time in which new claims come due."""
_HUNGRY = 8
"""New claims come when fewer wait than this."""
_ASK_AGAIN = 10.0
"""Seconds between two requests to enqueue what is due, and between two batches of new claims."""
_PAUSE = (2.0, 7.0)
"""Seconds between two faults."""
_A_TARGET_WITHIN = 15.0
"""Seconds that a fault waits for something to strike."""
_FIRST_WORK_SECONDS = 180.0
"""Until faults begin although nothing has been worked on yet."""
_STILL_SECONDS = 300.0
"""Without any change in the ledger, until claims that have not come to rest are given up on."""
_REST_SECONDS = 1800.0
"""Until they are given up on although something still changes."""
_MUST_BE_NONE = (Wrong.TWICE, Wrong.SILENT, Wrong.UNKNOWN, Wrong.REFERENCE, Wrong.UNFINISHED, Wrong.OVERLAP)


@dataclass
class Tally:
    """What happened, for people and for the document."""

    struck: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    """Set at a portal, until a request meets them."""
    missed: Counter[str] = field(default_factory=Counter)
    revived: Counter[str] = field(default_factory=Counter)
    """Processes that died without being struck, and were started again, as systemd or Kubernetes would."""
    last: str = ""


@contextmanager
def chaos_home(home: Path | None) -> Iterator[Path]:
    """A data folder of this run's own, and no process of it left behind."""
    own = Path(tempfile.mkdtemp(prefix="oem-submissions-chaos-")) if home is None else home.resolve()
    if home is not None and own.exists() and any(own.iterdir()):
        raise NotSo(f"{own} is not empty: chaos needs a folder of its own.")
    own.mkdir(parents=True, exist_ok=True)
    for name in [name for name in os.environ if name.startswith(PREFIX) or name == "DAGSTER_HOME"]:
        if name != f"{PREFIX}BROWSER":
            del os.environ[name]  # nothing of a real installation may be reached from here
    try:
        yield own
    finally:
        _sweep(own)


def _sweep(home: Path) -> None:
    """End what is left of the run: workers whose daemon was killed belong to nobody any more."""
    left = processes_of(f"{PREFIX}HOME", str(home))
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass
    psutil.wait_procs(left, timeout=10)


def run_chaos(minutes: float, seed: int, home: Path) -> dict[str, Any]:
    """The document of a whole run. `minutes` of faults; setting up and coming to rest take their own time."""
    extra = {f"{PREFIX}{name}": value for name, value in _PATIENCE.items()}
    extra[f"{PREFIX}SELECTORS"] = str(_impatient_packs(home))
    # Not the usual ports: they are somebody's, or another run takes them at the same moment.
    (home / "ports.json").write_text(json.dumps({name: free_port(0) for name in ("dagster", "desk")}))
    with running_demo(read_settings({f"{PREFIX}HOME": str(home)}), seed, None, extra, pilots=False) as demo:
        for oem, rules in ADAPTERS.items():  # what is tried here is not the gate
            pins = Pins(rules.digest, *demo.services.released_packs(oem)[-1])
            declare_live(demo.ledger, oem, pins, "chaos", "Everybody files, through every fault.")
        chaos = Chaos(demo, minutes * 60, seed)
        with Live(console=terminal, refresh_per_second=2, transient=True, get_renderable=chaos.board):
            chaos.rage()
            chaos.put_right()
            chaos.come_to_rest()
        return chaos.document(minutes)


def _impatient_packs(home: Path) -> Path:
    """The selector packs with a settle window of minutes: else no absence would be concluded within this run."""
    packs = home / "selectors"
    shutil.copytree(PROJECT / "selectors", packs, ignore=shutil.ignore_patterns("packs.lock"))
    for pack in packs.glob("*/v*.yaml"):
        text, found = re.subn(r"settle_minutes: \d+", f"settle_minutes: {_SETTLE_MINUTES}", pack.read_text())
        assert found, f"{pack} has no settle window"
        pack.write_text(text)
    lock_packs(packs, check_packs(packs))
    return packs


class Chaos:
    """One run: feeds claims, strikes, keeps everything else alive, and waits for the end."""

    def __init__(self, demo: Demo, seconds: float, seed: int) -> None:
        self._demo, self._seconds, self._seed = demo, seconds, seed
        self._ground = Ground(demo, LEASE_SECONDS)
        self._undo: list[tuple[float, str, Callable[[], None]]] = []
        self._tally = Tally()
        self._began = time.monotonic()
        self._phase = "starting"
        self._batches = 0
        self._keys = {due.key for due in self._due()}
        self._records = set(demo.records)
        self._asked = self._fed = self._looked = -_ASK_AGAIN
        self._claims: list[Claim] = []
        self._log = demo.up.settings.home / "logs" / "chaos.log"
        # The portal's own check would hide a second click of ours: without it the portal files whatever arrives.
        demo.portals.set_fault("aurora", "no_duplicate_check")

    # --- the parts ---

    def rage(self) -> None:
        """Faults, one after the other, while claims come due. They begin with the first worker's work."""
        while not self._demo.ledger.held_leases() and self._elapsed() < _FIRST_WORK_SECONDS:
            self._keep_going()
            time.sleep(0.1)
        self._began, self._phase = time.monotonic(), "faults"
        self._asked = self._fed = self._looked = -_ASK_AGAIN
        strikes = plan(self._seed, _PAUSE)
        strike, at = next(strikes), 0.0
        while self._elapsed() < self._seconds:
            self._keep_going()
            if self._elapsed() < self._seconds * _FEEDING:
                self._feed()
            if self._elapsed() >= at and self._strike(strike, last_try=self._elapsed() >= at + _A_TARGET_WITHIN):
                at = self._elapsed() + strike.pause
                strike = next(strikes)
            time.sleep(0.1)

    def put_right(self) -> None:
        """Every fault ends, and everything is started again."""
        self._phase = "putting everything right"
        self._end_faults(everything=True)
        self._supervise(at_once=True)
        self._demo.up.wait_until_it_answers()
        self._count_portal_faults()
        self._demo.portals.clear_faults()
        self._demo.portals.set_fault("aurora", "no_duplicate_check")
        self._demo.crm.clear_faults()

    def come_to_rest(self) -> None:
        """Until every claim rests and the CRM knows, or for as long as is reasonable."""
        self._phase = "coming to rest"
        began = changed = time.monotonic()
        seen: dict[str, int] = {}
        while time.monotonic() - began < _REST_SECONDS and time.monotonic() - changed < _STILL_SECONDS:
            self._keep_going()
            if not self._moving():
                return
            if seen != (now := {claim.claim_id: claim.version for claim in self._claims}):
                seen, changed = now, time.monotonic()
            time.sleep(0.5)
        self._say(f"This has not come to rest: {'; '.join(self._moving())}")

    def document(self, minutes: float) -> dict[str, Any]:
        """The result. With findings, their evidence is kept in the home folder."""
        claims = self._demo.ledger.all_claims()
        judgement = judge(self._evidence(claims))
        wrong = {str(kind): judgement.count(kind) for kind in Wrong}
        document = {
            "claims": judgement.claims,
            "filed_once": judgement.filed_once,
            **wrong,
            "held_for_review": judgement.held_for_review,
            "rejected": judgement.rejected,
            "dead_letters": judgement.dead_letters,
            "crm_agrees": sum(self._crm_agrees(claim) for claim in claims),
            "reasons": judgement.reasons,
            "faults": _happened(self._tally.struck),
            "missed": _happened(self._tally.missed),
            "revived": _happened(self._tally.revived),
            "minutes": minutes,
            "seed": self._seed,
            "findings": [finding.sentence for finding in judgement.findings],
        }
        self._keep_evidence(judgement, document)
        return document

    # --- while it rages ---

    def _keep_going(self) -> None:
        self._end_faults()
        self._supervise()
        try:
            self._look_and_ask()
        except LedgerUnavailable as error:  # a busy machine brings its database back late
            self._say(str(error))

    def _look_and_ask(self) -> None:
        """What the claims' states are, for the board; and that what is due is put in the queue."""
        ledger = self._demo.ledger
        if self._elapsed() - self._looked >= 1:
            self._looked = self._elapsed()
            self._claims = ledger.all_claims()
        if self._elapsed() - self._asked >= _ASK_AGAIN:
            self._asked = self._elapsed()
            self._answer_alerts()
            for oem in self._demo.services.adapters:
                if ledger.due_work(oem):
                    ledger.request_enqueue(oem, (), None, OPERATOR)

    def _answer_alerts(self) -> None:
        """The operator: what would be left alone for long is tried again: a portal, an account, a suspended release."""
        ledger = self._demo.ledger
        for breaker in ledger.breakers():
            if breaker.dealer is not None:
                free_account(breaker.oem, breaker.dealer, OPERATOR, ledger)
            elif breaker.tries > 1:
                close(breaker, OPERATOR, ledger)
        for oem in self._demo.services.adapters:
            for release in ledger.releases(oem):
                resume(ledger, release, Cause.PERSON, OPERATOR, "The faults are ours.")

    def _feed(self) -> None:
        if sum(claim.state is State.READY for claim in self._claims) >= _HUNGRY:
            return
        if self._elapsed() - self._fed < _ASK_AGAIN or self._demo.simulated.process.name in self._ground.down:
            return
        self._fed = self._elapsed()
        self._batches += 1
        records = seed_claims(self._seed * 1000 + self._batches, datetime.now(UTC).date(), pilots=False)
        named = [(key_of(r["claim_type"], r["dealer"], r["payload"]), r) for r in records]
        new = [(key, record) for key, record in named if key not in self._keys]  # chance may make a claim twice
        self._keys.update(key for key, _ in new)
        self._records.update(self._demo.crm.seed([record for _, record in new]))
        self._say(f"{len(new)} more claims are due")

    def _strike(self, strike: Strike, last_try: bool) -> bool:
        """Whether that is done: it struck, or found nothing to strike for so long that it is missed."""
        name = strike.fault.name
        try:
            undo = strike.fault.strike(self._ground, strike)
        except (NothingToStrike, LedgerUnavailable, requests.RequestException, psutil.NoSuchProcess) as error:
            if last_try:
                self._tally.missed[name] += 1
                self._say(f"{name} {strike.oem}: missed, {error}")
            return last_try
        waits = strike.fault.at_portal
        (self._tally.waiting if waits else self._tally.struck)[name] += 1
        if undo is not None:
            self._undo.append((self._elapsed() + undo.seconds, name, undo.act))
        self._say(f"{name} {strike.oem}: {strike.fault.does}")
        return True

    def _end_faults(self, everything: bool = False) -> None:
        """Those whose time has come. A portal's fault whose portal is down now is taken away when it is up again."""
        due = [item for item in self._undo if everything or item[0] <= self._elapsed()]
        # Processes first: a portal must be up for its faults to be taken away.
        for item in sorted(due, key=lambda item: item[1] != "portal_outage"):
            _, name, act = item
            try:
                act()
            except requests.RequestException:
                if everything:
                    raise
                continue
            self._undo.remove(item)
            self._say(f"{name} is over")

    def _supervise(self, at_once: bool = False) -> None:
        for process in (*self._demo.up.processes, self._demo.simulated.process):
            if process.running or (process.name in self._ground.down and not at_once):
                continue
            self._tally.revived[process.name] += 1
            self._say(f"{process.name} died by itself and is started again")
            self._start(process)

    def _start(self, process: Process) -> None:
        if process is self._demo.simulated.process:
            self._demo.simulated.start_again()
        else:
            process.start()

    def _count_portal_faults(self) -> None:
        fired = Counter(f["fault"] for f in self._demo.portals.faults() if f["fired"])
        fired.update(self._ground.bitten)
        for name in (fault.name for fault in FAULTS if fault.at_portal):
            self._tally.struck[name] += fired[name]
            self._tally.missed[name] += self._tally.waiting[name] - fired[name]

    # --- looking ---

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _moving(self) -> list[str]:
        """What still has to happen before every claim rests; a sentence each."""
        ledger = self._demo.ledger
        claims = ledger.all_claims()
        new = self._records - {claim.crm_record_id for claim in claims}
        moving = [f"record {record} was not taken in" for record in sorted(new)]
        for oem in self._demo.services.adapters:
            moving += [f"{oem}/{work.dealer} {work.period} is due" for work in ledger.due_work(oem)]
        moving += [f"claim {claim.claim_id} is {claim.state}" for claim in claims if not rests(claim)]
        return moving + [f"{lease.oem}/{lease.dealer} is held by {lease.worker}" for lease in ledger.held_leases()]

    def _due(self) -> list[Due]:
        """What was put into the CRM, as the CRM has it."""
        return [_due_of(record) for record in self._demo.crm.records()]

    def _evidence(self, claims: list[Claim]) -> Evidence:
        status = SalesforceMapping().outcome.status
        return Evidence(
            due=self._due(),
            filings={oem: portal["filings"] for oem, portal in self._demo.portals.truth().items()},
            claims=claims,
            told={record["id"]: record["fields"].get(status) for record in self._demo.crm.records()},
            lease_log=self._demo.ledger.lease_log(),
            now=self._demo.ledger.now(),
        )

    def _crm_agrees(self, claim: Claim) -> bool:
        try:
            return self._demo.services.crm_agrees(claim)
        except CrmUnavailable as error:
            self._say(f"claim {claim.claim_id}: {error}")
            return False

    def _keep_evidence(self, judgement: Judgement, document: Mapping[str, Any]) -> None:
        home = self._demo.up.settings.home
        (home / "chaos.json").write_text(json.dumps(document, indent=2, default=str))
        for finding in judgement.findings:
            if finding.claim_id is None:
                continue
            claim = self._demo.ledger.claim(finding.claim_id)
            story = {
                "finding": asdict(finding),
                "claim": asdict(claim) if claim else None,
                "attempts": [asdict(attempt) for attempt in self._demo.ledger.attempts(finding.claim_id)],
                "events": [asdict(event) for event in self._demo.ledger.events(finding.claim_id)],
            }
            (home / f"claim-{finding.claim_id}.json").write_text(json.dumps(story, indent=2, default=str))

    # --- telling ---

    def _say(self, what: str) -> None:
        self._tally.last = what
        line = f"{self._elapsed():7.1f} s  {what}"
        with self._log.open("a") as log:
            log.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {line}\n")
        terminal.print(line, markup=False, highlight=False)

    def board(self) -> Table:
        """Where it stands, for people."""
        states = Counter(claim.state for claim in self._claims)
        board = Table.grid(padding=(0, 2))
        left = max(0.0, self._seconds - self._elapsed()) if self._phase == "faults" else 0.0
        board.add_row(f"[bold]{self._phase}[/]", f"{self._elapsed():.0f} s" + (f", {left:.0f} s left" if left else ""))
        counts = {
            "ready": states[State.READY],
            "under way": states[State.PREPARED] + states[State.ARMED] + states[State.RECONCILING],
            "filed": sum(states[state] for state in FILED),
            "held": sum(states[state] for state in HELD - {State.RECONCILING}),
            "refused": states[State.REJECTED],
            "dead": states[State.DEAD],
        }
        board.add_row("claims", "  ".join(f"{name} {count}" for name, count in counts.items()))
        board.add_row("faults", f"{self._tally.struck.total()} struck, {len(self._undo)} last, {self._tally.last}")
        return board


def _happened(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count}


def wrong_in(document: Mapping[str, Any]) -> list[str]:
    """What of the document must be none and is not."""
    return [kind for kind in _MUST_BE_NONE if document[kind]]


def _due_of(record: Mapping[str, Any]) -> Due:
    values, of = record["fields"], SalesforceMapping().record
    payload = json.loads(values[of.payload])
    key = key_of(values[of.claim_type.field], values[of.dealer.field], payload)
    return Due(record["id"], values[of.oem.field], key)


def chaos_table(document: Mapping[str, Any]) -> Table:
    """The document for people."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in document.items():
        if name == "findings":
            continue
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        bad = name in _MUST_BE_NONE and value
        table.add_row(name.replace("_", " "), f"[red]{shown}[/]" if bad else shown or "–")
    for sentence in document["findings"]:
        table.add_row("[red]finding[/]", sentence)
    return table
