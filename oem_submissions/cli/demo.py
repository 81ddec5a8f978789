"""`oem-submissions demo`: the whole system on simulated portals and CRM, through the real queue, to the end.

Each OEM begins with its pilot dealer: five clean runs open the release gate, then everybody runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.registry import ADAPTERS
from oem_submissions import wiring
from oem_submissions.cli.errors import NotSo, terminal
from oem_submissions.cli.stack import DEFINITIONS, RunningStack, Simulated, running_stack, simulator
from oem_submissions.domain.records import Claim
from oem_submissions.domain.releases import Release, ReleaseState
from oem_submissions.domain.states import FILED, HELD, State
from oem_submissions.ledger.store import Ledger
from oem_submissions.services.bound import Services
from oem_submissions.services.release import current, streak_of
from oem_submissions.services.sync import evidence_url
from oem_submissions.settings import PREFIX, EnvironmentSecrets, Settings
from oem_submissions.simulator.client import SimulatorClient
from oem_submissions.simulator.crm_client import CrmAdmin
from oem_submissions.simulator.crm_store import CLIENT_ID, CLIENT_SECRET
from oem_submissions.simulator.seed import PILOTS, accounts, pilot_claims, seed_claims

_PATIENCE = 900
"""Seconds until the demo gives up waiting for the queue."""
_ASK_AGAIN = 5
"""Seconds between two requests to enqueue what is still due."""
_MORE_CLAIMS = 1000
"""Added to the seed for the pilot dealer's next claims, when a run was not clean and the streak begins anew."""


@dataclass
class Demo:
    """A stack on simulated portals and CRM, with due claims in the CRM."""

    up: RunningStack
    services: Services
    ledger: Ledger
    portals: SimulatorClient
    crm: CrmAdmin
    records: tuple[str, ...]
    """The CRM records that were seeded."""
    simulated: Simulated
    seed: int
    fault: str | None
    """Set once per OEM when its gate has opened: before, it would only set the streak back."""
    more: int = 0
    """How often a pilot dealer needed more claims."""

    def release(self, oem: str) -> Release | None:
        """The one that verifies, else the one in production."""
        return current(self.ledger, self.services.adapters[oem])


@contextmanager
def running_demo(
    settings: Settings,
    seed: int,
    fault: str | None,
    extra: Mapping[str, str] | None = None,
    pilots: bool = True,
    definitions: str = DEFINITIONS,
) -> Iterator[Demo]:
    """Everything up, accounts and due claims seeded. What an earlier demo filed is still filed.

    `extra` joins the environment of every process; `pilots`: whether there are claims for the gate's five runs;
    `definitions`: the module that Dagster loads.
    """
    with simulator(settings.home / "simulator", settings.home / "logs") as simulated:
        http = simulated.addresses["http"]
        portals, crm = SimulatorClient(http), CrmAdmin(http)
        environment = {**simulated_environment(simulated.addresses, seed), **(extra or {})}
        for account in accounts(seed):
            portals.add_account(**account)
        records = tuple(crm.seed(seed_claims(seed, datetime.now(UTC).date(), pilots)))
        if fault is not None:
            _require_fault(portals, fault)
        with running_stack(settings, environment, definitions) as up:
            secrets = EnvironmentSecrets(up.environment)
            parts = {"secrets": secrets, "crm": wiring.salesforce(up.settings, secrets)}
            with wiring.build(up.settings, **parts) as services:
                assert isinstance(services.ledger, Ledger)
                services.ledger.import_dealers([(oem, *pilot, True) for oem, pilot in PILOTS.items()])
                yield Demo(up, services, services.ledger, portals, crm, records, simulated, seed, fault)


