"""One frozen `Settings`, read from the environment when called, not at import. `.env.example` lists every variable."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

PREFIX = "OEM_SUBMISSIONS_"
KMS = "awskms:"
PROJECT = Path(__file__).resolve().parent.parent


class SettingsError(Exception):
    """A variable is missing or malformed: one sentence that names it and says what it should be."""


@dataclass(frozen=True)
class OidcSettings:
    """An OpenID provider that people sign in at."""

    issuer: str
    client_id: str
    scopes: str
    role_claim: str
    name_claim: str


@dataclass(frozen=True)
class ProxySettings:
    """A reverse proxy that signs who asks, in a header."""

    audience: str
    """What its tokens must name as `aud`."""
    issuer: str | None
    header: str
    keys: Path | None
    """A JWKS, or a public key as PEM; None: the secret `desk/proxy_key`."""
    max_age_seconds: float
    role_claim: str
    name_claim: str


@dataclass(frozen=True)
class DeskSettings:
    """Where the desk listens, and who is let in."""

    host: str = "127.0.0.1"
    operators: frozenset[str] = frozenset()
    """Values of the role claim; likewise `viewers`."""
    viewers: frozenset[str] = frozenset()
    oidc: OidcSettings | None = None
    proxy: ProxySettings | None = None


@dataclass(frozen=True)
class Settings:
    """Where everything is, and how patient we are. Secrets are not in here: they come through the `Secrets` port."""

    home: Path
    """Data of this machine: embedded database, evidence, logs."""
    selectors: Path
    database_url: str | None
    """`postgresql://…` of the ledger; None starts the embedded PostgreSQL."""
    desk_url: str
    """Where the CRM's evidence links lead."""
    dagster_url: str
    crm_url: str | None
    """The Salesforce instance, https; other CRMs' addresses stand in the mapping."""
    crm_ca: Path | None
    """A CA file to trust beside the usual ones, for a CRM with a private certificate."""
    crm_mapping: Path | None = None
    """Which CRM, objects, fields and words, a YAML file; None: Salesforce with our own object."""
    portal_urls: Mapping[str, str] = field(default_factory=dict)
    """By OEM."""
    signing_key: str = ""
    """What evidence is signed with: a path, or `awskms:` and a key's id, ARN or alias; empty: a key below `home`."""
    log_origin: str = "localhost/evidence-log"
    """The evidence log's name, for ever: a new setting changes a log that has begun no more."""
    tsa_url: str | None = None
    """The RFC 3161 time-stamp authority, http or https; None: checkpoints are not stamped."""
    tsa_ca: Path | None = None
    """The certificates, PEM, that its answers must lead to."""
    lease_seconds: float = 60.0
    click_seconds: float = 20.0
    """From arming to the submit request's leaving, at the longest: arming checks that the lease outlives it."""
    attempts_budget: int = 3
    retry_seconds: float = 20.0
    """First delay of the exponential backoff."""
    look_hours: float = 24.0
    """How long a held claim is looked up by the system itself before it is given to a person."""
    breaker_failures: int = 3
    """Faults alike in a row, at one OEM, after which nothing more is filed there until a probe succeeds."""
    poll_hours: float = 6.0
    """How often the portal is asked what the OEM decided of an account's filed claims."""
    probe_minutes: float = 60.0
    """For so long a probe that found a portal as its pack says is believed: after that a batch begins with one."""
    person_minutes: float = 0.0
    """How long a log-in that needs a person waits for one at the desk; 0: it fails at once."""
    attachment_bytes: int = 5 * 1024 * 1024
    start_date: date = date(2026, 1, 1)
    """The first day that has partitions."""
    intake_seconds: int = 60
    """How often the CRM is asked for due claims."""
    evidence_place: str | None = None
    """Of the evidence store: a folder, or `s3://bucket/prefix`; None: below `home`."""
    retention_months: int = 24
    """For so long after it came to rest, a claim's evidence stays whatever anybody wants."""
    run_retention_days: int = 180
    """For so long Dagster's finished runs and the lines of the daily logs stay."""
    object_lock: bool = True
    """Whether a bucket must enforce the retention itself."""
    personal_key: str | None = None
    """The master key of personal data, `awskms:…`; None: a file below `home`."""
    desk: DeskSettings = DeskSettings()
    secrets_prefix: str | None = None
    """Of their names in AWS Secrets Manager; None: they are environment variables."""
    dead_letter_queue: str | None = None
    """The URL of the SQS queue that every dead letter is forwarded to."""
    redrive_queue: str | None = None
    """Whose messages, dead letters of ours, are redriven."""
    due_queue: str | None = None
    """Whose messages name CRM records that are due."""

    @property
    def evidence(self) -> str:
        """The evidence store's folder, or `s3://bucket/prefix`."""
        return self.evidence_place or str(self.home / "evidence")

    @property
    def keys(self) -> Path:
        """The folder of this machine's keys."""
        return self.home / "keys"

    @property
    def public_keys(self) -> Path:
        """The folder of the public keys that this installation trusts (`*.pub.pem`), beside its own."""
        return self.signing_key_path.parent if self.signing_key_path else self.keys

    @property
    def signing_key_path(self) -> Path | None:
        """The signing key's file; None when it is one of AWS KMS."""
        if self.signing_key.startswith(KMS):
            return None
        return Path(self.signing_key) if self.signing_key else self.keys / "evidence-signing.pem"

    @property
    def postgres(self) -> Path:
        """The embedded database's folder."""
        return self.home / "postgres"


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """`Settings` from the environment. Raises `SettingsError` that names the variable and what it should be."""
    env = os.environ if environment is None else environment
    portals = {
        name.removeprefix(f"{PREFIX}PORTAL_URL_").lower(): url.rstrip("/")
        for name, url in env.items()
        if name.startswith(f"{PREFIX}PORTAL_URL_")
    }
    home = Path(env.get(f"{PREFIX}HOME", PROJECT / ".local")).resolve()
    database_url = env.get(f"{PREFIX}DATABASE_URL") or None
    if database_url is not None and not database_url.startswith(("postgresql://", "postgres://")):
        raise SettingsError(f"{PREFIX}DATABASE_URL should begin with postgresql://, and names no other engine.")
    ca, mapping = env.get(f"{PREFIX}CRM_CA"), env.get(f"{PREFIX}CRM_MAPPING")
    lease, click = _number(env, "LEASE_SECONDS", 60.0, least=2.0), _number(env, "CLICK_SECONDS", 20.0, least=16.0)
    # A lease is renewed every quarter of its time, and must outlive a click even just before that.
    if click >= 0.75 * lease:
        raise SettingsError(
            f"{PREFIX}CLICK_SECONDS is {click:g}; "
            f"it should be less than three quarters of {PREFIX}LEASE_SECONDS, {lease:g}."
        )
    tsa_url, tsa_ca = env.get(f"{PREFIX}TSA_URL") or None, env.get(f"{PREFIX}TSA_CA")
    if tsa_url and not tsa_ca:
        raise SettingsError(
            f"{PREFIX}TSA_CA is not set; it should be a file with the certificates, PEM, that the answers of"
            f" {PREFIX}TSA_URL must lead to."
        )
    return Settings(
        home=home,
        selectors=Path(env.get(f"{PREFIX}SELECTORS", PROJECT / "selectors")).resolve(),
        database_url=database_url.replace("postgres://", "postgresql://", 1) if database_url else None,
        desk_url=env.get(f"{PREFIX}DESK_URL", "http://127.0.0.1:8787").rstrip("/"),
        dagster_url=env.get(f"{PREFIX}DAGSTER_URL", "http://127.0.0.1:3000").rstrip("/"),
        crm_url=env.get(f"{PREFIX}CRM_URL") or None,
        crm_ca=Path(ca) if ca else None,
        crm_mapping=Path(mapping) if mapping else None,
        portal_urls=portals,
        signing_key=env.get(f"{PREFIX}SIGNING_KEY", ""),
        log_origin=_origin(env),
        tsa_url=tsa_url,
        tsa_ca=Path(tsa_ca) if tsa_ca else None,
        lease_seconds=lease,
        click_seconds=click,
        attempts_budget=int(_number(env, "ATTEMPTS_BUDGET", 3, least=1)),
        retry_seconds=_number(env, "RETRY_SECONDS", 20.0, least=0.0),
        look_hours=_number(env, "LOOK_HOURS", 24.0, least=0.0),
        breaker_failures=int(_number(env, "BREAKER_FAILURES", 3, least=1)),
        poll_hours=_number(env, "POLL_HOURS", 6.0, least=0.5),
        probe_minutes=_number(env, "PROBE_MINUTES", 60.0, least=0.0),
        person_minutes=_number(env, "PERSON_MINUTES", 0.0, least=0.0),
        attachment_bytes=int(_number(env, "ATTACHMENT_BYTES", 5 * 1024 * 1024, least=1)),
        start_date=_day(env, "START_DATE", date(2026, 1, 1)),
        intake_seconds=int(_number(env, "INTAKE_SECONDS", 60, least=1)),
        evidence_place=_evidence_place(env),
        retention_months=int(_number(env, "RETENTION_MONTHS", 24, least=1)),
        run_retention_days=int(_number(env, "RUN_RETENTION_DAYS", 180, least=30)),
        object_lock=_object_lock(env),
        personal_key=_personal_key(env),
        desk=_desk(env),
        secrets_prefix=_secrets_prefix(env),
        dead_letter_queue=_queue(env, "DEAD_LETTER_QUEUE"),
        redrive_queue=_queue(env, "REDRIVE_QUEUE", "DEAD_LETTER_QUEUE"),
        due_queue=_queue(env, "DUE_QUEUE", "DEAD_LETTER_QUEUE", "REDRIVE_QUEUE"),
    )


