"""The checks of one OEM's partitions.

They read the ledger, the store and the CRM by key; each failure says what to do next.
"""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetKey,
    MetadataValue,
    PreviewWarning,
    asset_check,
)

from oem_submissions.defs.metadata import claims_table
from oem_submissions.defs.partitions import partition_of, partitions_of
from oem_submissions.domain.evidence import Finding, bundle_key, missing_evidence, reason_of
from oem_submissions.domain.reasons import REASONS, FailureClass, ReasonCode
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import FILED, HELD, State
from oem_submissions.ports import ClaimRules, CrmUnavailable, EvidenceMissing, EvidenceUnavailable
from oem_submissions.services.bound import Services

VerifyBundle = Callable[[bytes, str], Sequence[Finding]]
"""A bundle's bytes, and the digest that it should have, to what is wrong with it."""


def without_reference(claims: Sequence[Claim]) -> list[Claim]:
    """Claims that should have a reference and have none. One that the portal, or our validation, refused needs none."""
    fine = FILED | {State.REJECTED, State.WITHDRAWN, State.AWAITING_REFERENCE}

    def refused(claim: Claim) -> bool:
        return claim.reason is not None and REASONS[claim.reason].failure_class is FailureClass.BUSINESS

    return [c for c in claims if c.state not in fine and not (c.state is State.DEAD and refused(c))]


@dataclass(frozen=True)
class Lacking:
    """What is wrong with the evidence of a filed claim."""

    reason: ReasonCode
    text: str


def without_evidence(claims: Sequence[Claim], services: Services, verify: VerifyBundle) -> dict[str, Lacking]:
    """By claim id: what is wrong with the bundle of a filed claim."""
    found = {c.claim_id: _lacking(c, services, verify) for c in claims if c.state in FILED and c.pruned_at is None}
    return {claim_id: lacking for claim_id, lacking in found.items() if lacking is not None}


def _lacking(claim: Claim, services: Services, verify: VerifyBundle) -> Lacking | None:
    post = ReasonCode.POST_EVIDENCE_MISSING
    if claim.bundle_digest is None:
        missing = missing_evidence(State.CONFIRMED, {kept.name for kept in services.ledger.artifacts(claim.claim_id)})
        reason, what = missing or (post, "")
        return Lacking(reason, f"no bundle is sealed{f': {what} is missing' if what else ''}")
    try:
        bundle = services.evidence.get(bundle_key(claim.claim_id, claim.bundle_digest))
    except (EvidenceMissing, EvidenceUnavailable) as error:
        return Lacking(post, str(error))
    findings = verify(bundle, claim.bundle_digest)
    if not findings:
        return None
    reasons = {reason_of(finding.file.removeprefix("data/")) for finding in findings}
    return Lacking(post if post in reasons else reasons.pop(), "; ".join(map(str, findings)))


def unlike_in_crm(claims: Sequence[Claim], services: Services) -> dict[str, str]:
    """By claim id: where the CRM does not say what the ledger says."""
    problems = {}
    for claim in claims:
        if claim.crm_version is None and claim.state not in FILED:
            continue
        try:
            if not services.crm_agrees(claim):
                problems[claim.claim_id] = "the record differs from the ledger"
        except CrmUnavailable as error:
            problems[claim.claim_id] = str(error)
    return problems


