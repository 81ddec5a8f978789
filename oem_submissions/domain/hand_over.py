"""A log-in page in a person's hands: what is done on it, and how that ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

TYPED = 200
"""Characters that are typed at once."""


class Key(StrEnum):
    """The keys that can be pressed, as browsers call them."""

    ENTER = "Enter"
    TAB = "Tab"
    BACKSPACE = "Backspace"
    ESCAPE = "Escape"
    SPACE = "Space"
    UP = "ArrowUp"
    DOWN = "ArrowDown"
    PAGE_UP = "PageUp"
    PAGE_DOWN = "PageDown"


@dataclass(frozen=True)
class Click:
    """At a point of the picture, in its pixels."""

    x: int
    y: int


@dataclass(frozen=True)
class Typing:
    """Into what has the focus. A secret: a code, or the words of a puzzle."""

    text: str = field(repr=False)


@dataclass(frozen=True)
class Press:
    """A key."""

    key: Key


Deed = Click | Typing | Press


@dataclass(frozen=True)
class Done:
    """What a person did, looking at a picture."""

    picture: int
    """Its number."""
    deed: Deed


class HandOverEnding(StrEnum):
    """How it ended."""

    SIGNED_IN = "signed_in"
    REFUSED = "refused"  # the portal refused the log-in
    GIVEN_UP = "given_up"  # by the person
    TIMED_OUT = "timed_out"
    BROKEN = "broken"  # the page, the browser or the worker failed


@dataclass(frozen=True)
class HandOver:
    """As the ledger has it; neither a picture nor what was typed."""

    hand_over_id: str
    oem: str
    dealer: str
    run_id: str
    asks: str
    """What the portal wants, in a sentence without its full stop."""
    opened_at: datetime
    deadline: datetime
    taken_by: str | None
    """Who has it; nobody else can have it any more."""
    given_up_at: datetime | None
    """When that person gave it up."""
    ended_at: datetime | None
    ending: HandOverEnding | None
    site: str | None
    """Which site the newest picture shows: scheme and host."""
    picture: int
    """The newest picture's number; 0 before the first."""
    pictured_at: datetime | None
