"""The services bound to their parts: what Dagster, the desk and the command line call. It decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from oem_submissions.domain.checkpoints import Trust
from oem_submissions.domain.claims import parse_claim
from oem_submissions.domain.contracts import ProbeRecord
from oem_submissions.domain.evidence_log import KeptCheckpoint, KeptStamp
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.domain.polling import DuePoll
from oem_submissions.domain.records import Claim, DueWork, Lease, Pins
from oem_submissions.domain.releases import Admission, Cause, Release, ReleaseState, deployed, production, verifying
from oem_submissions.domain.scheduler_health import Health
from oem_submissions.ports import (
    Bundler,
    ClaimRules,
    Crm,
    EvidenceStore,
    LeakScan,
    Ledger,
    Portal,
    ReleaseGate,
    Secrets,
    Timestamps,
    Vault,
)
from oem_submissions.services.accounts import portal_account
from oem_submissions.services.alerting import observe
from oem_submissions.services.audit import glance
from oem_submissions.services.dispositions import tell_dispositions
from oem_submissions.services.health import LostWorker, lost_workers, recover_lost_workers
from oem_submissions.services.history import Reader
from oem_submissions.services.intake import IntakeReport, take_in_due_claims, take_in_records
from oem_submissions.services.leaking import LeakGate
from oem_submissions.services.probe import ProbeWork, dealer_to_probe, probe_account
from oem_submissions.services.queue import look_at_tick, make_up_ticks, why_wait, work_to_enqueue
from oem_submissions.services.queues import Handled, Queues, forward_dead_letters, redrive_from, take_in_from
from oem_submissions.services.release import admission, advance, reading_pack
from oem_submissions.services.scheduler_health import scheduler_health, watch_deadlines
from oem_submissions.services.seal import Notary, Unsealed, seal_claims
from oem_submissions.services.sessions import LedgerShelf
from oem_submissions.services.stamp import stamp_newest
from oem_submissions.services.submit import Partition, submit_partition
from oem_submissions.services.sync import Untold, same_standing, sync_claims, went_with_its_record
from oem_submissions.settings import Settings


class Portals(Protocol):
    """The OEMs' portals, behind one browser that starts when it is first needed."""

    def portal(self, oem: str, pack_version: str | None = None) -> Portal:
        """One OEM's portal, pinned to the deployed adapter and a pack: the newest when none is named."""
        ...


