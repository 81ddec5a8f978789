"""The first page: look a claim up; what needs a person now; what changed last."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from oem_submissions.desk.room import Room
from oem_submissions.domain.breaker import Position
from oem_submissions.domain.releases import ReleaseState
from oem_submissions.domain.states import HELD, State

RECENT = 30
FOUND = 100
ALERTS = 3
"""Shown on the first page; the others are counted."""
_LONGEST = 200
"""Characters of what is looked for: no term in the ledger is longer."""


@dataclass(frozen=True)
class Waiting:
    """Something that waits for a person."""

    count: int
    more: bool
    """Whether there are more than were counted."""
    what: str
    path: str
    urgent: bool


class Lookup(Room):
    """`/`."""

    def routes(self) -> list[Route]:
        """The room's addresses."""
        return [Route("/", self.home)]

    def home(self, request: Request) -> Response:
        """The look-up box, and what it found or what is to be done. Exactly one find leads straight to the claim."""
        query = request.query_params.get("q", "").strip()[:_LONGEST]
        if not query:
            alerts = self.reader.alerts()
            waiting = self._waiting(len(alerts))
            recent = self.reader.recent_claims(RECENT)
            return self.page(request, "home.html.j2", claims=recent, alerts=alerts[:ALERTS], waiting=waiting)
        claims = self.reader.look_up(query, FOUND + 1) or self.reader.of_dealer(query, FOUND + 1)
        if len(claims) == 1:
            return RedirectResponse(f"/claims/{quote(claims[0].claim_id, safe='')}", status_code=303)
        more = len(claims) > FOUND
        return self.page(request, "found.html.j2", query=query, claims=claims[:FOUND], more=more)

    def _waiting(self, alerts: int) -> list[Waiting]:
        counts = self.reader.count_states(HELD | {State.DEAD})
        held = sum(counts[state] for state in HELD) - counts[State.NEEDS_REVIEW]
        stopped, log_ins = self._stopped(), len(self.reader.open_hand_overs())
        return [
            *([_waiting(log_ins, "waits for a person", "wait for a person", "log-in", "/hand-overs", urgent=True)]
              if log_ins else []),
            _waiting(counts[State.NEEDS_REVIEW], "needs a verdict", "need a verdict", "claim", "/review", urgent=True),
            _waiting(counts[State.DEAD], "was stopped", "were stopped", "dead letter", "/dead-letters", urgent=False),
            _waiting(alerts, "is open", "are open", "alert", "/alerts", urgent=True, most=100),
            _waiting(stopped, "is not filed for", "are not filed for", "OEM", "/oems", urgent=True),
            _waiting(held, "is looked up by itself", "are looked up by themselves", "held claim", "/review",
                     urgent=False),
        ]  # fmt: skip

    def _stopped(self) -> int:
        """OEMs with a suspended release or an open breaker."""
        stopped = Counter(b.oem for b in self.reader.breakers() if b.dealer is None and b.position is Position.OPEN)
        for oem in self.operating.oems():
            stopped[oem] += any(release.state is ReleaseState.SUSPENDED for release in self.reader.releases(oem))
        return sum(1 for count in stopped.values() if count)


def _waiting(count: int, one: str, many: str, thing: str, path: str, *, urgent: bool, most: int = 0) -> Waiting:
    what = f"{thing} {one}" if count == 1 else f"{thing}s {many}"
    return Waiting(count, bool(most) and count >= most, what, path, urgent and count > 0)
