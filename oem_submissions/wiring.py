"""The composition root: settings become parts, parts become services and Definitions.

Tests put other parts in by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from secrets import token_bytes
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

from botocore.exceptions import BotoCoreError
from cryptography import x509

from adapters.registry import ADAPTERS, adapter
from oem_submissions.alerts.channels import URLS, read_channels, terminal
from oem_submissions.alerts.delivery import Deliverer
from oem_submissions.alerts.heartbeat import URL as HEARTBEAT_URL
from oem_submissions.alerts.heartbeat import Heartbeat
from oem_submissions.alerts.message import Links
from oem_submissions.aws.secrets_manager import SecretsManager
from oem_submissions.aws.sqs import SqsQueue
from oem_submissions.crm.mapping import (
    AnyMapping,
    HubSpotMapping,
    RestMapping,
    SalesforceMapping,
    TableMapping,
    read_mapping,
)
from oem_submissions.crm.salesforce import SalesforceCrm
from oem_submissions.domain.evidence import Finding
from oem_submissions.evidence.bundle import SIGNATURE, build_bundle, complete_bundle
from oem_submissions.evidence.keyfiles import key_file
from oem_submissions.evidence.leaks import leaks
from oem_submissions.evidence.master_keys import KmsMasterKey, LocalMasterKey
from oem_submissions.evidence.personal import PersonalStore
from oem_submissions.evidence.signing import PUBLIC_KEYS, KmsSigner, LocalSigner, TrustedKeys, public_key
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.evidence.store_s3 import S3Place, S3Store
from oem_submissions.evidence.timestamps import TimestampAuthority, read_certificates, stamp_problem
from oem_submissions.evidence.vault import Vault
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.portal.packs import released_packs
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.site_proxy import site_proxy
from oem_submissions.ports import DataKeys, EvidenceUnavailable, Secrets, Signer, SigningUnavailable
from oem_submissions.services.alerting import silent_scheduler
from oem_submissions.services.audit import VerifyStamp
from oem_submissions.services.bound import Services
from oem_submissions.services.leasing import beating
from oem_submissions.services.queues import Queues
from oem_submissions.services.release import LedgerGate
from oem_submissions.services.seal import Notary
from oem_submissions.settings import KMS, EnvironmentSecrets, Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from dagster import Definitions

    from oem_submissions.crm.hubspot import HubSpotCrm
    from oem_submissions.crm.rest import RestCrm
    from oem_submissions.crm.table import TableCrm
    from oem_submissions.desk.door import Access

Part = TypeVar("Part")

_BOTO3 = Lock()
"""Threads that make clients of boto3's one session at once trip over each other; a session each costs 0.3 s."""


@contextmanager
def build(settings: Settings | None = None, **overrides: Any) -> Iterator[Services]:
    """The services on their real parts, closed at the end; `overrides` replaces any part by its name in `Services`."""
    settings = settings or read_settings()

    def part(name: str, make: Callable[[], Part]) -> Part:
        return overrides[name] if name in overrides else make()

    secrets = part("secrets", lambda: secret_source(settings))
    ledger = part("ledger", lambda: Ledger(ledger_engine(database_url(settings)), settings.attempts_budget))
    adapters = part("adapters", lambda: ADAPTERS)
    crm = part("crm", lambda: crm_client(settings, secrets))
    services = Services(
        settings=settings,
        ledger=ledger,
        crm=crm,
        evidence=part("evidence", lambda: evidence_store(settings, ledger)),
        secrets=secrets,
        adapters=adapters,
        portals=part("portals", lambda: lambda run_id: browser_runtime(settings, run_id, secrets)),
        bundle=part("bundle", lambda: build_bundle),
        notary=part("notary", lambda: Notary(signer(settings), settings.log_origin, complete_bundle)),
        scan=part("scan", lambda: leaks),
        trust=part("trust", lambda: lambda: trusted_keys(settings).trust),
        timestamps=part("timestamps", lambda: timestamps(settings)),
        gate=part("gate", lambda: LedgerGate(ledger, adapters, settings.probe_minutes)),
        queues=part("queues", lambda: message_queues(settings)),
        released_packs=part("released_packs", lambda: partial(released_packs, settings.selectors)),
        deliver_alerts=part("deliver_alerts", lambda: lambda: deliverer(settings, ledger, secrets, adapters).deliver()),
    )
    try:
        yield services
    finally:
        if "crm" not in overrides:
            crm.close()
        if "ledger" not in overrides:
            ledger.close()


def secret_source(settings: Settings) -> Secrets:
    """Where secrets come from: the environment, or AWS Secrets Manager."""
    return _secrets_manager(settings.secrets_prefix) if settings.secrets_prefix else EnvironmentSecrets()


@cache
def _secrets_manager(prefix: str) -> SecretsManager:
    """One per process: every tick builds the services, and asking for the same secret each time costs money."""
    return SecretsManager(lambda: aws_client("secretsmanager"), prefix)


