"""What a scenario can do: one dealer of its own, claims in the CRM, a portal that misbehaves, runs, time that passes.

It says what happened; how that is judged is in `verdict.py`.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from oem_submissions import wiring
from oem_submissions.conformance.stage import Stage
from oem_submissions.conformance.worker import Job, name_of, working
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.ports import Account
from oem_submissions.services.bound import Services
from oem_submissions.services.breaking import close
from oem_submissions.services.health import LostWorker
from oem_submissions.services.release import OpenGate
from oem_submissions.services.submit import Partition, TryAgain
from oem_submissions.settings import PREFIX, EnvironmentSecrets
from oem_submissions.simulator.samples import Made
from oem_submissions.simulator.truth import business_key

TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"  # noqa: S105 - of a simulated account
RESTS = frozenset({State.SYNCED, State.REJECTED, State.DEAD, State.NEEDS_REVIEW})
"""Nothing more happens by itself."""
_WAITS = (12 * 60.0, 13 * 60.0, 24 * 60.0, 24 * 60.0, 24 * 60.0, 48 * 60.0)
"""Minutes between two looks at a held claim, after the first: beyond every deadline and the limit of looking up."""


@dataclass
class Trial:
    """One scenario under way."""

    stage: Stage
    services: Services
    account: Account
    kind: str
    chance: random.Random
    crm: MemoryCrm
    today: date
    claim_ids: list[str] = field(default_factory=list)
    """The claims that are judged, in the order in which they came due."""
    made: dict[str, Made] = field(default_factory=dict)
    """What each claim was made from."""
    others: list[str] = field(default_factory=list)
    """Business keys of filings that only set the scene."""
    posts_before: int = 0
    """Submit requests that only set the scene."""
    may_not_come: set[str] = field(default_factory=set)
    """Faults that are there for what should not happen."""
    notes: list[str] = field(default_factory=list)
    """What a scenario itself found wrong, a sentence each."""
    _runs: int = 0

    # --- claims ---

    def make(self, kind: str | None = None) -> Made:
        """A claim that the portal takes; another one at every call."""
        return self.stage.subject.skin.claim(kind or self.kind, self.account.dealer, self.chance, self.today)

    def come_due(self, made: Made | None = None) -> Claim:
        """A claim comes due in the CRM, and is taken in."""
        made = made or self.make()
        payload, files = made
        record_id = f"{self.account.dealer}-{len(self.made) + 1:02d}"
        self.crm.add(
            record_id, oem=self.account.oem, dealer=self.account.dealer, claim_type=payload["claim_type"],
            due_on=self.today, payload=payload,
            files=[(file["name"], file["kind"], base64.b64decode(file["content"])) for file in files],
        )  # fmt: skip
        self.services.take_in()
        claim = self.stage.ledger.claim_of_record(self.account.oem, record_id)
        assert claim is not None, "what is due in the CRM is in the ledger"
        self.claim_ids.append(claim.claim_id)
        self.made[claim.claim_id] = made
        return claim

    def have_filed_one(self) -> None:
        """Another claim of the same account and kind, filed some time ago: a search that works finds it."""
        self.come_due()
        self.work()
        claim_id = self.claim_ids.pop()
        claim = self.claim(claim_id)
        if claim.state is not State.SYNCED:
            self.notes.append(f"The claim that sets the scene was not filed: {claim.reason_text or claim.state}")
        self.others.append(self.key(claim_id))
        self.posts_before = self.truth()["submit_posts"]
        self.later(self.settle_minutes + 5)

    def claim(self, claim_id: str) -> Claim:
        """The claim as it stands."""
        claim = self.stage.ledger.claim(claim_id)
        assert claim is not None
        return claim

    def claims(self) -> list[Claim]:
        """The judged claims as they stand."""
        return [self.claim(claim_id) for claim_id in self.claim_ids]

    def key(self, claim_id: str) -> str:
        """The business key under which the portal files the claim."""
        payload, _ = self.made[claim_id]
        values = {name: "" if value is None else str(value) for name, value in payload.items()}
        return business_key(self.stage.subject.skin, payload["claim_type"], self.account.dealer, values)

    # --- the portal ---

    def portal_does(
        self, fault: str, times: int | None = None, seconds: float | None = None, match: str | None = None
    ) -> None:
        """From now on the portal misbehaves."""
        self.stage.simulator.client.set_fault(self.account.oem, fault, times=times, seconds=seconds, match=match)

    def portal_recovers(self) -> None:
        """The portal behaves again. A fault that never came to pass is noted: then the scenario proves nothing."""
        client = self.stage.simulator.client
        for fault in client.faults():
            if not fault["fired"] and fault["fault"] not in self.may_not_come:
                self.notes.append(
                    f"The portal's fault '{fault['fault']}' never came to pass: does the skin act it out?"
                )
        client.clear_faults(self.account.oem)

    def truth(self) -> dict[str, Any]:
        """What the portal filed."""
        return self.stage.simulator.client.truth(self.account.oem)

    # --- work and time ---

    @property
    def partition(self) -> Partition:
        """What every run of the scenario works on."""
        period = self.stage.subject.adapter.cadence.period_of(self.today)
        return Partition(self.account.oem, self.account.dealer, period)

    @property
    def settle_minutes(self) -> int:
        """How long a filing may take to be listed; 0 where there is no history."""
        rules = self.stage.portal.history_rules(self.kind)
        return (rules.settle_minutes or 0) if rules else 0

    def work(self, partition: Partition | None = None) -> None:
        """One run: submit, again while it says so, then seal and sync."""
        partition = partition or self.partition
        for _ in range(self.services.settings.attempts_budget + 1):
            self._runs += 1
            run_id = f"run-{self.account.dealer}-{self._runs}"
            try:
                self.services.submit(partition, run_id, "conformance", self.stage.portal)
            except TryAgain:
                continue
            break
        self.services.seal(partition, run_id, "conformance")
        self.services.sync(partition, run_id, "conformance")

    def later(self, minutes: float) -> None:
        """Time passes, at the portal and in the ledger."""
        self.stage.clocks.forward(minutes)

    def until_all_rest(self) -> None:
        """Work and wait, until nothing more happens by itself."""
        for minutes in (self.settle_minutes + 5, *_WAITS):
            self.work()
            if all(claim.state in RESTS for claim in self.claims()):
                return
            self.later(minutes)

    # --- a worker that dies ---

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A run in a process of its own, killed at the end of the block, wherever it is."""
        account = self.account
        job = Job(
            name_of(self.stage.subject.adapter),
            environment_of(self.stage),
            (self.partition.oem, self.partition.dealer, self.partition.period),
            (account.oem, account.dealer, account.username, account.password, account.totp_secret),
        )
        with working(job):
            yield

    def miss_the_worker(self) -> list[LostWorker]:
        """Its lease runs out, and the health service puts right what it left."""
        before = self.stage.ledger.last_lease_entry()
        self.later(2 * self.services.settings.lease_seconds / 60)
        return self.services.recover("health", before)


