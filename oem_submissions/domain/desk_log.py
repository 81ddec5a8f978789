"""What people and machines do at the desk, and what they are not let do: the lines of its log. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DeskAction(StrEnum):
    """What was done, or tried."""

    SIGN_IN = "sign_in"
    """`target` is who the identity provider says it is, for ever: its subject."""
    SIGN_OUT = "sign_out"
    REFUSED = "refused"
    """Not let in, or not let do it; `outcome` says why."""
    DOWNLOAD = "download"
    CHANGE = "change"
    """A form that was sent: one line before it is acted upon, another with the status that it came to."""


@dataclass(frozen=True)
class DeskEntry:
    """A line of the desk's log."""

    action: DeskAction
    who: str | None
    """None: nobody that we know."""
    role: str | None
    way: str
    """How they are known: loopback, oidc, header, token; or none."""
    target: str
    """The page, without what was asked of it: queries hold codes."""
    outcome: str
    address: str
    """Whence, as the connection has it."""


@dataclass(frozen=True)
class DeskRecord:
    """A line as the ledger has it."""

    number: int
    at: datetime
    entry: DeskEntry
