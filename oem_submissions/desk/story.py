"""Tells a claim's story: states, events and reasons in words for people. Pure; no HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from oem_submissions.domain.dispositions import Disposition, Standing
from oem_submissions.domain.records import Event
from oem_submissions.domain.states import FILED, HELD, State
from oem_submissions.domain.texts import shortened

Tone = Literal["good", "bad", "held", "plain", "quiet"]

STATE_WORDS: dict[State, tuple[str, str]] = {
    State.READY: ("Ready", "It is due and waits for its turn."),
    State.PREPARED: ("Prepared", "The form is filled in and photographed; nothing was sent."),
    State.ARMED: ("At the click", "The click is armed; the outcome is not known yet."),
    State.REJECTED: ("Refused", "The portal refused it, and nothing was filed."),
    State.OUTCOME_UNKNOWN: ("Outcome unknown", "Whether it was filed can’t be told. It is held, and not filed again."),
    State.RECONCILING: ("Being looked up", "It is being looked up in the portal’s history."),
    State.PROVEN_ABSENT: ("Not at the portal", "It was looked up, and is provably not there."),
    State.CONFIRMED: ("Filed", "The portal gave a reference; the evidence is about to be sealed."),
    State.AWAITING_REFERENCE: ("Filed, no reference yet", "This portal gives the reference later."),
    State.SEALED: ("Filed and sealed", "The evidence is sealed; the CRM is about to be told."),
    State.SYNCED: ("Filed", "The evidence is sealed, and the CRM holds the reference."),
    State.NEEDS_REVIEW: ("Needs a verdict", "A named person must decide what happened."),
    State.DEAD: ("Stopped", "It was not filed, and nothing tries again by itself."),
    State.WITHDRAWN: ("Withdrawn", "A person took it back before anything was filed."),
}

_ARRIVED: dict[State, str] = {
    State.READY: "Back in the queue",
    State.PREPARED: "Form filled in, read back and photographed",
    State.ARMED: "Click armed: from here nothing clicks again",
    State.REJECTED: "Refused by the portal",
    State.OUTCOME_UNKNOWN: "Held: the outcome can’t be told",
    State.RECONCILING: "Being looked up in the portal’s history",
    State.PROVEN_ABSENT: "Proven absent from the portal",
    State.CONFIRMED: "Confirmed",
    State.AWAITING_REFERENCE: "Filed; the reference comes later",
    State.SEALED: "Evidence sealed",
    State.SYNCED: "CRM record written and read back",
    State.NEEDS_REVIEW: "Waiting for a person’s verdict",
    State.DEAD: "Stopped: nothing tries again by itself",
    State.WITHDRAWN: "Withdrawn",
}

DISPOSITION_WORDS: dict[Disposition, str] = {
    Disposition.UNDECIDED: "Not decided yet",
    Disposition.SUSPENDED: "Suspended: the OEM waits for something",
    Disposition.APPROVED: "Approved",
    Disposition.DENIED: "Denied",
    Disposition.PAID: "Paid",
    Disposition.CHARGED_BACK: "Charged back",
    Disposition.UNRECOGNISED: "Not understood",
}

_HAPPENED: dict[str, str] = {
    "taken_in": "Taken in from the CRM",
    "amended": "Corrected in the CRM, and taken in again",
    "attempt_started": "Attempt began",
    "evidence_kept": "Evidence kept",
    "sent": "Request sent, once",
    "response": "The portal answered",
    "no_response": "No answer came over the wire",
    "attempt_failed": "Attempt failed",
    "look_begun": "Looked up in the portal’s history",
    "look_ended": "Looked up, without a result yet",
    "verdict": "A person’s verdict",
    "sealed": "Evidence sealed",
    "crm_told": "CRM record written and read back",
    "disposition": "The OEM’s word on it",
    "decision_overdue": "The OEM’s decision is overdue",
    "crm_told_disposition": "CRM told of the OEM’s decision, and read back",
    "doubted": "The ledger was restored: it may be filed already, and is looked up before it is filed",
    "doubt_settled": "Looked up: it was not filed before the restore",
    "redriven": "Sent round again by an operator",
    "erased": "Personal data erased",
    "pruned": "Evidence given up, past its retention",
    "hold_placed": "Put under a legal hold",
    "hold_lifted": "Legal hold lifted",
}

_MARKS: dict[str, tuple[str, bool]] = {
    "erased": ("The personal data of this claim was erased; the bundle still verifies.", True),
    "pruned": ("The retention of this claim is over: what was kept of it has been removed.", True),
    "hold_placed": ("This claim is under legal hold: nothing of it is removed.", True),
    "hold_lifted": ("hold_placed", False),
}
"""By kind of event: what stands at the top of the page from then on; or the kind whose sentence it takes away."""

_LONGEST = 600
"""Characters of one detail: the whole of it is in the bundle, and in `oem-submissions lookup --json`."""
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


@dataclass(frozen=True)
class Line:
    """One line of the timeline."""

    at: datetime
    text: str
    details: tuple[tuple[str, str], ...]
    tone: Tone
    actor: str
    gap_seconds: float | None
    """Since the line before; None for the first."""


@dataclass(frozen=True)
class Mark:
    """Something that is so of the whole claim, since an event."""

    text: str
    at: datetime
    actor: str
    why: str


def marks(events: Sequence[Event]) -> list[Mark]:
    """What is erased, removed or held, as the claim stands now."""
    found: dict[str, Mark] = {}
    for event in events:
        text, sets = _MARKS.get(event.kind, ("", True))
        if not sets:
            found.pop(text, None)
        elif text:
            found[event.kind] = Mark(text, event.at, event.actor, str(event.details.get("why") or ""))
    return list(found.values())


def tone_of(state: State) -> Tone:
    """How a state should look."""
    if state in FILED:
        return "good"
    if state in (State.REJECTED, State.DEAD):
        return "bad"
    return "held" if state in HELD else "plain"


def tone_of_standing(standing: Standing) -> Tone:
    """How the OEM's decision should look."""
    if standing.disposition in (Disposition.DENIED, Disposition.CHARGED_BACK):
        return "bad"
    if standing.overdue or not standing.expected or standing.disposition is Disposition.UNRECOGNISED:
        return "held"
    return "good" if standing.disposition in (Disposition.APPROVED, Disposition.PAID) else "plain"


def tell(events: Sequence[Event]) -> list[Line]:
    """The timeline, oldest first."""
    lines: list[Line] = []
    for event in events:
        gap = (event.at - lines[-1].at).total_seconds() if lines else None
        lines.append(Line(event.at, _text(event), _details(event.details), _tone(event), event.actor, gap))
    return lines


def _text(event: Event) -> str:
    moved = event.to_state is not None and event.to_state is not event.from_state
    if event.kind == "moved" and moved:
        assert event.to_state is not None
        return _ARRIVED[event.to_state]
    return _HAPPENED.get(event.kind, event.kind.replace("_", " ").capitalize())


def _tone(event: Event) -> Tone:
    if event.to_state is not None and event.to_state is not event.from_state:
        tone = tone_of(event.to_state)
        return tone if event.kind != "taken_in" or tone == "bad" else "plain"
    if event.kind == "attempt_failed":
        return "held"
    return "quiet" if event.kind == "evidence_kept" else "plain"


def _details(details: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Digests are shortened: the claim's facts have those that matter in full."""
    told = {name.replace("_", " "): str(value) for name, value in details.items() if value not in (None, "", [])}
    return tuple((name, _DIGEST.sub(r"\1…", shortened(value, _LONGEST))) for name, value in told.items())
