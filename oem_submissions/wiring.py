"""The composition root: settings become parts, parts become services and Definitions.

Tests put other parts in by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.registry import ADAPTERS, adapter
from oem_submissions.crm.salesforce import SalesforceCrm
from oem_submissions.evidence.bundle import build_bundle
from oem_submissions.evidence.keyfiles import key_file
from oem_submissions.evidence.leaks import leaks
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.portal.packs import released_packs
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.site_proxy import site_proxy
from oem_submissions.ports import Secrets
from oem_submissions.services.bound import Services
from oem_submissions.services.leasing import beating
from oem_submissions.services.release import LedgerGate
from oem_submissions.settings import EnvironmentSecrets, Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from dagster import Definitions

Part = TypeVar("Part")


@contextmanager
def build(settings: Settings | None = None, **overrides: Any) -> Iterator[Services]:
    """The services on their real parts, closed at the end; `overrides` replaces any part by its name in `Services`."""
    settings = settings or read_settings()

    def part(name: str, make: Callable[[], Part]) -> Part:
        return overrides[name] if name in overrides else make()

    secrets = part("secrets", EnvironmentSecrets)
    ledger = part("ledger", lambda: Ledger(ledger_engine(database_url(settings)), settings.attempts_budget))
    adapters = part("adapters", lambda: ADAPTERS)
    services = Services(
        settings=settings,
        ledger=ledger,
        crm=part("crm", lambda: salesforce(settings, EnvironmentSecrets())),
        evidence=part("evidence", lambda: DirectoryStore(settings.evidence)),
        secrets=secrets,
        adapters=adapters,
        portals=part("portals", lambda: lambda run_id: browser_runtime(settings, run_id, secrets)),
        bundle=part("bundle", lambda: build_bundle),
        scan=part("scan", lambda: leaks),
        gate=part("gate", lambda: LedgerGate(ledger, adapters, settings.probe_minutes)),
        released_packs=part("released_packs", lambda: partial(released_packs, settings.selectors)),
    )
    try:
        yield services
    finally:
        if "ledger" not in overrides:
            ledger.close()


def browser_runtime(settings: Settings, run_id: str | None = None, secrets: Secrets | None = None) -> BrowserRuntime:
    """The portals of all OEMs behind one browser; the run's id goes with every line that it logs.

    Without secrets, to look at pages or packs, no key is made for what is read back.
    """
    extra = {"run_id": run_id} if run_id else {}
    key = readback_key(settings, secrets) if secrets is not None else None
    return BrowserRuntime(
        adapter,
        settings.selectors,
        settings.portal_urls,
        log_extra=extra,
        site_proxy=site_proxy(),
        readback_key=key,
    )


def readback_key(settings: Settings, secrets: Secrets) -> bytes:
    """The tenant's key for the HMAC of personal values: the secret `evidence/hmac_key`, else this machine's own."""
    given = secrets.find("evidence/hmac_key")
    if given is not None:
        return given.encode()
    return key_file(settings.home / "keys" / "readback-hmac.key", lambda: token_bytes(32))


def database_url(settings: Settings) -> str:
    """The ledger's database: the one that is set, or the embedded one, started if need be."""
    return settings.database_url or EmbeddedPostgres(settings.postgres).url("oem_submissions")


def salesforce(settings: Settings, secrets: EnvironmentSecrets) -> SalesforceCrm:
    """The CRM client. Raises `SettingsError` that names what is missing."""
    if settings.crm_url is None:
        raise SettingsError("OEM_SUBMISSIONS_CRM_URL is not set; it should be your Salesforce instance, https://….")

    def credential(name: str) -> str:
        value = secrets.find(f"crm/{name}")
        if value is None:
            raise SettingsError(f"The CRM's {name} is not set: set {secrets.where(f'crm/{name}')}.")
        return value

    return SalesforceCrm(
        settings.crm_url, credential("client_id"), credential("client_secret"), ca_file=settings.crm_ca
    )


def definitions(settings: Settings | None = None, **overrides: Any) -> Definitions:
    """What Dagster loads. Nothing is opened until a run, a tick or a check needs it."""
    # Here and not above: Dagster takes three seconds to import, and commands that only ask the ledger don't need it.
    from dagster import ResourceDefinition

    from oem_submissions.defs.assets import worker_name
    from oem_submissions.defs.definitions import all_definitions

    settings = settings or read_settings()

    def services(context: Any) -> Iterator[Services]:
        with build(settings, **overrides) as built:
            if context.run is None:  # a tick, not a run
                yield built
                return
            with beating(built.ledger, context.run.run_id, worker_name(), settings.lease_seconds):
                yield built

    resource = ResourceDefinition(services)
    return all_definitions(overrides.get("adapters", ADAPTERS), resource, bundle_problems, settings)


def bundle_problems(bundle: bytes) -> Sequence[str]:
    """What is wrong with a stored bundle, a sentence each."""
    return [str(finding) for finding in verify_bundle(bundle).findings]
