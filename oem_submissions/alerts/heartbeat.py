"""The dead man's switch: an address that is pinged while all is well.

When the pings stop, somebody else's system rings.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import requests

from oem_submissions.domain.records import AlertKind, NewAlert
from oem_submissions.ports import Ledger

URL = "alerts/heartbeat_url"
"""The secret with the address."""
KEY = "heartbeat"
PATIENCE = timedelta(minutes=5)
"""A channel that fails for longer means that the alerts are not told."""
_TIMEOUT = (3.0, 5.0)
_LOG = logging.getLogger("urllib3.connectionpool")


@dataclass(frozen=True)
class Heartbeat:
    """Pings the address, or says why not."""

    ledger: Ledger
    url: str
    is_scheduling: Callable[[], bool]
    """Whether Dagster's daemon lives, as far as that is known."""

    def why_not(self, now: datetime | None = None) -> str:
        """What is not well in the chain from the ledger to people. Raises `LedgerUnavailable`."""
        at = now or self.ledger.now()
        if not self.is_scheduling():
            return "Dagster's daemon is silent"
        for state in self.ledger.alert_channels():
            in_use = at - state.seen_at < PATIENCE
            if in_use and state.failing_since is not None and at - state.failing_since > PATIENCE:
                return f"the alert channel {state.channel} fails since {state.failing_since:%Y-%m-%d %H:%M} UTC"
        return ""

    def beat(self, now: datetime | None = None) -> str:
        """Ping, if all is well; why not, or what is wrong with the address. Raises `LedgerUnavailable`."""
        if why := self.why_not(now):
            return why
        _LOG.setLevel(logging.WARNING)  # below that it names paths
        try:
            with requests.get(self.url, timeout=_TIMEOUT, stream=True) as answer:  # its body is nobody's business
                problem = "" if answer.ok else f"answered {answer.status_code}"
        except requests.RequestException as error:  # its text names the whole address
            problem = f"does not answer ({type(error).__name__})"
        if not problem:
            self.ledger.resolve_alert(KEY, now)
            return ""
        text = f"The dead man's switch at {_host(self.url)} {problem}: it will ring although all is well."
        self.ledger.raise_alert(NewAlert(KEY, AlertKind.HEARTBEAT_FAILED, text), now)
        return text


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" if parts.hostname else "an address that is no URL"