def simulated_environment(simulated: Mapping[str, str], seed: int) -> dict[str, str]:
    """The variables that lead to the simulator: portal and CRM addresses, and made-up credentials."""
    environment = {
        "SIMULATOR": simulated["http"],
        f"{PREFIX}CRM_URL": simulated["https"],
        f"{PREFIX}CRM_CA": simulated["ca"],
        f"{PREFIX}INTAKE_SECONDS": "5",
        f"{PREFIX}EVIDENCE": "",  # never into an installation's own bucket, where it would be locked
        f"{PREFIX}PERSONAL_KEY": "",
        f"{PREFIX}SIGNING_KEY": "",  # nor by its key, which vouches for what was really filed
        f"{PREFIX}TSA_URL": "",
        f"{PREFIX}SECRETS": "",  # nor with its secrets, nor through its queues
        **{f"{PREFIX}{name}_QUEUE": "" for name in ("DEAD_LETTER", "REDRIVE", "DUE")},
        EnvironmentSecrets.where("crm/client_id"): CLIENT_ID,
        EnvironmentSecrets.where("crm/client_secret"): CLIENT_SECRET,
    }
    for account in accounts(seed):
        oem = account["oem"]
        environment[f"{PREFIX}PORTAL_URL_{oem.upper()}"] = simulated["http"]
        for part, key in (("username", "username"), ("password", "password"), ("totp", "totp_secret")):
            if account.get(key):
                environment[EnvironmentSecrets.where(f"portal/{oem}/{account['dealer']}/{part}")] = account[key]
    return environment


def _require_fault(portals: SimulatorClient, fault: str) -> None:
    """Raises `NotSo` when no portal knows the fault. Nothing is left set."""
    if not any(_set_fault(portals, oem, fault) for oem in ADAPTERS):
        raise NotSo(f"No portal knows the fault '{fault}': see `oem-submissions simulator`, /admin/faults.")
    portals.clear_faults()


def _set_fault(portals: SimulatorClient, oem: str, fault: str) -> bool:
    """Whether the portal can do that."""
    try:
        portals.set_fault(oem=oem, fault=fault, times=1)
    except ValueError:
        return False
    return True


def run_to_the_end(demo: Demo) -> float:
    """Enqueue what is due, and wait until every claim rests and the CRM knows. Returns the seconds it took."""
    began = time.monotonic()
    asked = -float(_ASK_AGAIN)
    faultless = set(demo.services.adapters) if demo.fault else set[str]()
    with Live(console=terminal, refresh_per_second=4, transient=True) as live:
        while True:
            demo.up.check()
            claims = demo.ledger.all_claims()
            due = [work for oem in demo.services.adapters for work in demo.ledger.due_work(oem)]
            live.update(_progress(demo, claims))
            known = {claim.crm_record_id for claim in claims}
            if not due and known.issuperset(demo.records) and not demo.ledger.untold():
                return time.monotonic() - began
            now = time.monotonic()
            if due and now - asked >= _ASK_AGAIN:
                for oem in sorted({work.oem for work in due}):
                    _keep_pilots_busy(demo, oem, {work.dealer for work in due if work.oem == oem})
                    demo.ledger.request_enqueue(oem, (), None, "demo")
                asked = now
            for oem in [oem for oem in faultless if _is_live(demo, oem)]:
                faultless.remove(oem)
                if demo.fault and _set_fault(demo.portals, oem, demo.fault):
                    terminal.print(f"{oem} is live. From now on its portal has the fault '{demo.fault}', once.")
            if now - began > _PATIENCE:
                raise NotSo(
                    f"After {_PATIENCE} s {len(due)} partitions still wait; see {demo.up.addresses.dagster}/runs "
                    f"and the logs in {demo.up.settings.home / 'logs'}."
                )
            time.sleep(0.5)


def _is_live(demo: Demo, oem: str) -> bool:
    release = demo.release(oem)
    return release is not None and release.state in (ReleaseState.LIVE, ReleaseState.DEGRADED)


def _keep_pilots_busy(demo: Demo, oem: str, due_dealers: set[str]) -> None:
    """A run that was not clean sets the streak back to 0, and the pilot may have no five claims left: more come due."""
    pilot, _ = PILOTS[oem]
    release = demo.release(oem)
    if release is None or release.state is not ReleaseState.VERIFYING or pilot in due_dealers:
        return
    if streak_of(demo.ledger, release).opens:
        return
    demo.more += 1
    claims = pilot_claims(oem, demo.seed + demo.more * _MORE_CLAIMS, datetime.now(UTC).date())
    demo.records += tuple(demo.crm.seed(claims))
    terminal.print(f"{oem}: a run was not clean, so its pilot dealer gets five more claims.")