def warm_runs(environment: Mapping[str, str] | None = None) -> bool:
    """Whether Dagster's runs start from a warm process. Not in `Settings`: nobody else than the daemon asks."""
    word = (os.environ if environment is None else environment).get(f"{PREFIX}WARM_RUNS") or "on"
    if word not in ("on", "off"):
        raise SettingsError(f"{PREFIX}WARM_RUNS is '{word}'; it should be on or off.")
    return word == "on"


def _origin(env: Mapping[str, str]) -> str:
    """As C2SP wants it: a URL without its scheme; the desk's host when it is not set."""
    host = urlsplit(env.get(f"{PREFIX}DESK_URL", "")).hostname or "localhost"
    origin = env.get(f"{PREFIX}LOG_ORIGIN") or f"{host}/evidence-log"
    if not re.fullmatch(r"[^\s+]{1,200}", origin) or not origin.isprintable():
        raise SettingsError(
            f"{PREFIX}LOG_ORIGIN is '{origin}'; it should be like desk.example.com/evidence-log, without space or plus."
        )
    return origin


def _evidence_place(env: Mapping[str, str]) -> str | None:
    place = env.get(f"{PREFIX}EVIDENCE")
    if not place:
        return None
    if "://" not in place:
        return str(Path(place).resolve())
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w/=+@:.,-]*)?", place, re.ASCII):
        raise SettingsError(f"{PREFIX}EVIDENCE should be a folder, or s3://bucket/prefix, and nothing else.")
    return place


