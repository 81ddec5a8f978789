"""The channels of an installation, by Apprise. One entry each, in a secret: a URL, with what it is for before it.

`slack://…` is told everything, `critical,aurora=pagerduty://…` critical alerts of one OEM only.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType

from oem_submissions.alerts.message import Message
from oem_submissions.domain.alerting import Transition
from oem_submissions.domain.records import AlertKind, AlertSeverity

URLS = "alerts/urls"
"""The secret with the entries, between white space."""
SEND_SECONDS = 10.0
_HOSTED = re.compile(r"((?:json|xml|form|mailto|apprise|gotify|mmost)s?)://(?:[^/?#]*@)?([\w.-]+(?::\d+)?)(?=[/?#]|$)")
"""Schemes in which a host is a host. In the others, such as slack://, it is part of a token."""
_ENTRY = re.compile(r"(?:([\w,-]+)=)?([a-z][a-z0-9]*)(://\S*)", re.ASCII | re.IGNORECASE)
_STATUS = re.compile(r"error=(\d{3})\b")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Channel:
    """Where messages go, and which."""

    name: str
    """Scheme and host."""
    send: Callable[[Message], str]
    """Says what is wrong, or nothing."""
    severities: frozenset[str] = frozenset()
    """All, if empty; so it is with kinds and OEMs."""
    kinds: frozenset[str] = frozenset()
    oems: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Of the alert that it does not work."""
        return f"channel {self.name}"

    def wants(self, told: Transition) -> bool:
        """Whether it is for this channel. Nobody is told by a channel that it is broken itself."""
        alert = told.alert
        return (
            alert.key != self.key
            and (not self.severities or told.severity in self.severities)
            and (not self.kinds or alert.kind in self.kinds)
            and (not self.oems or alert.oem in self.oems)
        )


def terminal() -> Channel:
    """What needs no configuration: the log of the process."""

    def send(message: Message) -> str:
        level = logging.INFO if message.over else logging.ERROR if message.critical else logging.WARNING
        _log.log(level, "%s\n%s", message.title, message.body)
        return ""

    return Channel("terminal", send)


def read_channels(secret: str, oems: Collection[str]) -> list[Channel]:
    """The channels of the secret. An entry that makes no sense is a channel that says so and takes nothing."""
    found = [_channel(number, entry, oems) for number, entry in enumerate(secret.split(), 1)]
    seen: Counter[str] = Counter()
    channels = []
    for channel in found:
        seen[channel.name] += 1
        nth = seen[channel.name]
        channels.append(channel if nth == 1 else replace(channel, name=f"{channel.name} ({nth})"))
    return channels


def _channel(number: int, entry: str, oems: Collection[str]) -> Channel:
    parts = _ENTRY.fullmatch(entry)
    if parts is None:
        return _broken(number, "it should be an Apprise URL such as mailtos://…, with words and = before it or without")
    words = frozenset(word for word in (parts[1] or "").lower().split(",") if word)
    url = parts[2].lower() + parts[3]
    severities, kinds, known = words & set(AlertSeverity), words & set(AlertKind), words & set(oems)
    if strange := words - severities - kinds - known:
        return _broken(number, f"'{min(strange)}' is no severity, no kind of alert and no OEM")
    if _plugin(url) is None:
        return _broken(number, f"Apprise can't read this {parts[2].lower()}:// URL")
    hosted = _HOSTED.match(url)
    name = f"{hosted[1]}://{hosted[2]}" if hosted else f"{parts[2].lower()}://"
    return Channel(name, partial(_send, url), severities, kinds, known)


def _broken(number: int, why: str) -> Channel:
    return Channel(f"entry {number}", lambda _: f"{why} (entry {number} of the secret {URLS})")


def _plugin(url: str) -> object | None:
    apprise = _apprise()
    plugin: object | None = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    return plugin


def _send(url: str, message: Message) -> str:
    """By Apprise, as text, within `SEND_SECONDS` whatever the other side does."""
    apprise = _apprise()
    channel = apprise.Apprise(url)
    kind = apprise.NotifyType.FAILURE if message.critical else apprise.NotifyType.WARNING
    result = channel.notify(
        title=message.title,
        body=message.body,
        notify_type=apprise.NotifyType.SUCCESS if message.over else kind,
        body_format=apprise.NotifyFormat.TEXT,
        interpret_escapes=False,
        timeout=SEND_SECONDS,
    )
    if result:
        return ""
    if result.status is apprise.AppriseResultStatus.TIMEOUT:
        return f"it did not take a message within {SEND_SECONDS:g} seconds"
    # Of what Apprise says only a number: the rest may name more of the URL than its host.
    status = next((found[1] for entry in result.logs() if (found := _STATUS.search(entry.message))), None)
    return f"it answered {status}" if status else "it can't be reached, or refused the message"


def _apprise() -> ModuleType:
    """Imported when it is needed: it reads a hundred services. No log line that may hold a URL is ever made."""
    import apprise

    logging.getLogger("apprise").propagate = False
    for name in ("apprise", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return apprise