def _progress(demo: Demo, claims: list[Claim]) -> Group:
    bars = Progress(
        TextColumn("[bold]{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}")
    )
    elapsed = Progress(TextColumn("Taking claims from the CRM to the portals and back"), TimeElapsedColumn())
    for oem in demo.services.adapters:
        mine = [claim for claim in claims if claim.oem == oem]
        done = [claim for claim in mine if claim.crm_version == claim.version]
        under_way = [claim.claim_id for claim in mine if claim.state in (State.PREPARED, State.ARMED)]
        note = f"{_dots(demo, oem)} [dim]{' '.join(under_way)}"
        bars.add_task(oem, total=len(mine) or None, completed=len(done), note=note)
    return Group(elapsed, bars)


def _dots(demo: Demo, oem: str) -> str:
    """The streak while the release verifies; afterwards, where it stands."""
    release = demo.release(oem)
    if release is None:
        return "[dim]no release seen yet"
    if release.state is ReleaseState.LIVE:
        return "[green]live[/] for all dealers"
    if release.state is not ReleaseState.VERIFYING:
        return f"[yellow]{release.state}[/]"
    streak = streak_of(demo.ledger, release)
    return f"[yellow]{'●' * streak.count}{'○' * max(streak.needed - streak.count, 0)}[/] verifying: pilot dealer"


def outcome_document(demo: Demo, seconds: float) -> dict[str, Any]:
    """The demo's result as JSON. What the portals filed comes from the portals, not from us."""
    truth = demo.portals.truth()
    claims = demo.ledger.all_claims()
    return {
        "claims": [_claim_row(claim, demo) for claim in claims],
        "filed_at_portals": {oem: portal["filed"] for oem, portal in truth.items()},
        "duplicates": sum(portal["duplicates"] for portal in truth.values()),
        "crm": {"synced": sum(demo.services.crm_agrees(claim) for claim in claims)},
        "releases": {oem: _release_row(demo.release(oem)) for oem in demo.services.adapters},
        "seconds": round(seconds, 1),
    }


def _release_row(release: Release | None) -> dict[str, Any] | None:
    return None if release is None else {"pack": release.pins.pack_version, "state": release.state}


def _claim_row(claim: Claim, demo: Demo) -> dict[str, Any]:
    return {
        "claim_id": claim.claim_id,
        "oem": claim.oem,
        "dealer": claim.dealer,
        "period": claim.period,
        "state": claim.state,
        "reference": claim.reference,
        "reason_code": claim.reason,
        "run_id": claim.run_id,
        "evidence": evidence_url(demo.up.settings.desk_url, claim) if claim.bundle_digest else None,
    }


def outcome_table(demo: Demo, document: dict[str, Any]) -> Group:
    """The demo's result for people."""
    table = Table(header_style="bold")
    for name in ("claim", "OEM", "dealer", "reference", "status", "evidence"):
        table.add_column(name, no_wrap=True)
    for row in sorted(document["claims"], key=lambda row: (row["oem"], row["dealer"], row["claim_id"])):
        style = "green" if row["state"] in FILED else "yellow" if row["state"] in HELD else "red"
        status = f"[{style}]{row['state']}[/] {row['reason_code'] or ''}"
        page = f"{demo.up.addresses.desk}/claims/{row['claim_id']}"
        proof = f"[link={row['evidence']}]{row['evidence'].rsplit('/', 1)[1][:12]}[/link]" if row["evidence"] else "–"
        claim = f"[link={page}]{row['claim_id']}[/link]"
        table.add_row(claim, row["oem"], row["dealer"], row["reference"] or "–", status, proof)
    filed = document["filed_at_portals"]
    facts = Table.grid(padding=(0, 2))
    facts.add_row("The portals filed", f"{sum(filed.values())} ({', '.join(f'{o} {n}' for o, n in filed.items())})")
    facts.add_row("Duplicates", str(document["duplicates"]))
    facts.add_row("CRM records that say so", f"{document['crm']['synced']} of {len(document['claims'])}")
    live = (f"{oem} {row['pack']} {row['state']}" for oem, row in document["releases"].items() if row)
    facts.add_row("Releases", ", ".join(live))
    facts.add_row("Dagster", demo.up.addresses.dagster)
    facts.add_row("Claim pages", f"{demo.up.addresses.desk}/claims/CLAIM, or look one up at {demo.up.addresses.desk}")
    facts.add_row("Simulated portals", str(demo.up.addresses.simulator))
    return Group(table, facts)