def _object_lock(env: Mapping[str, str]) -> bool:
    word = env.get(f"{PREFIX}OBJECT_LOCK") or "on"
    if word not in ("on", "off"):
        raise SettingsError(f"{PREFIX}OBJECT_LOCK is '{word}'; it should be on or off.")
    return word == "on"


def _personal_key(env: Mapping[str, str]) -> str | None:
    name = env.get(f"{PREFIX}PERSONAL_KEY")
    if name and not re.fullmatch(r"awskms:\S+", name):
        raise SettingsError(f"{PREFIX}PERSONAL_KEY should be awskms: and a KMS key's id, alias or ARN.")
    return name or None


def _secrets_prefix(env: Mapping[str, str]) -> str | None:
    source = env.get(f"{PREFIX}SECRETS")
    if not source:
        return None
    if not re.fullmatch(r"aws:[\w+=.@-]+(/[\w+=.@-]+)*", source, re.ASCII):
        raise SettingsError(f"{PREFIX}SECRETS should be aws: and what the secrets' names begin with; or not be set.")
    return source.removeprefix("aws:")


def _queue(env: Mapping[str, str], name: str, *others: str) -> str | None:
    """One queue for two of them would redrive what it is told of, for ever."""
    url = env.get(PREFIX + name)
    if url and not re.fullmatch(r"https?://[^\s/@]+/\d{12}/[\w-]{1,75}(\.fifo)?", url, re.ASCII):
        raise SettingsError(f"{PREFIX}{name} should be an SQS queue's URL: https://…/123456789012/name.")
    for other in others:
        if url and url == env.get(PREFIX + other):
            raise SettingsError(f"{PREFIX}{name} and {PREFIX}{other} name the same queue; they should be two.")
    return url or None


