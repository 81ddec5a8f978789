"""A transition of an alert as a person reads it: plain text, in which what a portal or the CRM wrote stays text.

Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from oem_submissions.domain.alerting import RULES, Transition
from oem_submissions.domain.records import AlertChange, AlertKind
from oem_submissions.domain.texts import shortened, visible

_TEXT, _TITLE, _CLAIMS = 600, 120, 3
_HARMLESS = str.maketrans({"<": "‹", ">": "›", "[": "(", "]": ")", "`": "'", "|": "¦"})
"""What makes a tag, a mention or a link in the mark-up of some chat, as characters that do not."""
_MENTION = re.compile(r"@(?=\w)")
_LINK = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*):/+")


@dataclass(frozen=True)
class Message:
    """What a channel is given."""

    title: str
    body: str
    critical: bool
    over: bool
    """Whether the cause is gone."""


@dataclass(frozen=True)
class Links:
    """Where the pages are that a message leads to."""

    desk: str
    dagster: str


def message_of(told: Transition, links: Links) -> Message:
    """The message of a transition."""
    alert, rule, over = told.alert, RULES[told.alert.kind], told.change is AlertChange.RESOLVED
    where = " · ".join(harmless(part, 40) for part in (alert.oem, alert.dealer) if part)
    what = alert.kind.replace("_", " ").capitalize() + (f" · {where}" if where else "")
    word = "RESOLVED" if over else told.severity.upper()
    again = {AlertChange.ESCALATED: " (escalated)", AlertChange.REPEATED: f" ({told.count:,} times by now)"}
    lines = [harmless(told.text, _TEXT)]
    since = f"{alert.raised_at:%Y-%m-%d %H:%M} UTC"
    counted = f"{told.count:,} times since {since}" if told.count > 1 else f"Since {since}"
    lines.append(f"{counted}; over at {told.at:%Y-%m-%d %H:%M} UTC." if over else f"{counted}.")
    if not over:
        lines.append(f"What to do: {rule.next}")
    if alert.kind is AlertKind.PERSON_NEEDED and not over:
        lines.append(f"Log-in: {links.desk}/hand-overs")
    lines.append(f"Alert: {links.desk}/alerts#alert-{alert.alert_id}")
    lines += [f"Claim: {links.desk}/claims/{claim_id}" for claim_id in alert.claim_ids[:_CLAIMS] if _is_name(claim_id)]
    if alert.run_id and _is_name(alert.run_id):
        lines.append(f"Run: {links.dagster}/runs/{alert.run_id}")
    title = shortened(f"[{word}] {what}{again.get(told.change, '')}", _TITLE)
    return Message(title, "\n".join(lines), critical=told.severity == "critical", over=over)


def bare_message_of(told: Transition, links: Links) -> Message:
    """The same with nothing that anybody wrote: for a channel that takes messages, and not this one."""
    whole = message_of(told, links)
    title = f"[{whole.title.partition(']')[0].lstrip('[')}] {told.alert.kind.replace('_', ' ').capitalize()}"
    body = f"This channel did not take the whole message.\nAlert: {links.desk}/alerts#alert-{told.alert.alert_id}"
    return replace(whole, title=title, body=body)


def harmless(text: str, characters: int) -> str:
    """One line of text that no chat takes for a link, a mention, a tag or a control."""
    line = shortened(visible(" ".join(text.split())), characters).translate(_HARMLESS)
    return _LINK.sub(r"\1 :// ", _MENTION.sub("@ ", line))


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[\w-]{1,100}", text, re.ASCII) is not None
