"""The state machine: workers, a health service, persons and an OEM, in any order, on a real ledger with our own clock.

Whoever acts (a run, intake, the health service, a person) is a `Worker` that stops before every call to the outside. So
a crash is a worker that is killed where it stands, a stopped process is one that nobody steps, and a zombie is one that
is stepped again after another took its account over.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event

from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import FilingLimit, WarrantyClaim
from oem_submissions.domain.evidence import HISTORY, Artifact
from oem_submissions.domain.failures import LeaseLost, StateConflict
from oem_submissions.domain.lease_log import overlaps
from oem_submissions.domain.outcomes import Reference
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.evidence.bundle import build_bundle
from oem_submissions.evidence.leaks import leaks
from oem_submissions.evidence.master_keys import LocalMasterKey
from oem_submissions.evidence.vault import Vault
from oem_submissions.ledger.chain import broken_links
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.services.bound import Services
from oem_submissions.services.dead_letters import letter_of, redrive
from oem_submissions.services.release import OpenGate
from oem_submissions.services.review import Said, Verdict, VerdictRefused, decide
from oem_submissions.services.submit import Partition, TryAgain
from oem_submissions.services.sync import same_standing
from oem_submissions.settings import EnvironmentSecrets, read_settings
from oem_submissions_tests.evidence import samples
from oem_submissions_tests.evidence.sealing import KEYS, NOTARY
from oem_submissions_tests.making import warranty_payload
from oem_submissions_tests.services.invariants import Invariants, QuietCrm, QuietStore
from oem_submissions_tests.services.simulated_oem import SLOWEST, Fate, SimulatedOem, WorkersPortal
from oem_submissions_tests.services.stepping import PatientLedger, Stepped, SteppedLedger, Worker

DEALERS = ("10234", "20777")
DAYS = (date(2026, 11, 10), date(2026, 11, 11))
PARTITIONS = [Partition("aurora", dealer, day.isoformat()) for dealer in DEALERS for day in DAYS]
POINTS = (
    "prepared", "arm", "record_sent", "let the request go", "take the answer", "record_wire", "confirm", "settle",
    "begin_look", "look the claim up", "end_look", "absent", "confirm_late", "recover", "sealed", "write_outcome",
    "synced",
)  # fmt: skip
"""Where a worker is stopped on purpose: what it would do next."""
WITHOUT_ANSWER = (Fate.REPLY_LOST, Fate.REQUEST_LOST, Fate.ARRIVES_LATE)


@dataclass(frozen=True)
class Rules:
    """An adapter, as far as intake needs one."""

    oem: str = "aurora"
    claim_model: Any = WarrantyClaim
    cadence: Cadence = Cadence("0 */2 * * 1-6", "America/Chicago", "day")
    filing_limits: Mapping[str, FilingLimit] = field(default_factory=dict)


class MachineLedger:
    """A real ledger, emptied between examples, whose database has a clock that a test moves on."""

    def __init__(self, url: str) -> None:
        self._admin = psycopg.connect(url, autocommit=True)
        name = self._admin.info.dbname
        # What is not qualified is found here first: the ledger's SQL reads this clock, and nothing else is changed.
        for statement in (
            "CREATE SCHEMA machine",
            "CREATE FUNCTION machine.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$ "
            "SELECT pg_catalog.clock_timestamp() + interval '1 second' * current_setting('machine.passed')::float8 $$",
            f"ALTER DATABASE {name} SET search_path = machine, pg_catalog, public",
            f"ALTER DATABASE {name} SET machine.passed = 0",
        ):
            self._admin.execute(statement)
        tables = self._admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        sequences = self._admin.execute("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'").fetchall()
        self._empty = "; ".join(
            [f"DELETE FROM public.{table}" for (table,) in tables if table != "alembic_version"]  # noqa: S608 - ours
            + [f"ALTER SEQUENCE public.{sequence} RESTART" for (sequence,) in sequences]
        )
        self.engine = ledger_engine(url)
        self.engine.pool._pre_ping = False  # the server stays, and a ping would be every third statement
        event.listen(self.engine, "checkout", self._set_clock)
        self.passed = 0.0

    def _set_clock(self, connection: Any, record: Any, _: Any) -> None:
        if record.info.get("passed") != self.passed:
            connection.execute("SELECT set_config('machine.passed', %s, false)", (str(self.passed),))
            connection.commit()
            record.info["passed"] = self.passed

    def empty(self) -> None:
        """As new. Past the triggers that keep the log append-only."""
        with self._admin.transaction():
            self._admin.execute("SET LOCAL session_replication_role = replica")
            self._admin.execute(self._empty)
        self.passed = 0.0

    def tick(self, seconds: float) -> None:
        """The database's clock goes on."""
        self.passed += seconds

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        self._admin.close()