def _desk(env: Mapping[str, str]) -> DeskSettings:
    desk = DeskSettings(
        host=env.get(f"{PREFIX}DESK_HOST") or "127.0.0.1",
        operators=_names(env.get(f"{PREFIX}DESK_OPERATORS", "")),
        viewers=_names(env.get(f"{PREFIX}DESK_VIEWERS", "")),
        oidc=_oidc(env),
        proxy=_proxy(env),
    )
    if desk.oidc and desk.proxy:
        raise SettingsError(
            f"{PREFIX}OIDC_ISSUER and {PREFIX}PROXY_AUDIENCE are both set; people come to the desk in one way: unset "
            "one of them."
        )
    if (desk.oidc or desk.proxy) and not desk.operators | desk.viewers:
        raise SettingsError(
            f"{PREFIX}DESK_OPERATORS and {PREFIX}DESK_VIEWERS are not set, so that nobody could sign in at the desk; "
            "they should be the values of the role claim, with commas."
        )
    if both := desk.operators & desk.viewers:
        raise SettingsError(
            f"{PREFIX}DESK_OPERATORS and {PREFIX}DESK_VIEWERS both name '{min(both)}'; a value should give one role."
        )
    return desk


def _oidc(env: Mapping[str, str]) -> OidcSettings | None:
    issuer = env.get(f"{PREFIX}OIDC_ISSUER")
    if not issuer:
        return None
    client_id = env.get(f"{PREFIX}OIDC_CLIENT_ID")
    if not client_id:
        raise SettingsError(f"{PREFIX}OIDC_CLIENT_ID is not set; it should be the desk's name at {issuer}.")
    if not is_safe_url(issuer):
        raise SettingsError(f"{PREFIX}OIDC_ISSUER is '{issuer}'; it should begin with https://.")
    return OidcSettings(
        issuer,
        client_id,
        env.get(f"{PREFIX}OIDC_SCOPES") or "openid profile email",
        env.get(f"{PREFIX}OIDC_ROLE_CLAIM") or "groups",
        env.get(f"{PREFIX}OIDC_NAME_CLAIM") or "preferred_username",
    )


def _proxy(env: Mapping[str, str]) -> ProxySettings | None:
    audience = env.get(f"{PREFIX}PROXY_AUDIENCE")
    if not audience:
        return None
    keys = env.get(f"{PREFIX}PROXY_KEYS")
    return ProxySettings(
        audience,
        env.get(f"{PREFIX}PROXY_ISSUER") or None,
        env.get(f"{PREFIX}PROXY_HEADER") or "X-Forwarded-User-Jwt",
        Path(keys) if keys else None,
        _number(env, "PROXY_MAX_AGE_SECONDS", 600.0, least=1.0),
        env.get(f"{PREFIX}PROXY_ROLE_CLAIM") or "groups",
        env.get(f"{PREFIX}PROXY_NAME_CLAIM") or "email",
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(name for part in text.split(",") if (name := part.strip()))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host: an address, or the name localhost."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_safe_url(url: str) -> bool:
    """Whether nobody on the way can read what goes there: https, or http on this machine."""
    if not re.fullmatch(r"[!-~]+", url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def _number(env: Mapping[str, str], name: str, default: float, least: float) -> float:
    text = env.get(PREFIX + name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not value >= least:
        raise SettingsError(f"{PREFIX}{name} is '{text}'; it should be a number, {least:g} or more.")
    return value


def _day(env: Mapping[str, str], name: str, default: date) -> date:
    text = env.get(PREFIX + name)
    try:
        return date.fromisoformat(text) if text else default
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{name} is '{text}'; it should be a day like 2026-01-31.") from error


class EnvironmentSecrets:
    """The `Secrets` port on environment variables.

    `portal/aurora/10234/password` is OEM_SUBMISSIONS_SECRET_PORTAL_AURORA_10234_PASSWORD.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment

    def find(self, name: str) -> str | None:
        """The secret's value, or None when it is not set."""
        return self._environment.get(self.where(name)) or None

    def inspect(self) -> str:
        """What it is."""
        return f"environment variables {PREFIX}SECRET_…"

    @staticmethod
    def where(name: str) -> str:
        """The environment variable that holds the secret."""
        return f"{PREFIX}SECRET_" + "".join(c if c.isalnum() else "_" for c in name).upper()
