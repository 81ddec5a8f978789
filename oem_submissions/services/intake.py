"""Due claims from the CRM into the ledger: validated, files fetched and hashed, payload frozen.

Everything in a record is untrusted.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from oem_submissions.domain.claims import parse_claim
from oem_submissions.domain.evidence import attachment_key
from oem_submissions.domain.failures import PayloadInvalid, StateConflict
from oem_submissions.domain.keys import canonical_json, claim_id, sha256_hex
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, NewClaim
from oem_submissions.domain.states import State
from oem_submissions.ports import (
    ClaimRules,
    Crm,
    CrmFile,
    CrmFileRefused,
    CrmRecord,
    EvidenceErased,
    EvidenceStore,
    Ledger,
)

_log = logging.getLogger(__name__)

_MAGIC = {"application/pdf": b"%PDF-", "image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n"}


@dataclass(frozen=True)
class IntakeReport:
    """What one look at the CRM brought: claim ids."""

    taken_in: tuple[str, ...] = ()
    amended: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    """Kept in the ledger as dead letters, with the reason."""


def take_in_due_claims(
    ledger: Ledger, crm: Crm, evidence: EvidenceStore, adapters: Mapping[str, ClaimRules], attachment_bytes: int
) -> IntakeReport:
    """Bring the ledger up to date with the CRM's due records.

    A record that can't be a claim is kept too, with its reason. Raises `CrmUnavailable` when the CRM fails; what was
    taken in by then stays, and the next look goes on from there.
    """
    return _take_in(crm.due_records(), ledger, crm, evidence, adapters, attachment_bytes)


def take_in_records(
    record_ids: Collection[str],
    ledger: Ledger,
    crm: Crm,
    evidence: EvidenceStore,
    adapters: Mapping[str, ClaimRules],
    attachment_bytes: int,
) -> tuple[IntakeReport, Sequence[str]]:
    """The same for these records only, those of them that are due; and the ids that the CRM has no record of."""
    found = crm.records(record_ids)
    due = [record for record in found.values() if record is not None]
    report = _take_in(due, ledger, crm, evidence, adapters, attachment_bytes)
    return report, [record_id for record_id in record_ids if record_id not in found]


def _take_in(
    records: Iterable[CrmRecord],
    ledger: Ledger,
    crm: Crm,
    evidence: EvidenceStore,
    adapters: Mapping[str, ClaimRules],
    attachment_bytes: int,
) -> IntakeReport:
    taken, amended, refused = [], [], []
    for record in records:
        known = ledger.claim_of_record(record.oem, record.record_id)
        source = source_digest(record)
        if known is not None and not _is_to_be_read_again(known, source, adapters):
            continue
        try:
            new = _new_claim(record, source, crm, evidence, adapters, attachment_bytes, ledger.now())
            claim = ledger.add_claim(new) if known is None else ledger.amend_claim(known, new)
        except (StateConflict, EvidenceErased):
            # A worker just took the old payload: the correction is late, and the CRM will show the outcome. Or the
            # claim's personal data was erased just now, and is not brought back.
            continue
        if claim.state is State.DEAD:
            _log.warning(
                "claim %s of record %s: %s %s", claim.claim_id, record.record_id, claim.reason, claim.reason_text
            )
            refused.append(claim.claim_id)
        elif known is None:
            taken.append(claim.claim_id)
        else:
            amended.append(claim.claim_id)
    return IntakeReport(tuple(taken), tuple(amended), tuple(refused))


def _is_to_be_read_again(known: Claim, source: str, adapters: Mapping[str, ClaimRules]) -> bool:
    """Whether a record that the ledger has was corrected, or its OEM got an adapter, before anything was filed."""
    if known.state not in (State.READY, State.DEAD) or known.erased_at is not None:
        return False
    return known.source_sha256 != source or (known.reason is ReasonCode.OEM_UNKNOWN and known.oem in adapters)


def source_digest(record: CrmRecord) -> str:
    """Of everything that a person can correct in the CRM; our own write-back does not change it."""
    source = {
        "dealer": record.dealer,
        "claim_type": record.claim_type,
        "due_on": record.due_on.isoformat(),
        "payload": record.payload,
        "files": [asdict(file) for file in record.files],
        "fault": record.fault,
    }
    return sha256_hex(canonical_json(source))


def _new_claim(
    record: CrmRecord,
    source: str,
    crm: Crm,
    evidence: EvidenceStore,
    adapters: Mapping[str, ClaimRules],
    attachment_bytes: int,
    now: datetime,
) -> NewClaim:
    rules = adapters.get(record.oem)
    period = rules.cadence.period_of(record.due_on) if rules else record.due_on.isoformat()
    common: dict[str, Any] = {
        "oem": record.oem,
        "dealer": record.dealer,
        "period": period,
        "claim_type": record.claim_type,
        "crm_record_id": record.record_id,
        "due_on": record.due_on,
        "source_sha256": source,
    }
    try:
        if rules is None:
            text = f"OEM '{record.oem}' has no adapter; there are {', '.join(sorted(adapters))}."
            raise PayloadInvalid(text, ReasonCode.OEM_UNKNOWN)
        if record.fault is not None:
            raise PayloadInvalid(record.fault)
        payload = {**record.payload, "claim_type": record.claim_type}
        payload["attachments"] = [_fetch(file, record, crm, evidence, attachment_bytes) for file in record.files]
        claim = parse_claim(rules.claim_model, payload)
        if claim.dealer_code != record.dealer:
            text = f"dealer_code: the claim says {claim.dealer_code}, its record says {record.dealer}"
            raise PayloadInvalid(text)
    except PayloadInvalid as invalid:
        return NewClaim(
            **common, natural_key=None, payload=record.payload, reason=invalid.reason, reason_text=invalid.text
        )
    limit = rules.filing_limits.get(claim.claim_type)
    too_late = limit.exceeded(claim, now.astimezone(ZoneInfo(rules.cadence.timezone)).date()) if limit else None
    return NewClaim(
        **common,
        natural_key=claim.natural_key(record.oem),
        payload=claim.model_dump(mode="json"),
        reason=ReasonCode.CUTOFF_PASSED if too_late else None,
        reason_text=too_late,
    )


def _fetch(
    file: CrmFile, record: CrmRecord, crm: Crm, evidence: EvidenceStore, attachment_bytes: int
) -> dict[str, Any]:
    """The file's bytes, checked, hashed and durable; what the claim says of it. Raises `PayloadInvalid`."""

    def refuse(why: str) -> PayloadInvalid:
        return PayloadInvalid(f"Attachment '{file.name}' {why}.", ReasonCode.ATTACHMENT_REJECTED)

    if file.media_type not in _MAGIC:
        raise refuse(f"is of type '{file.media_type}'; allowed are {', '.join(_MAGIC)}")
    if file.size > attachment_bytes:
        raise refuse(f"has {file.size:,} bytes; the limit is {attachment_bytes:,}")
    try:
        data = crm.download(file.file_id, attachment_bytes)
    except CrmFileRefused as error:
        raise refuse(f"could not be fetched: {error}") from error
    if not data.startswith(_MAGIC[file.media_type]):
        raise refuse(f"is not what it says, {file.media_type}")
    digest = sha256_hex(data)
    evidence.put(attachment_key(claim_id(record.oem, record.record_id), digest), data)
    return {
        "file_id": file.file_id,
        "name": file.name,
        "kind": file.kind,
        "media_type": file.media_type,
        "size": len(data),
        "sha256": digest,
    }
