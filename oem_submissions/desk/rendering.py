"""How texts become HTML: the templates, escaping, and what people see of times, sizes and hostile characters."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from oem_submissions.desk.story import DISPOSITION_WORDS, STATE_WORDS, tone_of, tone_of_standing
from oem_submissions.domain.alerting import RULES
from oem_submissions.domain.reasons import REASONS
from oem_submissions.domain.texts import shortened, visible

LONGEST = 4000
"""Characters of any one text that a page shows; what a portal wrote may have megabytes."""

_COMMAND = re.compile("`([^`]+)`")


def make_environment() -> Environment:
    """The templates, with escaping on, and hidden characters spelled out in every text."""
    environment = Environment(
        loader=PackageLoader("oem_submissions.desk", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals["raw"] = escape  # for what a form sends back: unchanged, but for HTML
    environment.filters |= {
        "day": lambda at: at.astimezone(UTC).date().isoformat(),
        "clock": lambda at: at.astimezone(UTC).time().isoformat("milliseconds"),
        "minute": lambda at: at.astimezone(UTC).strftime("%Y-%m-%d %H:%M"),
        "gap": _gap,
        "span": span,
        "since": lambda at: span((datetime.now(UTC) - at).total_seconds()),
        "brief": lambda text: shortened(str(text), 160),
        "label": lambda text: shortened(str(text), 60),
        "ticked": _ticked,
        "spoken": lambda text: str(text).replace("_", " ").capitalize(),
        "words": lambda state: STATE_WORDS[state][0],
        "sentence": lambda state: STATE_WORDS[state][1],
        "tone": tone_of,
        "next_step": lambda alert: RULES[alert.kind].next,
        "reason": lambda code: REASONS[code],
        "decision": lambda standing: DISPOSITION_WORDS[standing.disposition],
        "decision_tone": tone_of_standing,
    }
    return environment


def _shown(value: Any) -> Any:
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return visible(shortened(value, LONGEST))


def _ticked(text: str) -> Markup:
    """Commands in a sentence, which stand between backticks, as code."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(_shown(text)))))  # noqa: S704 - escaped before


def span(seconds: float) -> str:
    """A length of time to the precision that people care about."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _gap(seconds: float | None) -> str:
    """The time since the line before; empty when it is next to nothing."""
    if seconds is None or abs(seconds) < 0.05:
        return ""
    return f"+{span(seconds)}" if seconds >= 120 else f"+{seconds:.1f} s"
