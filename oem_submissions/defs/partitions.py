"""Dealer × period, per OEM. Dealers are dynamic; periods have the grain of the OEM's cadence."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from dagster import (
    DagsterInstance,
    DailyPartitionsDefinition,
    DynamicPartitionsDefinition,
    MonthlyPartitionsDefinition,
    MultiPartitionKey,
    MultiPartitionsDefinition,
    OpExecutionContext,
    WeeklyPartitionsDefinition,
)

from oem_submissions.domain.cadence import Grain
from oem_submissions.ports import ClaimRules
from oem_submissions.services.submit import Partition

_GRAINS: dict[Grain, type[DailyPartitionsDefinition | WeeklyPartitionsDefinition | MonthlyPartitionsDefinition]] = {
    "day": DailyPartitionsDefinition,
    "week": WeeklyPartitionsDefinition,
    "month": MonthlyPartitionsDefinition,
}

_PARTITION = "dagster/partition"


def dealers_of(oem: str) -> DynamicPartitionsDefinition:
    """The dealers of an OEM."""
    return DynamicPartitionsDefinition(name=f"{oem}_dealers")


def partitions_of(rules: ClaimRules, start: date) -> MultiPartitionsDefinition:
    """An OEM's partitions. `end_offset=1`: the period that is running has claims due in it already."""
    grain = _GRAINS[rules.cadence.period]
    periods = grain(start_date=start.isoformat(), end_offset=1)
    return MultiPartitionsDefinition({"dealer": dealers_of(rules.oem), "period": periods})


def partition_key(dealer: str, period: str) -> MultiPartitionKey:
    """Dagster's key of a dealer's period."""
    return MultiPartitionKey({"dealer": dealer, "period": period})


def partition_tags(key: str) -> dict[str, str]:
    """What makes a request's run one of this partition, for Dagster, as it would find out itself.

    It would ask its storage for every single request whether the dealer is known, on a connection of its own: a
    thousand requests of one tick take most of a minute. `add_dealers` has just seen to that.
    """
    parts = key.keys_by_dimension if isinstance(key, MultiPartitionKey) else {}
    return {_PARTITION: str(key), **{f"{_PARTITION}/{name}": part for name, part in parts.items()}}


def partition_of(context: OpExecutionContext, oem: str) -> Partition:
    """What the run works on."""
    key = context.partition_key
    assert isinstance(key, MultiPartitionKey)
    return Partition(oem, key.keys_by_dimension["dealer"], key.keys_by_dimension["period"])


def add_dealers(instance: DagsterInstance, oem: str, dealers: Iterable[str]) -> list[str]:
    """Make partitions for dealers that have none; those made. Nothing is ever removed."""
    known = set(instance.get_dynamic_partitions(f"{oem}_dealers"))
    new = sorted(set(dealers) - known)
    if new:
        instance.add_dynamic_partitions(f"{oem}_dealers", new)
    return new