def message_queues(settings: Settings) -> Queues:
    """The SQS queues that are set; they are reached when they are first needed."""
    urls = (settings.dead_letter_queue, settings.redrive_queue, settings.due_queue)
    return Queues(*(SqsQueue(_sqs_client, url) if url else None for url in urls))


@cache
def _sqs_client() -> Any:
    """One per process: a client costs a tick more than what it asks."""
    return aws_client("sqs")


def deliverer(
    settings: Settings, ledger: Ledger, secrets: Secrets, oems: Collection[str], on_terminal: bool = False
) -> Deliverer:
    """What tells people of alerts: by the channels of the secret `alerts/urls`, and by this process's log if wanted."""
    channels = read_channels(secrets.find(URLS) or "", oems)
    return Deliverer(
        ledger, [*channels, *([terminal()] if on_terminal else [])], Links(settings.desk_url, settings.dagster_url)
    )


def heartbeat(ledger: Ledger, secrets: Secrets) -> Heartbeat | None:
    """The dead man's switch; None when no address is set."""
    url = secrets.find(HEARTBEAT_URL)
    return Heartbeat(ledger, url, lambda: not silent_scheduler(ledger)) if url else None


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
        remembered=settings.home / "goldens",
    )


def readback_key(settings: Settings, secrets: Secrets) -> bytes:
    """The tenant's key for the HMAC of personal values: the secret `evidence/hmac_key`, else this machine's own."""
    given = secrets.find("evidence/hmac_key")
    if given is not None:
        return given.encode()
    return key_file(settings.keys / "readback-hmac.key", lambda: token_bytes(32))


def database_url(settings: Settings) -> str:
    """The ledger's database: the one that is set, or the embedded one, started if need be."""
    return settings.database_url or EmbeddedPostgres(settings.postgres).url("oem_submissions")


def signer(settings: Settings) -> Signer:
    """What signs evidence; it is reached when it is first needed."""
    if settings.signing_key_path is not None:
        return LocalSigner(settings.signing_key_path)
    return _kms_signer(settings.signing_key.removeprefix(KMS))


@cache
def _kms_signer(key_id: str) -> KmsSigner:
    """One per process, so that the public key is asked for once.

    While it signs a checkpoint nobody else can log a bundle: `aws_client` is not patient.
    """
    try:
        return KmsSigner(key_id, aws_client("kms"))
    except BotoCoreError as error:
        raise SettingsError(f"AWS KMS can't be used with this configuration: {error}") from error


