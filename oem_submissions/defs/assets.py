"""The assets of one OEM: submission results → evidence bundles → CRM sync, one graph of three ops per partition."""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import pandas as pd
from dagster import (
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    Backoff,
    Failure,
    GraphIn,
    GraphOut,
    In,
    Jitter,
    MetadataValue,
    Nothing,
    OpExecutionContext,
    Out,
    RetryPolicy,
    graph,
    op,
)

from oem_submissions.defs.metadata import claims_table, links, thumbnail
from oem_submissions.defs.partitions import partition_of, partitions_of
from oem_submissions.domain.failures import ConfigurationError, SubmissionError
from oem_submissions.domain.states import FILED, HELD, State
from oem_submissions.ports import ClaimRules, LedgerUnavailable
from oem_submissions.services.bound import Services
from oem_submissions.services.submit import Partition, TryAgain

CRM_INTAKE = AssetKey("crm_intake")


class NotSealed(Exception):
    """The evidence of a filed claim could not be bundled; the run comes back to it. The portal is not touched."""


class CrmNotTold(Exception):
    """The CRM did not take an outcome; the run comes back to it. The portal is not touched."""


def retry_policy(budget: int, seconds: float) -> RetryPolicy:
    """Exponential backoff with jitter; a retried op only ever resumes from the ledger."""
    return RetryPolicy(max_retries=budget, delay=seconds, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)


def filing_ops(budget: int, retry_seconds: float) -> Mapping[str, Any]:
    """The three ops, shared by all OEMs."""
    common: dict[str, Any] = {
        "retry_policy": retry_policy(budget, retry_seconds),
        "required_resource_keys": {"services"},
    }

    @op(ins={"due": In(Nothing)}, out=Out(Nothing), **common)
    def submit_claims(context: OpExecutionContext) -> None:
        """File the partition's due claims in the OEM's portal, each once. What was filed before is left alone."""
        services, partition = _services(context), partition_of(context, _oem(context))
        with troubles_noted(context, services):
            try:
                _submit(context, services, partition)
            except TryAgain as waiting:
                if context.retry_number < budget:
                    raise
                context.log.warning(f"{waiting} No retry is left in this run; the schedule comes back to them.")
            except ConfigurationError as error:
                raise Failure(str(error), allow_retries=False) from error
        context.add_output_metadata(_results_metadata(services, partition))

    @op(ins={"submitted": In(Nothing)}, out=Out(Nothing), **common)
    def seal_evidence(context: OpExecutionContext) -> None:
        """Make one verifiable bundle per filed claim; what is sealed already stays as it is."""
        services, partition = _services(context), partition_of(context, _oem(context))
        with troubles_noted(context, services):
            unsealed = services.seal(partition, context.run_id, worker_name())
            for item in unsealed:
                context.log.warning(f"claim {item.claim.claim_id}: {item.problem}")
            if unsealed and context.retry_number < budget:
                raise NotSealed("; ".join(f"{item.claim.claim_id}: {item.problem}" for item in unsealed))
        claims = services.claims(partition)
        bundled = [claim for claim in claims if claim.bundle_digest]
        context.add_output_metadata(
            {
                "bundles": len(bundled),
                "not sealed": len(unsealed),
                "claims": claims_table(claims, ("claim_id", "state", "reference", "bundle_digest")),
                **links(services.settings, partition),
                **thumbnail(services, bundled),
            }
        )

    @op(ins={"sealed": In(Nothing)}, out=Out(Nothing), **common)
    def sync_crm(context: OpExecutionContext) -> None:
        """Write status, reference and evidence link to each claim's CRM record, and read them back."""
        services, partition = _services(context), partition_of(context, _oem(context))
        with troubles_noted(context, services):
            untold = services.sync(partition, context.run_id, worker_name())
            for item in untold:
                context.log.warning(f"claim {item.claim.claim_id}: {item.problem}")
            if untold and context.retry_number < budget:
                raise CrmNotTold("; ".join(f"{item.claim.claim_id}: {item.problem}" for item in untold))
        claims = services.claims(partition)
        context.add_output_metadata(
            {
                "told": sum(claim.crm_version == claim.version for claim in claims),
                "not taken by the CRM": len(untold),
                "claims": claims_table(claims, ("claim_id", "crm_record_id", "state", "reference", "reason")),
                **links(services.settings, partition),
            }
        )

    return {"submit": submit_claims, "seal": seal_evidence, "sync": sync_crm}


_KINDS = {
    "submission_results": ("playwright", "postgres"),
    "evidence_bundles": ("bagit",),
    "crm_sync": ("salesforce",),
}
_DESCRIPTIONS = {
    "submission_results": "What became of each claim in the OEM's portal: references, refusals, claims that are held.",
    "evidence_bundles": "One verifiable bundle per filed claim: both pictures, what was read back, the request.",
    "crm_sync": "What the CRM's records say of these claims, read back.",
}


