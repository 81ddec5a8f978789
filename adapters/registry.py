"""The only list of OEMs in code. `oem-submissions new-oem` adds a line to it."""

from __future__ import annotations

from adapters.aurora.portal import Aurora
from adapters.borealis.portal import Borealis
from adapters.cascade.portal import Cascade
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.portal.adapter import PortalAdapter

ADAPTERS: dict[str, PortalAdapter] = {
    one.oem: one
    for one in (
        Aurora(),
        Borealis(),
        Cascade(),
    )
}


def oems() -> tuple[str, ...]:
    """Every OEM that has an adapter, in alphabetical order."""
    return tuple(sorted(ADAPTERS))


def adapter(oem: str) -> PortalAdapter:
    """The OEM's adapter. Raises `ConfigurationError` that lists the known ones."""
    try:
        return ADAPTERS[oem]
    except KeyError:
        known = ", ".join(oems())
        raise ConfigurationError(
            f"No adapter is registered for the OEM '{oem}', only for {known}: correct the name, or build the adapter"
            " with `oem-submissions new-oem`."
        ) from None
