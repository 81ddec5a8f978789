"""The evidence desk on its parts: what its operators can do, and where its links lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from starlette.applications import Starlette

from adapters.registry import ADAPTERS
from oem_submissions import wiring
from oem_submissions.cli.verdicts import Verdicts
from oem_submissions.desk.app import create_app
from oem_submissions.desk.operating import Act, GateLine, NotPossible
from oem_submissions.desk.pages import Proof
from oem_submissions.desk.room import Addresses
from oem_submissions.domain.breaker import Position
from oem_submissions.domain.failures import ConfigurationError, StateConflict
from oem_submissions.domain.outcomes import Reference
from oem_submissions.domain.records import Claim
from oem_submissions.domain.scheduler_health import Health
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import ClaimRules, EvidenceStore
from oem_submissions.services import release as gate
from oem_submissions.services.breaking import close, free_account
from oem_submissions.services.dead_letters import DeadLetter, redrive
from oem_submissions.services.hand_over import HelpDesk
from oem_submissions.services.release_report import ReleaseReport, release_report, report_on
from oem_submissions.services.review import Verdict, needs_picture
from oem_submissions.services.scheduler_health import scheduler_health
from oem_submissions.settings import Settings


def desk_app(ledger: Ledger, evidence: EvidenceStore, settings: Settings) -> Starlette:
    """The desk of this installation, without anybody signed in."""
    addresses = Addresses(settings.dagster_url, wiring.crm_page(settings))
    operator = Operator(ledger, ADAPTERS, Verdicts(ledger, evidence, settings))
    helping = HelpDesk(ledger, wiring.vault(settings))
    return create_app(ledger, evidence, addresses, operator, helping, LedgerProofs(ledger, settings))


@dataclass(frozen=True)
class LedgerProofs:
    """The `Proofs` port of the desk, on the evidence log."""

    ledger: Ledger
    settings: Settings

    def proof(self, claim_id: str, digest: str) -> Proof | None:
        entry, head = self.ledger.logged(digest), self.ledger.newest_checkpoint()
        if entry is None or head is None or entry.claim_id != claim_id:
            return None
        stamp = self.ledger.covering_stamp(entry.index)
        stamped = (stamp.stamp.stamped_at, stamp.stamp.authority) if stamp else (None, None)
        return Proof(entry.key_fingerprint, entry.index, head.size, entry.at, *stamped)

    def public_key(self, fingerprint: str) -> bytes | None:
        return wiring.trusted_keys(self.settings).pem(fingerprint)


@dataclass(frozen=True)
class Operator:
    """The `Operating` port of the desk."""

    ledger: Ledger
    adapters: Mapping[str, ClaimRules]
    verdicts: Verdicts

    def oems(self) -> Sequence[str]:
        return list(self.adapters)

    def health(self) -> Health:
        return scheduler_health(self.ledger, self.adapters, {})

    @property
    def look_hours(self) -> float:
        return self.verdicts.settings.look_hours

    def verdict_preview(
        self, claim: Claim, verdict: Verdict, by: str, why: str, reference: str | None
    ) -> Reference | None:
        return self.verdicts.preview(claim, verdict, by, why, reference)

    def needs_picture(self, claim: Claim) -> bool:
        return needs_picture(claim, self.ledger)

    def give_verdict(
        self, claim: Claim, verdict: Verdict, by: str, why: str, reference: str | None, picture: bytes | None
    ) -> Claim:
        return self.verdicts.carry_out(claim, verdict, by, why, reference, picture)

    def redrive(self, claim: Claim, by: str) -> Claim:
        (redriven,) = redrive([DeadLetter(claim, (), ())], by, self.ledger)
        return redriven

    def withdraw(self, claim: Claim, by: str, why: str) -> Claim:
        return self.ledger.withdraw(claim, by, why)

    def gate_line(self, oem: str) -> GateLine:
        rules = self.adapters[oem]
        release = gate.current(self.ledger, rules)
        seen = gate.streak_of(self.ledger, release) if release is not None else None
        cadence = f"{rules.cadence.cron}, {rules.cadence.timezone}"
        return GateLine(oem, release, seen, self.ledger.breaker(oem), rules.needs_approval, cadence)

    def report(self, oem: str, release_id: int | None) -> ReleaseReport | None:
        if release_id is None:
            return release_report(self.ledger, self.adapters[oem])
        named = next((r for r in self.ledger.releases(oem) if r.release_id == release_id), None)
        return report_on(self.ledger, named) if named is not None else None

    def act(self, oem: str, act: Act, by: str, why: str) -> None:
        ledger, rules = self.ledger, self.adapters[oem]
        try:
            match act:
                case Act.APPROVE:
                    gate.approve(ledger, rules, by)
                case Act.SUSPEND:
                    if not gate.suspend_oem(ledger, rules, by, why):
                        raise NotPossible(f"Nothing is filed for {oem} that could be suspended.")
                case Act.RESUME:
                    if not gate.resume_oem(ledger, rules, by, why):
                        raise NotPossible(f"No release of {oem} is suspended by anybody’s hand, a probe or drift.")
                case Act.ROLLBACK:
                    gate.rollback(ledger, rules, by, why)
                case Act.REBASELINE:
                    self._rebase(oem, by, why)
                case _:
                    assert_never(act)
        except (ConfigurationError, StateConflict) as refused:
            raise NotPossible(str(refused)) from refused

    def _rebase(self, oem: str, by: str, why: str) -> None:
        release = gate.current(self.ledger, self.adapters[oem])
        if release is None:
            raise NotPossible(f"No release of {oem} was seen yet.")
        gate.rebase(self.ledger, release, by, why)

    def reset_breaker(self, oem: str, dealer: str | None, by: str) -> None:
        breaker = self.ledger.breaker(oem, dealer)
        if breaker.position is Position.CLOSED:
            raise NotPossible(f"Nothing is left alone at {oem}{f'/{dealer}' if dealer else ''} any more.")
        if dealer:
            free_account(oem, dealer, by, self.ledger)
        else:
            close(breaker, by, self.ledger)