def partition_checks(rules: ClaimRules, start: date, verify: VerifyBundle) -> list[AssetChecksDefinition]:
    """The OEM's checks: three that block, one that warns."""
    oem, partitions = rules.oem, partitions_of(rules, start)

    def check(asset: str, name: str, blocking: bool, description: str) -> Callable[..., Any]:
        def declare(function: Callable[..., Any]) -> Any:
            with warnings.catch_warnings():
                # Partitioned checks are marked preview; we rely on them.
                warnings.simplefilter("ignore", PreviewWarning)
                return asset_check(
                    asset=AssetKey([oem, asset]),
                    name=name,
                    blocking=blocking,
                    description=description,
                    partitions_def=partitions,
                    required_resource_keys={"services"},
                )(function)

        return declare

    def claims_in(context: AssetCheckExecutionContext) -> tuple[Services, list[Claim]]:
        services = context.resources.services
        return services, services.claims(partition_of(context.op_execution_context, oem))

    def noted(context: AssetCheckExecutionContext, name: str, result: AssetCheckResult) -> AssetCheckResult:
        """A failed blocking check makes its run unclean for the release gate: the ledger is told."""
        if not result.passed:
            ledger = context.resources.services.ledger
            ledger.note_trouble(context.run.run_id, f"check {name}", result.description or "failed")
        return result

    @check("submission_results", "reference_captured", True, "Every filed claim has exactly one reference.")
    def reference_captured(context: AssetCheckExecutionContext) -> AssetCheckResult:
        services, claims = claims_in(context)
        why_wait = services.why_wait(oem)
        # What a window or a cut-off stopped the run before is in nobody's hands, and goes on by itself; so does what is
        # looked up first, after a restore.
        ready = [c for c in claims if c.state is State.READY]
        wait = {c.claim_id for c in ready if c.in_doubt_since or (why_wait and not c.attempts)}
        missing = [c for c in without_reference(claims) if c.claim_id not in wait]
        captured = sum(c.state in FILED for c in claims)
        result = AssetCheckResult(
            passed=not missing,
            severity=AssetCheckSeverity.ERROR,
            description=_sentence(missing) if missing else f"{captured} references captured. {why_wait}".rstrip(),
            metadata={"claims": claims_table(missing or claims, ("claim_id", "state", "reference", "reason"))},
        )
        return noted(context, "reference_captured", result)

    @check("submission_results", "no_unknown_outcomes", False, "No claim is held because its outcome can't be told.")
    def no_unknown_outcomes(context: AssetCheckExecutionContext) -> AssetCheckResult:
        _, claims = claims_in(context)
        held = [c for c in claims if c.state in HELD and c.state is not State.AWAITING_REFERENCE]
        return AssetCheckResult(
            passed=not held,
            severity=AssetCheckSeverity.WARN,
            description=_sentence(held) if held else "Every outcome is known.",
            metadata={"held": len(held)},
        )

    @check("evidence_bundles", "evidence_present", True, "Every filed claim has a bundle that verifies.")
    def evidence_present(context: AssetCheckExecutionContext) -> AssetCheckResult:
        services, claims = claims_in(context)
        lacking = without_evidence(claims, services, verify)
        problems = {
            claim_id: f"{item.reason}: {item.text} What to do: {REASONS[item.reason].action}"
            for claim_id, item in lacking.items()
        }
        reasons = {claim_id: str(item.reason) for claim_id, item in lacking.items()}
        result = _by_claim(problems, "Every bundle is there and verifies.", reasons)
        return noted(context, "evidence_present", result)

    @check("crm_sync", "crm_matches_ledger", True, "The CRM's records, read back, say what the ledger says.")
    def crm_matches_ledger(context: AssetCheckExecutionContext) -> AssetCheckResult:
        services, claims = claims_in(context)
        result = _by_claim(unlike_in_crm(claims, services), "The CRM agrees with the ledger.")
        return noted(context, "crm_matches_ledger", result)

    return [reference_captured, no_unknown_outcomes, evidence_present, crm_matches_ledger]


def _by_claim(problems: dict[str, str], fine: str, reasons: dict[str, str] | None = None) -> AssetCheckResult:
    return AssetCheckResult(
        passed=not problems,
        severity=AssetCheckSeverity.ERROR,
        description="; ".join(f"{claim}: {problem}" for claim, problem in problems.items()) or fine,
        metadata={
            "problems": MetadataValue.json(problems),
            **({"reasons": MetadataValue.json(reasons)} if reasons else {}),
        },
    )


def _sentence(claims: Sequence[Claim]) -> str:
    return "; ".join(
        f"{c.claim_id} is {c.state}"
        + (f", {c.reason}: {c.reason_text} What to do: {REASONS[c.reason].action}" if c.reason else "")
        for c in claims
    )
