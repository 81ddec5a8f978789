"""Sensors over message queues, each there only when its queue is set up. They decide nothing themselves."""

# No `from __future__ import annotations` here: Dagster resolves these annotations at run time.

from dagster import (
    AssetMaterialization,
    AssetSelection,
    DefaultSensorStatus,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from oem_submissions.defs.assets import CRM_INTAKE
from oem_submissions.services.bound import Services
from oem_submissions.settings import Settings

_SECONDS = 15


def queue_sensors(settings: Settings) -> list[SensorDefinition]:
    """Those whose queue is set."""
    sensors = (
        (settings.dead_letter_queue, forward_dead_letters_sensor),
        (settings.redrive_queue, redrive_queue_sensor),
        (settings.due_queue, due_queue_sensor),
    )
    return [make() for url, make in sensors if url]


def forward_dead_letters_sensor() -> SensorDefinition:
    """Forwards dead letters. While the queue can't be reached its ticks fail, and everything waits in the ledger."""

    @sensor(
        name="forward_dead_letters",
        minimum_interval_seconds=_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
        asset_selection=AssetSelection.assets(CRM_INTAKE),
    )
    def forward_dead_letters(context: SensorEvaluationContext) -> SkipReason:
        services: Services = context.resources.services
        return SkipReason(f"{services.forward_dead_letters()} dead letters were forwarded.")

    return forward_dead_letters


def redrive_queue_sensor() -> SensorDefinition:
    """Redrives dead letters that come back."""

    @sensor(
        name="redrive_queue",
        minimum_interval_seconds=_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
        asset_selection=AssetSelection.assets(CRM_INTAKE),
    )
    def redrive_queue(context: SensorEvaluationContext) -> SkipReason:
        services: Services = context.resources.services
        handled = services.redrive_from_queue()
        return SkipReason(" ".join([*handled.refused, *handled.done]) or "Nothing came.")

    return redrive_queue


def due_queue_sensor() -> SensorDefinition:
    """Takes in records that messages name, as the CRM has them: the same intake as `crm_intake`, only sooner."""

    @sensor(
        name="due_queue",
        minimum_interval_seconds=_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"services"},
        asset_selection=AssetSelection.assets(CRM_INTAKE),
    )
    def due_queue(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        services: Services = context.resources.services
        handled, reports = services.take_in_from_queue()
        counts = {
            "taken in": sum(len(report.taken_in) for report in reports),
            "amended": sum(len(report.amended) for report in reports),
            "refused": sum(len(report.refused) for report in reports),
        }
        if not any(counts.values()):
            return SkipReason(" ".join([*handled.refused, *handled.done]) or "Nothing came.")
        metadata = {**counts, "messages refused": len(handled.refused)}
        return SensorResult(asset_events=[AssetMaterialization(CRM_INTAKE, metadata=metadata)])

    return due_queue