def environment_of(stage: Stage) -> dict[str, str]:
    """The variables of the stage's settings, for a process of its own."""
    settings = stage.settings
    assert settings.database_url is not None
    urls = {f"{PREFIX}PORTAL_URL_{oem.upper()}": url for oem, url in settings.portal_urls.items()}
    return {
        f"{PREFIX}HOME": str(settings.home),
        f"{PREFIX}DATABASE_URL": settings.database_url,
        f"{PREFIX}SELECTORS": str(settings.selectors),
        f"{PREFIX}ATTEMPTS_BUDGET": str(settings.attempts_budget),
        **urls,
    }


@contextmanager
def begin(stage: Stage, number: int, kind: str) -> Iterator[Trial]:
    """A trial with a dealer of its own, at a portal that behaves and has filed nothing, with both clocks right."""
    stage.simulator.client.reset()
    stage.clocks.reset()
    for breaker in stage.ledger.breakers():  # what the scenario before it opened
        close(breaker, "conformance", stage.ledger)
    with ExitStack() as open_parts:
        yield _at_dealer(stage, f"D{number:04d}", kind, open_parts)


@contextmanager
def beside(trial: Trial) -> Iterator[Trial]:
    """Another dealer of the same OEM."""
    with ExitStack() as open_parts:
        yield _at_dealer(trial.stage, f"{trial.account.dealer}B", trial.kind, open_parts)


def _at_dealer(stage: Stage, dealer: str, kind: str, open_parts: ExitStack) -> Trial:
    subject = stage.subject
    totp = TOTP_SECRET if subject.skin.uses_totp else None
    account = Account(subject.oem, dealer, subject.skin.username(dealer), f"Pw-{dealer}-k7Qz!x", totp)
    stage.simulator.client.add_account(
        account.oem, dealer, account.username, account.password, f"Dealer {dealer} Motors", totp
    )
    secrets = {"username": account.username, "password": account.password, "totp": totp or ""}
    variables = {EnvironmentSecrets.where(f"portal/{account.oem}/{dealer}/{name}"): v for name, v in secrets.items()}
    crm = MemoryCrm()
    services = open_parts.enter_context(
        wiring.build(
            stage.settings,
            ledger=stage.ledger,
            crm=crm,
            evidence=stage.evidence,
            secrets=EnvironmentSecrets(variables),
            adapters={subject.oem: subject.adapter},
            gate=OpenGate(),
        )
    )
    chance = random.Random(f"conformance:{dealer}")  # noqa: S311 - no secret; the same claims at every run of the suite
    return Trial(stage, services, account, kind, chance, crm, datetime.now(UTC).date())


def differing(first: Made, others: Sequence[Made], part: str) -> Made | None:
    """The first claim with one part of its business key taken from another; None when they all have the same."""
    payload, files = first
    value = next((other[0][part] for other in others if other[0][part] != payload[part]), None)
    return None if value is None else (payload | {part: value}, files)


def same_but_for_the_key(first: Made, other: Made, parts: Sequence[str]) -> Made:
    """The other claim under the first one's business key: the same business, entered anew."""
    return other[0] | {part: first[0][part] for part in parts}, other[1]