def filing_assets(rules: ClaimRules, start: date, ops: Mapping[str, Any]) -> AssetsDefinition:
    """The OEM's three partitioned assets, each made from the one before, by one graph."""
    oem = rules.oem
    results, bundles, synced = asset_keys(oem)

    @graph(
        name=f"{oem}_filing",
        ins={"due": GraphIn()},
        out={name: GraphOut() for name in _KINDS},
    )
    def filing(due: Any) -> Any:
        submitted = ops["submit"](due)
        sealed = ops["seal"](submitted)
        return {"submission_results": submitted, "evidence_bundles": sealed, "crm_sync": ops["sync"](sealed)}

    return AssetsDefinition.from_graph(
        filing,
        keys_by_input_name={"due": CRM_INTAKE},
        keys_by_output_name=dict(zip(_KINDS, (results, bundles, synced), strict=True)),
        internal_asset_deps={"submission_results": {CRM_INTAKE}, "evidence_bundles": {results}, "crm_sync": {bundles}},
        partitions_def=partitions_of(rules, start),
        group_name=oem,
        descriptions_by_output_name=_DESCRIPTIONS,
        tags_by_output_name={
            name: {"oem": oem, **{f"dagster/kind/{kind}": "" for kind in kinds}} for name, kinds in _KINDS.items()
        },
        owners_by_output_name={name: ["team:submissions"] for name in _KINDS},
    )


def intake_asset() -> AssetSpec:
    """Where claims come from; the sensor `crm_intake` materialises it."""
    return AssetSpec(
        CRM_INTAKE,
        group_name="crm",
        description="Due claims taken in from the CRM, validated, with their files.",
        kinds={"salesforce", "postgres"},
        owners=["team:submissions"],
    )


@contextmanager
def troubles_noted(context: OpExecutionContext, services: Services) -> Iterator[None]:
    """A step that fails, or is tried again, makes its run unclean for the release gate: the ledger is told.

    A retry is noted before it does anything, so that a failure that could not be noted is not forgotten.
    """
    step = context.op.name
    if context.retry_number:
        services.ledger.note_trouble(context.run_id, step, f"tried again, for the {context.retry_number}. time")
    try:
        yield
    except Exception as error:
        try:
            services.ledger.note_trouble(context.run_id, step, str(error) or type(error).__name__)
        except LedgerUnavailable as unavailable:
            context.log.warning(f"That step {step} failed is noted by its retry: {unavailable}")
        raise


def worker_name() -> str:
    """This worker, for the ledger: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _oem(context: OpExecutionContext) -> str:
    """From the key of the asset that is being made.

    Configuration would do too, but then the UI's "Materialize" opens its launchpad instead of the choice of partitions.
    """
    return next(iter(context.assets_def.keys)).path[0]


def _services(context: OpExecutionContext) -> Services:
    services = context.resources.services
    assert isinstance(services, Services)
    return services


def _submit(context: OpExecutionContext, services: Services, partition: Partition) -> None:
    with services.portals(context.run_id) as portals:
        portal, admission = services.filing_portal(portals, partition.oem, partition.dealer)
        tags = {
            "oem": partition.oem,
            "dealer": partition.dealer,
            "period": partition.period,
            "adapter_digest": portal.pins.adapter_digest[:12],
            "pack": f"{portal.pins.pack_version}-{portal.pins.pack_digest[:12]}",
            "release_state": str(admission.release.state) if admission.release else "closed",
        }
        context.instance.add_run_tags(context.run_id, tags)
        try:
            claims = services.submit(partition, context.run_id, worker_name(), portal)
        except SubmissionError as error:
            context.log.warning(str(error))
            raise
    for claim in claims:
        context.log.info(f"claim {claim.claim_id}: {claim.state} {claim.reference or ''} {claim.reason or ''}")


def _results_metadata(services: Services, partition: Partition) -> dict[str, Any]:
    claims = services.claims(partition)
    count = pd.Series([claim.state for claim in claims], dtype="str").value_counts()
    filed = [claim for claim in claims if claim.state in FILED]
    return {
        "claims": claims_table(claims, ("claim_id", "state", "reference", "reason", "attempts", "run_id")),
        "filed": len(filed),
        "refused": int(count.get(State.REJECTED, 0)) + int(count.get(State.DEAD, 0)),
        "held": sum(claim.state in HELD for claim in claims),
        "references": MetadataValue.json([claim.reference for claim in filed]),
        **links(services.settings, partition),
        **thumbnail(services, claims),
    }


def asset_keys(oem: str) -> Sequence[AssetKey]:
    """The OEM's assets that a filing run makes."""
    return [AssetKey([oem, name]) for name in _KINDS]
