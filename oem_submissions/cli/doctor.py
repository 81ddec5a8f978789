"""`oem-submissions doctor`: what is missing on this machine or wrong in the configuration, and what mends it."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from adapters.registry import oems
from oem_submissions import wiring
from oem_submissions.domain.checkpoints import fingerprint
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.ledger.store import Ledger, ledger_engine
from oem_submissions.portal.browser import find_browser
from oem_submissions.portal.packs import load_pack
from oem_submissions.ports import (
    CrmUnavailable,
    EvidenceUnavailable,
    LedgerUnavailable,
    QueueUnavailable,
    Secrets,
    SecretsUnavailable,
    SigningUnavailable,
)
from oem_submissions.settings import Settings, SettingsError

_TROUBLES = (
    ConfigurationError,
    SettingsError,
    LedgerUnavailable,
    CrmUnavailable,
    EvidenceUnavailable,
    QueueUnavailable,
    SecretsUnavailable,
    SigningUnavailable,
    OSError,
)


_OPTIONAL_SECRETS = ("evidence/hmac_key", "desk/session_key", "alerts/urls")
"""Without them a key of this machine is used, or nobody is told. Whose lack is an error its own part says."""


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at."""

    part: str
    ok: bool
    says: str
    """What is there, or what is wrong and what mends it."""


def diagnose(settings: Settings, secrets: Secrets) -> list[Diagnosis]:
    """Look at every part. Nothing is changed, but for the embedded database, which is started."""
    diagnoses = [
        _look("Python", _python),
        _look("browser", _browser),
        _look("selector packs", lambda: _packs(settings)),
        _look("ledger", lambda: _ledger(settings)),
        _look("evidence store", lambda: wiring.bare_store(settings).inspect()),
        _look("signing key", lambda: _signing(settings)),
        _look("key of personal data", lambda: wiring.master_key(settings).inspect()),
        _look("secrets", lambda: _secrets(secrets)),
        _look("CRM", lambda: _crm(settings, secrets)),
    ]
    diagnoses += _queues(settings)
    diagnoses += [_look(f"portal {oem}", partial(_portal, settings, oem)) for oem in oems()]
    return diagnoses


def _look(part: str, check: Callable[[], str]) -> Diagnosis:
    try:
        return Diagnosis(part, True, check())
    except _TROUBLES as error:
        return Diagnosis(part, False, str(error))


def _python() -> str:
    return sys.version.split()[0]


def _browser() -> str:
    choice = find_browser()
    return f"{choice.kind} at {choice.path}: {choice.why}"


def _packs(settings: Settings) -> str:
    packs = [load_pack(settings.selectors, oem) for oem in oems()]
    by_mail = [pack.oem for pack in packs if any(form.confirmation.email for form in pack.data.forms.values())]
    needs = f"; every account of {', '.join(by_mail)} needs the secret `mailbox`" if by_mail else ""
    return ", ".join(f"{pack.oem} {pack.version}" for pack in packs) + needs


def _ledger(settings: Settings) -> str:
    ledger = Ledger(ledger_engine(wiring.database_url(settings)))
    try:
        missing = ledger.missing_migrations()
    finally:
        ledger.close()
    if missing:
        raise ConfigurationError("The ledger's schema is not up to date: run `oem-submissions migrate`.")
    return "embedded PostgreSQL" if settings.database_url is None else "PostgreSQL answers, schema up to date"


def _signing(settings: Settings) -> str:
    path = settings.signing_key_path
    if path is not None and not path.exists():
        return f"{path}, made when the first bundle is sealed"
    return f"{path or settings.signing_key}, fingerprint {fingerprint(wiring.signer(settings).public_key_pem)}"


def _secrets(secrets: Secrets) -> str:
    says, missing = secrets.inspect(), [name for name in _OPTIONAL_SECRETS if secrets.find(name) is None]
    return f"{says}; not set, and not needed everywhere: {', '.join(missing)}" if missing else says


def _queues(settings: Settings) -> list[Diagnosis]:
    """Those that are set."""
    queues = wiring.message_queues(settings)
    named = {
        "dead-letter queue": queues.dead_letters,
        "redrive queue": queues.redrive,
        "queue of due claims": queues.due,
    }
    incoming = (queues.redrive, queues.due)
    return [
        _look(name, partial(queue.inspect, queue in incoming)) for name, queue in named.items() if queue is not None
    ]


def _crm(settings: Settings, secrets: Secrets) -> str:
    crm = wiring.crm_client(settings, secrets)
    missing, connector = crm.missing_fields(), wiring.crm_mapping(settings).connector
    if missing:
        these = "this field does" if len(missing) == 1 else "these fields do"
        mends = f"correct {settings.crm_mapping}" if settings.crm_mapping else "write a mapping (docs/crm.md)"
        raise ConfigurationError(
            f"{', '.join(missing)}: {these} not exist in your CRM: add them, let our user see them, or {mends}."
        )
    next(iter(crm.due_records()), None)
    crm.close()
    if missing is None:
        return f"{connector} answers; whether it has every field of the mapping shows when it lists its first record"
    return f"{connector} answers, and has every field of the mapping"


def _portal(settings: Settings, oem: str) -> str:
    url = settings.portal_urls.get(oem)
    if url is None:
        raise SettingsError(f"No address: set OEM_SUBMISSIONS_PORTAL_URL_{oem.upper()}.")
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the operator's own setting
            return f"{url} answers {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}"
    except urllib.error.URLError as error:
        raise ConfigurationError(f"{url} does not answer: {error.reason}.") from error
