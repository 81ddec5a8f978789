"""Probes: a walk through an account's portal, under its lease, filled with real claims; nothing is sent.

What it found is kept in the ledger, pictures of changed pages in the evidence store, and people are told when it is
red. What follows from that for the OEM's claims is decided elsewhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from oem_submissions.domain.breaker import Position
from oem_submissions.domain.claims import ClaimModel
from oem_submissions.domain.contracts import ProbeRecord, ProbeReport, probe_picture_key
from oem_submissions.domain.evidence import Artifact
from oem_submissions.domain.failures import SubmissionError
from oem_submissions.domain.records import AlertKind, Claim, Lease, NewAlert, Pins
from oem_submissions.domain.states import FILED, State
from oem_submissions.ports import (
    Account,
    EvidenceStore,
    EvidenceUnavailable,
    Ledger,
    Portal,
    PortalSession,
    Secrets,
    Submission,
)
from oem_submissions.services.breaking import refuse_account, require_account
from oem_submissions.services.leaking import LeakGate, in_words
from oem_submissions.services.leasing import held_account
from oem_submissions.services.release import probe_key
from oem_submissions.services.work import Work, submission_of, whole_submission

_log = logging.getLogger(__name__)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class ProbeWork:
    """Which account is probed, by whom, and with what."""

    oem: str
    dealer: str
    run_id: str
    worker: str
    ledger: Ledger
    evidence: EvidenceStore
    portal: Portal
    account: Callable[[], Account]
    parse: Callable[[dict[str, object]], ClaimModel]
    lease_seconds: float
    leak_gate: LeakGate


def probe_account(work: ProbeWork) -> ProbeRecord:
    """Walk through the portal, and keep what was found. Trouble of the portal is part of that.

    Raises `LeaseLost` when the account is another's, `StepFailed` when it must not be tried or has no log-in.
    """
    ledger = work.ledger
    with held_account(ledger, work.oem, work.dealer, work.run_id, work.worker, work.lease_seconds) as lease:
        for lost in ledger.recover(lease):
            _log.warning("claim %s: %s", lost.claim_id, lost.reason_text)
        require_account(work.oem, work.dealer, ledger)
        samples = samples_of(work)
        with work.portal.session(work.account(), attended=False) as session:
            return _walk(session, samples, work.portal.pins, lease, ledger, work.evidence, work.leak_gate)


def is_as_contracted(ready: Sequence[Claim], work: Work) -> bool:
    """Before a batch: whether the portal still is as the pack says, probed with the batch's own claims if need be.

    Only a broken contract holds a batch up. A portal that is down, or an account that is refused, shows at the first
    claim, with everything that follows from it.
    """
    lease, pins = work.lease, work.portal.pins
    if not ready or not work.gate.probe_is_due(lease.oem, pins):
        return True
    first = {claim.claim_type: claim for claim in reversed(ready)}
    try:
        samples = [submission_of(claim, work) for claim in first.values()]
    except SubmissionError:
        return True  # the claim's own trouble: its attempt says so
    record = _walk(work.session, samples, pins, lease, work.ledger, work.evidence, work.leak_gate)
    work.gate.probed(record)
    return not record.breaks_contract


def _walk(
    session: PortalSession,
    samples: Sequence[Submission],
    pins: Pins,
    lease: Lease,
    ledger: Ledger,
    evidence: EvidenceStore,
    leak_gate: LeakGate,
) -> ProbeRecord:
    """Probe, note what was found, tell people, keep the pictures."""
    began = time.monotonic()
    report = session.probe(samples)
    seconds = time.monotonic() - began
    record = ledger.note_probe(lease.oem, lease.dealer, pins, lease.run_id, lease.worker, seconds, report)
    _tell(record, report, lease, ledger)
    leaks = {shot.name: leak_gate.leaks(shot, session.needles) for shot in report.artifacts}
    for name in (name for name, found in leaks.items() if found):
        _log.error("probe %d: the picture %s was not kept: %s", record.probe_id, name, in_words(leaks[name]))
    _keep_pictures(record, [shot for shot in report.artifacts if not leaks[shot.name]], evidence)
    return record


def dealer_to_probe(oem: str, ledger: Ledger, secrets: Secrets) -> str | None:
    """Whose account is probed when nobody is named: a pilot dealer's, one that is free first; None when none can be."""
    refused = {b.dealer for b in ledger.breakers() if b.oem == oem and b.position is not Position.CLOSED}
    pilots = ledger.pilots(oem)
    others = [dealer for dealer in ledger.dealers(oem) if dealer not in pilots]
    known = [dealer for dealer in (*pilots, *others) if dealer not in refused]
    busy = {lease.dealer for lease in ledger.held_leases() if lease.oem == oem}
    in_order = sorted(known, key=lambda dealer: dealer in busy)
    return next((dealer for dealer in in_order if secrets.find(f"portal/{oem}/{dealer}/password")), None)


def samples_of(work: ProbeWork) -> list[Submission]:
    """One claim of the account per claim type: the oldest that is to be filed, else the newest that was filed."""
    claims = [claim for claim, _ in work.ledger.account_claims(work.oem, work.dealer)]
    kinds = dict.fromkeys(claim.claim_type for claim in claims)
    found = (_first_whole(_candidates(claims, kind), work) for kind in kinds)
    return [submission for submission in found if submission is not None]


def _candidates(claims: Sequence[Claim], kind: str) -> Iterator[Claim]:
    of_kind = [claim for claim in claims if claim.claim_type == kind]
    yield from (claim for claim in of_kind if claim.state is State.READY)
    filed = [claim for claim in of_kind if claim.state in FILED]
    yield from sorted(filed, key=lambda claim: claim.confirmed_at or _LONG_AGO, reverse=True)


def _first_whole(claims: Iterator[Claim], work: ProbeWork) -> Submission | None:
    for claim in claims:
        try:
            return whole_submission(claim, work.parse, work.evidence)
        except SubmissionError as error:  # a file is missing, or the claim model has changed since
            _log.info("claim %s can't be tried: %s", claim.claim_id, error)
    return None


def _tell(record: ProbeRecord, report: ProbeReport, lease: Lease, ledger: Ledger) -> None:
    """One alert per OEM and pack, for as long as its probes are red."""
    key = probe_key(record.oem, record.pins.pack_version)
    if not record.red:
        ledger.resolve_alert(key)
        return
    _log.error("The probe of %s is red: %s", record.oem, record.text)
    if report.failure is not None:
        refuse_account(SubmissionError(report.failure.reason, report.failure.text), lease, ledger)
    text = f"The probe of {record.oem} with pack {record.pins.pack_version} is red. {record.text}"
    ledger.raise_alert(NewAlert(key, AlertKind.PROBE_RED, text, record.oem, record.dealer, record.run_id))


def _keep_pictures(record: ProbeRecord, pictures: Sequence[Artifact], evidence: EvidenceStore) -> None:
    """They help people; the probe's verdict does not need them."""
    for shot in pictures:
        try:
            evidence.put(probe_picture_key(record, shot.name), shot.data)
        except EvidenceUnavailable as error:
            _log.warning("probe %d: the picture %s was not kept: %s", record.probe_id, shot.name, error)
