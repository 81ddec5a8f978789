"""What the append-only lease log proves: which leases of one account were live at once, and which nobody ever ended.

Pure: no clock, no ledger. The times are the log's own, all by the database's clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

_LIVING = frozenset({"acquired", "renewed"})


@dataclass(frozen=True)
class LeaseEntry:
    """One line of the log: `kind` is acquired, renewed, released or expired."""

    at: datetime
    kind: str
    oem: str
    dealer: str
    worker: str
    run_id: str
    fencing_token: int
    """Names the lease: no two have the same."""
    expires_at: datetime


@dataclass(frozen=True)
class Life:
    """A time during which a lease was live: from `since` to before `until`."""

    entry: LeaseEntry
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Overlap:
    """Two leases of one account that were live at once."""

    first: LeaseEntry
    second: LeaseEntry
    seconds: float

    def sentence(self) -> str:
        """Who, when, and for how long."""
        one, two = self.first, self.second
        leases = f"leases {one.fencing_token} of {one.worker} and {two.fencing_token} of {two.worker}"
        return (
            f"{one.oem}/{one.dealer}: {leases}"
            f" were live at once for {self.seconds:.3f} s, at {max(one.at, two.at).isoformat()}."
        )


@dataclass(frozen=True)
class Orphan:
    """A lease that ran out and that nobody gave back, took over or put right."""

    last: LeaseEntry

    def sentence(self) -> str:
        """Whose it was."""
        entry = self.last
        return (
            f"{entry.oem}/{entry.dealer}: lease {entry.fencing_token} of {entry.worker} in run {entry.run_id}"
            f" ran out at {entry.expires_at.isoformat()}, and nobody has taken the account over or put it right."
        )


def overlaps(log: Sequence[LeaseEntry]) -> list[Overlap]:
    """Every pair of leases of one account that the log shows live at once; `log` in the order it was written.

    Linear in the log's length, for as long as next to nothing overlaps.
    """
    accounts: dict[tuple[str, str], list[Life]] = defaultdict(list)
    for lease in _by_lease(log):
        for life in _lives(lease):
            accounts[life.entry.oem, life.entry.dealer].append(life)
    found: dict[tuple[int, int], Overlap] = {}
    for lives in accounts.values():
        open_ones: list[Life] = []
        for two in sorted(lives, key=lambda life: life.since):
            open_ones = [life for life in open_ones if life.until > two.since]
            for one in open_ones:
                if one.entry.fencing_token != two.entry.fencing_token and two.until > two.since:
                    seconds = (min(one.until, two.until) - two.since).total_seconds()
                    pair = (one.entry.fencing_token, two.entry.fencing_token)
                    found.setdefault(pair, Overlap(one.entry, two.entry, seconds))
            open_ones.append(two)
    return list(found.values())


def orphans(log: Sequence[LeaseEntry], now: datetime) -> list[Orphan]:
    """Leases that have run out by `now` and whose end the log does not show."""
    last = [lease[-1] for lease in _by_lease(log)]
    return [Orphan(entry) for entry in last if entry.kind in _LIVING and entry.expires_at <= now]


def _by_lease(log: Iterable[LeaseEntry]) -> list[list[LeaseEntry]]:
    leases: dict[int, list[LeaseEntry]] = defaultdict(list)
    for entry in log:
        leases[entry.fencing_token].append(entry)
    return list(leases.values())


def _lives(lease: Sequence[LeaseEntry]) -> list[Life]:
    """A lease lives from each acquisition or renewal to its expiry, or to the next line about it if that is sooner.

    A renewal after the end makes it live once more: that it should not be possible is what the log is read for.
    """
    following = [entry.at for entry in lease[1:]] + [None]
    lives = []
    for entry, next_at in zip(lease, following, strict=True):
        if entry.kind in _LIVING:
            until = entry.expires_at if next_at is None else min(entry.expires_at, next_at)
            lives.append(Life(entry, entry.at, until))
    return lives
