"""Which Salesforce field holds what. Data and its conversion, no network; the defaults fit our own object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from oem_submissions.ports import CrmOutcome


@dataclass(frozen=True)
class SalesforceFields:
    """API names of the object and its fields."""

    object_name: str = "OEM_Claim__c"
    oem: str = "OEM__c"
    dealer: str = "Dealer_Code__c"
    claim_type: str = "Claim_Type__c"
    due_on: str = "Due_On__c"
    payload: str = "Payload__c"
    """A long text area that holds a JSON object."""
    claim_id: str = "Submission_Claim_Id__c"
    """The external id, unique."""
    status: str = "Submission_Status__c"
    reference: str = "Submission_Reference__c"
    reference_kind: str = "Reference_Kind__c"
    reason_code: str = "Reason_Code__c"
    reason_text: str = "Reason_Text__c"
    evidence_url: str = "Evidence_URL__c"
    evidence_digest: str = "Evidence_Digest__c"
    run_id: str = "Submission_Run_Id__c"
    confirmed_at: str = "Confirmed_At__c"
    updated_at: str = "Submission_Updated_At__c"
    disposition: str = "Disposition__c"
    disposition_text: str = "Disposition_Text__c"
    disposition_at: str = "Disposition_At__c"
    file_kind: str = "Attachment_Kind__c"
    """On ContentVersion: photo, invoice, proof_of_performance, bill_of_sale; empty is other."""

    def of_claim(self) -> list[str]:
        """What a due claim is read from."""
        return [self.oem, self.dealer, self.claim_type, self.due_on, self.payload]

    def of_outcome(self) -> dict[str, str]:
        """Each attribute of `CrmOutcome` with the field that holds it."""
        return {attribute.name: getattr(self, attribute.name) for attribute in fields(CrmOutcome)}


def outcome_values(mapping: SalesforceFields, outcome: CrmOutcome) -> dict[str, str | None]:
    """What is written on the record: ISO 8601 times in UTC, whole seconds as Salesforce keeps them."""
    values: dict[str, str | None] = {}
    for attribute, name in mapping.of_outcome().items():
        value = getattr(outcome, attribute)
        if isinstance(value, datetime):
            value = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        values[name] = None if value is None else str(value)
    return values


def outcome_of(mapping: SalesforceFields, row: Mapping[str, Any]) -> CrmOutcome | None:
    """What the record says; None without a status. Raises `ValueError`, `KeyError` or `TypeError` on nonsense."""
    held = {attribute: row[name] for attribute, name in mapping.of_outcome().items()}
    if not held["status"]:
        return None
    for attribute in ("confirmed_at", "updated_at", "disposition_at"):
        if held[attribute] is not None:
            held[attribute] = parse_time(held[attribute])
    return CrmOutcome(**held | {"claim_id": held["claim_id"] or ""})


def parse_time(text: str) -> datetime:
    """A time as Salesforce writes it, UTC. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text} has no zone")
    return moment.astimezone(UTC)