def trusted_keys(settings: Settings, files: Sequence[Path] = ()) -> TrustedKeys:
    """Whose signatures count: the keys in the files, or else this installation's own, the one of now and those before.

    Raises `SettingsError` for a file that is no such key, `SigningUnavailable` when KMS does not say what its key is.
    """
    own = settings.signing_key_path
    asked = not files and (own is None or own.exists())  # asking for a key that is not there yet would make it
    pems = [signer(settings).public_key_pem] if asked else []
    for path in files or sorted(settings.public_keys.glob(PUBLIC_KEYS)):
        try:
            pems.append(public_key(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise SettingsError(f"{path} can't be used to verify: {getattr(error, 'strerror', 0) or error}") from error
    return TrustedKeys(pems)


def evidence_store(settings: Settings, keys: DataKeys) -> PersonalStore:
    """The evidence store, with personal data encrypted per claim; `keys` is the ledger."""
    return PersonalStore(bare_store(settings), keys, master_key(settings))


def bare_store(settings: Settings) -> DirectoryStore | S3Store:
    """Where the bytes lie, as they lie there."""
    if not settings.evidence.startswith("s3://"):
        return DirectoryStore(settings.evidence)
    bucket, _, prefix = settings.evidence.removeprefix("s3://").partition("/")
    place = S3Place(bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else "")
    return S3Store(aws_client("s3"), place, settings.retention_months if settings.object_lock else None)


def aws_client(service: str, **options: Any) -> Any:
    """A client of an AWS service: endpoint, region and credentials come from AWS's own variables and files.

    A hanging endpoint costs 23 s at the most, in which the account's lease is renewed and nothing is clicked. boto3
    and not dagster-aws's resource: that takes no time-outs, and costs every command Dagster's import. Raises
    `EvidenceUnavailable` when the variables make no sense.
    """
    import boto3  # here: it takes half a second, and most installations' commands do without
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    patience = Config(connect_timeout=3, read_timeout=8, retries={"total_max_attempts": 2, "mode": "standard"})
    try:
        with _BOTO3:
            return boto3.client(service, config=patience, **options)
    except (BotoCoreError, ValueError) as error:  # never its text: an address may hold a password
        variables = "AWS_DEFAULT_REGION, AWS_PROFILE and AWS_ENDPOINT_URL"
        raise EvidenceUnavailable(
            f"AWS's {service} can't be used ({type(error).__name__}): check {variables}."
        ) from error


def vault(settings: Settings) -> Vault:
    """What encrypts that which is kept for a while and is no evidence."""
    return Vault(master_key(settings))


def master_key(settings: Settings) -> LocalMasterKey | KmsMasterKey:
    """What data keys are encrypted under."""
    if settings.personal_key is None:
        return LocalMasterKey(settings.keys / "personal-data.key")
    return KmsMasterKey(lambda: aws_client("kms"), settings.personal_key.removeprefix("awskms:"))


def timestamps(settings: Settings) -> TimestampAuthority | None:
    """The time-stamp authority; None when none is set."""
    if settings.tsa_url is None:
        return None
    return TimestampAuthority(settings.tsa_url, partial(tsa_certificates, settings))


def stamp_verifier(settings: Settings) -> VerifyStamp | None:
    """What verifies time-stamps that were kept; None when nobody said which authority is trusted."""
    if settings.tsa_ca is None:
        return None
    certificates = tsa_certificates(settings)
    return lambda response, data: stamp_problem(response, data, certificates)


def tsa_certificates(settings: Settings) -> list[x509.Certificate]:
    """Where the authority's answers must lead. Raises `SettingsError`."""
    assert settings.tsa_ca is not None, "settings without it are refused"
    try:
        return read_certificates(settings.tsa_ca)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SettingsError(f"OEM_SUBMISSIONS_TSA_CA, {settings.tsa_ca}, holds no certificates: {why}") from error


def crm_mapping(settings: Settings) -> AnyMapping:
    """Which CRM, and what is what there. Raises `ConfigurationError` that names file, line and key."""
    return read_mapping(settings.crm_mapping) if settings.crm_mapping else SalesforceMapping()


def crm_client(settings: Settings, secrets: Secrets) -> SalesforceCrm | RestCrm | TableCrm | HubSpotCrm:
    """The client of the CRM that the mapping names; it is reached when it is first needed.

    Raises `SettingsError` or `ConfigurationError` that names what is missing or wrong.
    """
    mapping, secret = crm_mapping(settings), partial(_crm_secret, secrets)
    # The imports are here and not above: an installation has one CRM.
    match mapping:
        case SalesforceMapping():
            return salesforce(settings, secrets, mapping)
        case RestMapping():
            from oem_submissions.crm.rest import RestCrm

            return RestCrm(mapping, secret, settings.crm_ca)
        case TableMapping():
            from oem_submissions.crm.table import TableCrm

            return TableCrm(mapping, secret("crm/database_url"), settings.crm_ca)
        case HubSpotMapping():
            from oem_submissions.crm.hubspot import HubSpotCrm

            return HubSpotCrm(mapping, secret("crm/token"), settings.crm_ca)
        case _:
            assert_never(mapping)


def salesforce(settings: Settings, secrets: Secrets, mapping: SalesforceMapping | None = None) -> SalesforceCrm:
    """A client of Salesforce; without a mapping, with our own object. Raises as `crm_client`."""
    mapping, secret = mapping or SalesforceMapping(), partial(_crm_secret, secrets)
    url = mapping.url or settings.crm_url
    if url is None:
        raise SettingsError("OEM_SUBMISSIONS_CRM_URL is not set; it should be your Salesforce instance, https://….")
    proof = "crm/private_key" if mapping.auth.type == "jwt_bearer" else "crm/client_secret"
    return SalesforceCrm(url, secret("crm/client_id"), secret(proof), ca_file=settings.crm_ca, mapping=mapping)


def _crm_secret(secrets: Secrets, name: str) -> str:
    value = secrets.find(name)
    if value is None:
        raise SettingsError(f"The CRM's {name.removeprefix('crm/')} is not set: set {secrets.where(name)}.")
    return value


def crm_page(settings: Settings) -> str | None:
    """Where people open a record, with `{id}` for its id; None when nobody said."""
    mapping = crm_mapping(settings)
    if mapping.page is None and isinstance(mapping, SalesforceMapping) and (url := mapping.url or settings.crm_url):
        return f"{url}/lightning/r/{mapping.object}/{{id}}/view"
    return mapping.page


def desk_access(settings: Settings, host: str, person: str, ledger: Ledger) -> Access:
    """Who may use the desk. Raises `ConfigurationError` or `SigningUnavailable` when it must not start like that."""
    # Here and not above: only the desk needs it.
    from oem_submissions.desk.serving import SESSION_KEY, access_for

    secrets = secret_source(settings)
    secret = secrets.find(SESSION_KEY)
    if secret is not None and len(secret) < 32:
        raise SettingsError(f"{secrets.where(SESSION_KEY)} should be at least 32 characters, made by chance.")
    key = secret.encode() if secret else key_file(settings.home / "keys" / "desk-session.key", partial(token_bytes, 32))
    return access_for(settings, secrets, host, key, person, ledger)


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
    problems = partial(bundle_problems, settings)
    return all_definitions(overrides.get("adapters", ADAPTERS), resource, problems, settings)


def bundle_problems(settings: Settings, bundle: bytes, digest: str) -> Sequence[Finding]:
    """What is wrong with a stored bundle, which should have this digest, by this installation's keys."""
    try:
        keys = trusted_keys(settings)
    except SigningUnavailable as error:
        return [Finding(SIGNATURE, f"can't be checked: {error}")]
    return verify_bundle(bundle, digest, keys=keys).findings