class Machine(RuleBasedStateMachine):
    """What is tested. A mutant is a subclass that gives its workers a faulty part."""

    world: MachineLedger
    asks_the_ledger = True
    """Whether all invariants are checked, or only I1, which the portal alone can tell."""
    breaker_failures = 3

    def __init__(self) -> None:
        super().__init__()
        self.world.empty()
        self.ledger = self.make_ledger()
        self.oem = SimulatedOem(now=lambda: self.world.passed, left=lambda s: self.truths.request_leaves(s.claim_id))
        self.crm, self.evidence = QuietCrm(), QuietStore()
        self.truths = Invariants(Ledger(self.world.engine), self.evidence, self.crm, self.oem)
        self.workers: list[Worker] = []
        self.records: list[str] = []
        self.partitions: set[Partition] = set()
        self.claims: list[Claim] = []
        self.spawned = 0
        secret = {
            f"OEM_SUBMISSIONS_SECRET_PORTAL_AURORA_{dealer}_{part}": "x"
            for dealer in DEALERS
            for part in ("USERNAME", "PASSWORD")
        }
        self.services = Services(
            settings=replace(read_settings({}), breaker_failures=self.breaker_failures),
            ledger=self.ledger,
            crm=self.crm,
            evidence=self.evidence,
            secrets=EnvironmentSecrets(secret),
            vault=Vault(LocalMasterKey(Path("no session is kept here"))),
            adapters={"aurora": Rules()},
            portals=lambda _: nullcontext(None),  # type: ignore[arg-type, return-value]
            bundle=build_bundle,
            notary=NOTARY,
            scan=leaks,
            trust=lambda: KEYS.trust,
            timestamps=None,
            gate=OpenGate(),
            released_packs=lambda _: [],
        )

    # --- parts that a mutant replaces ---

    def make_ledger(self) -> Ledger:
        """The ledger."""
        return Ledger(self.world.engine)

    def portal(self, pause: Callable[[str], None]) -> WorkersPortal:
        """The portal as one worker reaches it."""
        return WorkersPortal(self.oem, pause)

    # --- claims ---

    @initialize(count=st.integers(1, 3))
    def begin(self, count: int) -> None:
        for _ in range(count):
            self._add(PARTITIONS[0])
        self.services.take_in()

    def _is_small(self) -> bool:
        return len(self.records) < 6

    @precondition(_is_small)
    @rule(partition=st.sampled_from(PARTITIONS))
    def new_claim(self, partition: Partition) -> None:
        self._add(partition)
        if self.crm.unavailable is None and not self.evidence.is_down:
            self.services.take_in()

    def _add(self, partition: Partition) -> None:
        number = len(self.records) + 1
        self.records.append(f"REC{number:04d}")
        self.partitions.add(partition)
        self.crm.add(
            self.records[-1],
            oem="aurora",
            dealer=partition.dealer,
            claim_type="warranty",
            due_on=date.fromisoformat(partition.period),
            payload=warranty_payload(number, partition.dealer),
        )

    @rule(which=st.integers(0, 7), odometer=st.sampled_from([-1, 31_000, 32_000]))
    def correct(self, which: int, odometer: int) -> None:
        """A person corrects the record in the CRM; less than nothing on the odometer makes it no claim at all."""
        self.crm.edit(self.records[which % len(self.records)], {"odometer": odometer})
        if self.crm.unavailable is None and not self.evidence.is_down:
            self.services.take_in()

    # --- workers ---

    def _spawn(self, kind: str, body: Callable[[Worker], object], *endings: type[Exception]) -> None:
        self.spawned += 1
        self.workers = [worker for worker in self.workers if not worker.ended]
        self.workers.append(Worker(f"{kind}-{self.spawned}", body, endings))

    def _services(self, worker: Worker, ledger: type[SteppedLedger]) -> Services:
        return replace(
            self.services,
            ledger=ledger(self.ledger, worker),
            crm=Stepped(self.crm, worker),
            evidence=Stepped(self.evidence, worker),
        )

    def _has_room(self) -> bool:
        return sum(not worker.ended for worker in self.workers) < 3

    @precondition(_has_room)
    @rule(
        partition=st.sampled_from(PARTITIONS[:3]),
        stops_at=st.just("the end") | st.sampled_from(["begin", *POINTS]),
    )
    def start_run(self, partition: Partition, stops_at: str) -> None:
        def run(worker: Worker) -> None:
            services = self._services(worker, PatientLedger)
            try:
                services.submit(partition, worker.name, worker.name, self.portal(worker.pause))
            except TryAgain:
                pass  # the run goes on; the schedule comes back
            except StateConflict as moved:
                if not any(f"was {state}" in str(moved) for state in (State.ARMED, State.RECONCILING)):
                    raise
                return  # from there only who took the account over moves a claim: this one is a zombie
            services.seal(partition, worker.name, worker.name)
            services.sync(partition, worker.name, worker.name)

        self._spawn("run", run, LeaseLost)
        self.workers[-1].run_until(stops_at)

    @precondition(_has_room)
    @rule(partition=st.sampled_from(PARTITIONS[:2]), dies_at=st.sampled_from(POINTS))
    def start_run_that_dies(self, partition: Partition, dies_at: str) -> None:
        self.start_run(partition, dies_at)
        self.workers[-1].kill()
        self.tick(61)

    @precondition(_has_room)
    @rule(partition=st.sampled_from(PARTITIONS[:2]), fate=st.sampled_from(WITHOUT_ANSWER))
    def start_run_without_an_answer(self, partition: Partition, fate: Fate) -> None:
        """Its first request gets none: what is held from then on is what all the looking up is for."""
        self.oem.fates.insert(0, fate)
        self.start_run(partition, "the end")

    @precondition(_has_room)
    @rule(stops_at=st.sampled_from(["the end", "recover", "release_lease"]))
    def start_health(self, stops_at: str) -> None:
        self._spawn("health", lambda worker: self._services(worker, SteppedLedger).recover(worker.name, 0), LeaseLost)
        self.workers[-1].run_until(stops_at)

    def _is_for_people(self) -> bool:
        return self._has_room() and any(claim.state in (State.NEEDS_REVIEW, State.DEAD) for claim in self.claims)

    @precondition(_is_for_people)
    @rule(which=st.integers(0, 7))
    def start_person(self, which: int) -> None:
        """Somebody looks at the portal, and says what they saw there; or redrives a dead letter."""
        claim = self._pick(State.NEEDS_REVIEW, which)
        if claim is None:
            if (dead := self._pick(State.DEAD, which)) is not None:
                redrive([letter_of(dead, self.ledger)], "Ana", self.ledger)
            return
        said = self._seen(claim)

        def body(worker: Worker) -> None:
            services = self._services(worker, SteppedLedger)
            decide(claim, said, ledger=services.ledger, evidence=services.evidence)

        self._spawn("person", body, VerdictRefused, StateConflict)
        self.workers[-1].step()

    def _pick(self, state: State, which: int) -> Claim | None:
        found = self.ledger.all_claims(state=state)
        return found[which % len(found)] if found else None

    def _seen(self, claim: Claim) -> Said:
        """The truth, as a careful person finds it: while something may be on its way, they can't tell."""
        ours = [filing for filing in self.oem.filings if filing.key == claim.natural_key]
        if self.oem.is_expected(claim.natural_key or "") or any(f.referenced_at > self.world.passed for f in ours):
            return Said(Verdict.CANNOT_TELL, "Ana", "the OEM is still at it")
        if not ours:
            return Said(Verdict.NOT_FILED, "Ana", "asked the OEM")
        number = ours[0].number
        picture = Artifact(HISTORY, "image/webp", samples.shot(f"Ana saw {number}"), datetime(2026, 11, 10, tzinfo=UTC))
        reference = Reference(number, "claim number", number, (0, len(number)))
        return Said(Verdict.FILED, "Ana", "seen under Claim history", reference, picture)

    def _alive(self) -> bool:
        return any(not worker.ended for worker in self.workers)

    def _worker(self, which: int) -> Worker:
        alive = [worker for worker in self.workers if not worker.ended]
        return alive[which % len(alive)]

    @precondition(_alive)
    @rule(which=st.integers(0, 5), steps=st.integers(1, 12))
    def step(self, which: int, steps: int) -> None:
        self._worker(which).step(steps)

    @precondition(_alive)
    @rule(which=st.integers(0, 5), point=st.sampled_from(POINTS))
    def run_until(self, which: int, point: str) -> None:
        self._worker(which).run_until(point)

    @precondition(_alive)
    @rule(which=st.integers(0, 5))
    def finish(self, which: int) -> None:
        self._worker(which).finish()

    @precondition(_alive)
    @rule(which=st.integers(0, 5), seconds=st.sampled_from([0, 61]))
    def kill(self, which: int, seconds: int) -> None:
        self._worker(which).kill()
        self.tick(seconds)

    @precondition(_alive)
    @rule(which=st.integers(0, 5))
    def heartbeat(self, which: int) -> None:
        lease = self._worker(which).lease
        if lease is not None:
            try:
                self.ledger.renew_lease(lease, self.services.settings.lease_seconds)
            except LeaseLost:
                pass  # as the heartbeat does: every write will find out

    # --- the world ---

    @rule(seconds=st.sampled_from([3, 61, 600, SLOWEST, 3700, 9 * 3600, 40 * 3600]))
    def time_passes(self, seconds: int) -> None:
        self.tick(seconds)

    def tick(self, seconds: float) -> None:
        """The clocks go on, and what had time to arrive, arrives."""
        self.world.tick(seconds)
        self.oem.land()

    @rule(fate=st.sampled_from(Fate), listing_seconds=st.sampled_from([0, SLOWEST]))
    def next_answer(self, fate: Fate, listing_seconds: int) -> None:
        self.oem.fates.append(fate)
        self.oem.listing_seconds = listing_seconds

    @rule(down=st.sets(st.sampled_from(["portal", "search", "evidence", "crm"]), max_size=2))
    def outages(self, down: set[str]) -> None:
        """These begin or go on, all others end."""
        self.oem.is_down, self.oem.finds_nothing = "portal" in down, "search" in down
        self.evidence.is_down = "evidence" in down
        self.crm.unavailable = "The CRM is down." if "crm" in down else None

    # --- what must hold ---

    @invariant()
    def everything_holds(self) -> None:
        self.claims = self.ledger.all_claims()
        self.truths.check_filings()
        if self.asks_the_ledger:
            self.truths.check(self.claims)

    def teardown(self) -> None:
        """L1: whatever happened, all comes to an end once the world is well again."""
        for worker in self.workers:
            worker.kill()
        if sys.exc_info()[0] is not None or not self.asks_the_ledger:
            return  # what is wrong is known already
        self.oem.heal()
        self.evidence.is_down, self.crm.unavailable = False, None
        for _ in range(10):
            self._one_round()
            if self._is_over():
                break
        self.truths.check(self.ledger.all_claims())
        self._check_end()

    def _one_round(self) -> None:
        """Hours later: everybody who has something to do does it."""
        self.tick(9 * 3600)
        self.services.recover("health", 0)
        self.services.take_in()
        for partition in sorted(self.partitions, key=str):
            try:
                self.services.submit(partition, "last-run", "last", self.portal(lambda _: None))
            except TryAgain:
                pass
            self.services.seal(partition, "last-run", "last")
            self.services.sync(partition, "last-run", "last")
        for claim in self.ledger.all_claims(state=State.NEEDS_REVIEW):
            decide(claim, self._seen(claim), ledger=self.ledger, evidence=self.evidence)
        for claim in self.ledger.all_claims(state=State.DEAD):
            if claim.natural_key is None:
                self.crm.edit(claim.crm_record_id, {"odometer": 33_000})
            else:
                redrive([letter_of(claim, self.ledger)], "Ana", self.ledger)

    def _is_over(self) -> bool:
        return all(self._ended(claim) for claim in self.ledger.all_claims())

    @staticmethod
    def _ended(claim: Claim) -> bool:
        return claim.state in (State.SYNCED, State.REJECTED) and claim.crm_version == claim.version

    def _check_end(self) -> None:
        found = self.ledger.all_claims()
        assert len(found) == len(self.records), "L1: a record of the CRM has no claim"
        for claim in found:
            said = f"L1: claim {claim.claim_id} came to no end: {claim.state} {claim.reason} {claim.reason_text}"
            assert self._ended(claim), said
            assert claim.bundle_digest is not None, f"L1: claim {claim.claim_id} was never sealed"
            told = self.crm.read_outcome(claim.crm_record_id)
            agrees = same_standing(told, claim, self.services.settings.desk_url, None)
            assert agrees, f"L1: the CRM says {told} of {claim}"
            assert broken_links(self.ledger.events(claim.claim_id)) == []
        assert self.ledger.held_leases() == [], "a lease is held by nobody"
        assert overlaps(self.ledger.lease_log()) == []