@dataclass(frozen=True)
class Services:
    """Everything a worker, a sensor or a command needs."""

    settings: Settings
    ledger: Ledger
    crm: Crm
    evidence: EvidenceStore
    secrets: Secrets
    vault: Vault
    adapters: Mapping[str, ClaimRules]
    portals: Callable[[str], AbstractContextManager[Portals]]
    """By run id."""
    bundle: Bundler
    notary: Notary
    scan: LeakScan
    trust: Callable[[], Trust]
    """Whose signatures count now. Raises `SigningUnavailable`."""
    timestamps: Timestamps | None
    """None: checkpoints are not stamped."""
    gate: ReleaseGate
    released_packs: Callable[[str], Sequence[tuple[str, str]]]
    """By OEM: (version, digest) of every released pack, oldest first."""
    queues: Queues = Queues()
    deliver_alerts: Callable[[], object] = lambda: None
    """Gives every alert channel what it was not told yet."""

    @property
    def leak_gate(self) -> LeakGate:
        """What nothing passes that holds a secret."""
        return LeakGate(self.scan, self.secrets)

    def take_in(self) -> IntakeReport:
        """Bring due claims in from the CRM, and tell it at once of those that can't be filed."""
        report = take_in_due_claims(self.ledger, self.crm, self.evidence, self.adapters, self.settings.attachment_bytes)
        self._tell_of_refusals()
        return report

    def _tell_of_refusals(self) -> None:
        untold = [claim for claim in self.ledger.untold() if claim.run_id is None]  # no run will: none ever had them
        sync_claims(untold, None, "intake", ledger=self.ledger, crm=self.crm, desk_url=self.settings.desk_url)

    def take_in_from_queue(self) -> tuple[Handled, list[IntakeReport]]:
        """Bring in the due claims that messages name, as the CRM has them. Raises `QueueUnavailable`."""
        assert self.queues.due is not None, "its sensor is not there without it"

        def take_in(record_ids: Sequence[str]) -> tuple[IntakeReport, Sequence[str]]:
            limit = self.settings.attachment_bytes
            return take_in_records(record_ids, self.ledger, self.crm, self.evidence, self.adapters, limit)

        handled, reports = take_in_from(self.queues.due, take_in)
        if any(report.refused for report in reports):
            self._tell_of_refusals()
        return handled, reports

    def forward_dead_letters(self) -> int:
        """Put dead letters into their queue; how many it took. Raises `QueueUnavailable`."""
        assert self.queues.dead_letters is not None, "its sensor is not there without it"
        return forward_dead_letters(self.ledger, self.queues.dead_letters, self.settings.desk_url)

    def redrive_from_queue(self) -> Handled:
        """Redrive the dead letters that come back. Raises `QueueUnavailable`."""
        assert self.queues.redrive is not None, "its sensor is not there without it"
        return redrive_from(self.queues.redrive, self.ledger)

    def observe_alerts(self) -> bool:
        """Open and resolve alerts as things stand; whether it was our turn."""
        return observe(self.ledger, self.adapters)

    def due(
        self, oem: str, under_way: Collection[tuple[str, str]], dealers: Sequence[str] = (), period: str | None = None
    ) -> list[DueWork]:
        """What should be put in the queue now."""
        cadence = self.adapters[oem].cadence
        return work_to_enqueue(self.ledger, oem, self.releases(oem), under_way, dealers, period, cadence)

    def look_at_tick(self, oem: str, scheduled: datetime) -> tuple[bool, str]:
        """Whether a tick is to be noted, and why there is nothing to do at it; empty: enqueue."""
        return look_at_tick(self.ledger, self.adapters[oem], scheduled)

    def why_wait(self, oem: str) -> str:
        """Why no claim of the OEM is begun now, though its release would file: a window, or a cut-off; else empty."""
        return why_wait(self.ledger, self.adapters[oem].cadence, production(self.releases(oem)))

    def make_up_ticks(self, paused: Collection[str]) -> list[str]:
        """Note ticks that nobody evaluated, and make them up; `paused`: OEMs whose schedule a person has stopped."""
        return make_up_ticks(self.ledger, self.adapters, paused)

    def scheduler_health(self, oldest_queued: Mapping[str, datetime]) -> Health:
        """What the logs of a day say; by OEM, when the oldest run that still waits was queued."""
        return scheduler_health(self.ledger, self.adapters, oldest_queued)

    def watch_deadlines(self) -> None:
        """Tell people of claims that are not filed and whose deadline is near; take it back when they are."""
        watch_deadlines(self.ledger, self.adapters)

    def releases(self, oem: str) -> list[Release]:
        """The OEM's releases of the deployed adapter, the newest first."""
        return deployed(self.ledger.releases(oem), self.adapters[oem].digest)

    def advance_release(self, oem: str) -> list[str]:
        """See what is deployed, and move the OEM's releases on; what happened."""
        rules, packs = self.adapters[oem], self.released_packs(oem)
        newest = Pins(rules.digest, *packs[-1]) if packs else None
        from oem_submissions.services.drifting import watch_drift  # here: most commands do without scipy

        happened = advance(self.ledger, rules, newest)
        live = production(self.releases(oem))
        return happened + (watch_drift(self.ledger, live) if live is not None else [])

    def filing_portal(self, portals: Portals, oem: str, dealer: str) -> tuple[Portal, Admission]:
        """The portal with the pack of the release that the dealer files with; to read with, if he files with none."""
        admitted = admission(self.ledger, self.adapters[oem], dealer)
        pack = admitted.release.pins.pack_version if admitted.release else reading_pack(self.ledger, self.adapters[oem])
        return portals.portal(oem, pack), admitted

    def reading_portal(self, portals: Portals, oem: str) -> Portal:
        """The portal with the pack that reads histories."""
        return portals.portal(oem, reading_pack(self.ledger, self.adapters[oem]))

    def submit(self, partition: Partition, run_id: str, worker: str, portal: Portal) -> list[Claim]:
        """Look held claims of a partition up, and file what is to be filed. Raises `TryAgain` and `LeaseLost`."""
        rules = self.adapters[partition.oem]
        return submit_partition(
            partition,
            run_id,
            worker,
            ledger=self.ledger,
            evidence=self.evidence,
            portal=portal,
            gate=self.gate,
            account=lambda: portal_account(self.secrets, partition.oem, partition.dealer),
            parse=lambda payload: parse_claim(rules.claim_model, payload),
            lease_seconds=self.settings.lease_seconds,
            click_seconds=self.settings.click_seconds,
            attempts_budget=self.settings.attempts_budget,
            look_hours=self.settings.look_hours,
            leak_gate=self.leak_gate,
            breaker_failures=self.settings.breaker_failures,
            shelf=lambda lease: self._shelf(lease, portal),
        )

    def seal(self, partition: Partition, run_id: str, worker: str) -> list[Unsealed]:
        """Seal what has an outcome; what could not be sealed."""
        return seal_claims(
            self.claims(partition),
            run_id,
            worker,
            ledger=self.ledger,
            evidence=self.evidence,
            bundle=self.bundle,
            notary=self.notary,
            leak_gate=self.leak_gate,
        )

    def stamp_log(self) -> None:
        """Have the evidence log's newest checkpoint stamped. Raises `TimestampUnavailable` or `TimestampRefused`."""
        if self.timestamps is not None:
            stamp_newest(self.ledger, self.timestamps)

    def log_head(self) -> tuple[KeptCheckpoint | None, KeptStamp | None]:
        """The evidence log's newest checkpoint, and the newest that was stamped."""
        return self.ledger.newest_checkpoint(), next(iter(self.ledger.stamps(limit=1)), None)

    def log_problems(self) -> list[str]:
        """What is wrong with the evidence log at a glance; the whole of it is `evidence audit`'s."""
        return glance(self.ledger, self.trust())

    def sync(self, partition: Partition, run_id: str, worker: str) -> list[Untold]:
        """Tell the CRM; what it did not take."""
        claims = self.claims(partition)
        return sync_claims(claims, run_id, worker, ledger=self.ledger, crm=self.crm, desk_url=self.settings.desk_url)

    def reader(self, oem: str, dealer: str, run_id: str, worker: str, portal: Portal) -> Reader:
        """What reads the account's whole history."""
        rules = self.adapters[oem]
        return Reader(
            oem,
            dealer,
            run_id,
            worker,
            self.ledger,
            portal,
            account=lambda: portal_account(self.secrets, oem, dealer),
            parse=lambda payload: parse_claim(rules.claim_model, payload),
            lease_seconds=self.settings.lease_seconds,
            poll_seconds=self.settings.poll_hours * 3600,
            shelf=lambda lease: self._shelf(lease, portal),
        )

    def _shelf(self, lease: Lease, portal: Portal) -> LedgerShelf:
        return LedgerShelf(self.ledger, self.vault, lease, portal.pins)

    def due_polls(self, oem: str) -> list[DuePoll]:
        """Partitions whose dispositions want a run."""
        return self.ledger.due_polls(oem, self.settings.poll_hours * 3600)

    def tell_dispositions(self, partition: Partition, run_id: str, worker: str) -> list[Untold]:
        """Tell the CRM what the OEM decided; what it did not take."""
        claims, desk_url = self.claims(partition), self.settings.desk_url
        return tell_dispositions(claims, run_id, worker, ledger=self.ledger, crm=self.crm, desk_url=desk_url)

    def probe(self, oem: str, dealer: str | None, run_id: str, worker: str, portal: Portal) -> ProbeRecord:
        """Walk through the portal without filing anything; without a dealer, with the account that suits best.

        Raises `ConfigurationError` when no account can be used, else as `probe_account`.
        """
        chosen = dealer or self.dealer_to_probe(oem)
        if chosen is None:
            raise ConfigurationError(
                f"No dealer of {oem} has a log-in that works: import dealers (`oem-submissions dealers import`) and set"
                " their log-ins, or name one."
            )
        rules = self.adapters[oem]
        work = ProbeWork(
            oem,
            chosen,
            run_id,
            worker,
            self.ledger,
            self.evidence,
            portal,
            account=lambda: portal_account(self.secrets, oem, chosen),
            parse=lambda payload: parse_claim(rules.claim_model, payload),
            lease_seconds=self.settings.lease_seconds,
            leak_gate=self.leak_gate,
        )
        record = probe_account(work)
        self.gate.probed(record)
        return record

    def probe_to_repeat(self, oem: str, after: timedelta) -> ProbeRecord | None:
        """The red probe that holds a release up, if it is as long ago as that; None: nothing is to be probed again."""
        for release in self.releases(oem):
            last = self.ledger.last_probe(oem, release.pins.adapter_digest, release.pins.pack_digest)
            if Cause.PROBE in release.suspended_by and release.state is ReleaseState.SUSPENDED and last is not None:
                return last if self.ledger.now() - last.at > after else None
        return None

    def packs_to_probe(self, oem: str) -> list[str | None]:
        """The packs that file now, or would: of the release in production and of the one that verifies; else newest."""
        releases = self.releases(oem)
        known = [release for release in (production(releases), verifying(releases)) if release is not None]
        return [release.pins.pack_version for release in known] or [None]

    def dealer_to_probe(self, oem: str) -> str | None:
        """Whose account is probed when nobody is named; None when none can be."""
        return dealer_to_probe(oem, self.ledger, self.secrets)

    def claims(self, partition: Partition) -> list[Claim]:
        """The partition's claims as the ledger has them."""
        return self.ledger.claims(partition.oem, partition.dealer, partition.period)

    def crm_agrees(self, claim: Claim) -> bool:
        """Whether the CRM's record, read now, says what the ledger says."""
        if went_with_its_record(claim, self.crm):
            return True
        found, standing = self.crm.read_outcome(claim.crm_record_id), self.ledger.standing(claim.claim_id)
        return same_standing(found, claim, self.settings.desk_url, standing)

    def recover(self, actor: str, after: int) -> list[LostWorker]:
        """Put right what lost workers left; those that were lost after an entry of the lease log."""
        recover_lost_workers(self.ledger, actor, self.settings.lease_seconds)
        return lost_workers(self.ledger, after)
