"""What the desk's pages show, ready for the templates: pure gathering and formatting, no HTTP."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from oem_submissions.desk.story import DISPOSITION_WORDS, STATE_WORDS, Line, tell, tone_of, tone_of_standing
from oem_submissions.domain.dispositions import Standing
from oem_submissions.domain.evidence import CONTROL, FAILURE, HISTORY, POST_CONFIRM, PRE_SUBMIT
from oem_submissions.domain.reasons import REASONS, Reason
from oem_submissions.domain.records import Attempt, Claim, Event, KeptArtifact
from oem_submissions.domain.texts import visible

_CAPTIONS = {
    PRE_SUBMIT: "Before: the filled form",
    POST_CONFIRM: "After: the portal’s answer",
    FAILURE: "Where it failed",
    HISTORY: "In the portal’s history",
}
_LOOKED_AT = {HISTORY: "In the portal’s history", CONTROL: "The same search for a known claim"}
_LOOK = re.compile(f"look_([0-9]{{3,}})_({'|'.join(map(re.escape, _LOOKED_AT))})")


@dataclass(frozen=True)
class Shot:
    """A picture on a claim's page."""

    caption: str
    url: str
    captured_at: datetime


@dataclass(frozen=True)
class ClaimPage:
    """Everything on a claim's page."""

    claim: Claim
    lines: list[Line]
    attempts: list[Attempt]
    shots: list[Shot]
    reason: Reason | None
    standing: Standing | None
    run_url: str | None


def claim_page(
    claim: Claim,
    events: Sequence[Event],
    attempts: Sequence[Attempt],
    artifacts: Sequence[KeptArtifact],
    standing: Standing | None,
    dagster_url: str,
) -> ClaimPage:
    """The page of a claim; its pictures are those of the last attempt that left any."""
    return ClaimPage(
        claim,
        tell(events),
        list(attempts),
        _shots(claim.claim_id, artifacts),
        REASONS[claim.reason] if claim.reason else None,
        standing,
        _run_url(dagster_url, claim.run_id),
    )


def _shots(claim_id: str, artifacts: Sequence[KeptArtifact]) -> list[Shot]:
    pictures = [artifact for artifact in artifacts if artifact.name in _CAPTIONS]
    last = max((picture.attempt_id for picture in pictures), default=None)
    order = list(_CAPTIONS)
    shown = sorted((p for p in pictures if p.attempt_id == last), key=lambda p: order.index(p.name))
    captioned = [(_CAPTIONS[p.name], p) for p in shown]
    if HISTORY not in {p.name for p in shown}:
        captioned += _last_look([artifact for artifact in artifacts if artifact.attempt_id == last])
    return [
        Shot(caption, f"/artifacts/{quote(claim_id)}/{p.attempt_id}/{quote(p.name)}", p.captured_at)
        for caption, p in captioned
    ]


def _last_look(artifacts: Sequence[KeptArtifact]) -> list[tuple[str, KeptArtifact]]:
    """The pictures of the newest look-up, `look_002_history.webp` and so on: what a verdict begins with."""
    found = [(look_of[1], look_of[2], a) for a in artifacts if (look_of := _LOOK.fullmatch(a.name))]
    newest = max((number for number, _, _ in found), default="")
    return [(f"{_LOOKED_AT[what]}, look {int(number)}", a) for number, what, a in found if number == newest]


def _run_url(dagster_url: str, run_id: str | None) -> str | None:
    if run_id is None or urlsplit(dagster_url).scheme not in ("http", "https"):
        return None
    return f"{dagster_url}/runs/{quote(run_id, safe='')}"


def make_environment() -> Environment:
    """The templates, with escaping on and hidden characters spelled out in every text."""
    environment = Environment(
        loader=PackageLoader("oem_submissions.desk", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
    )
    environment.filters |= {
        "day": lambda at: at.astimezone(UTC).date().isoformat(),
        "clock": lambda at: at.astimezone(UTC).time().isoformat("milliseconds"),
        "minute": lambda at: at.astimezone(UTC).strftime("%Y-%m-%d %H:%M"),
        "gap": _gap,
        "words": lambda state: STATE_WORDS[state][0],
        "sentence": lambda state: STATE_WORDS[state][1],
        "tone": tone_of,
        "decision": lambda standing: DISPOSITION_WORDS[standing.disposition],
        "decision_tone": tone_of_standing,
    }
    return environment


def _gap(seconds: float | None) -> str:
    """The time since the line before, to the precision that people care about; empty when it is next to nothing."""
    if seconds is None or abs(seconds) < 0.05:
        return ""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"+{seconds / size:.0f} {unit}"
    return f"+{seconds:.1f} s"
