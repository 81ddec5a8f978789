"""Queue and scheduler health: what waits, who works, who was lost, which accounts are refused."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from oem_submissions.desk.room import Room

LOSSES = 10


class Queue(Room):
    """`/queue`."""

    def routes(self) -> list[Route]:
        """The room's addresses."""
        return [Route("/queue", self.queue)]

    def queue(self, request: Request) -> Response:
        """All of it on one page."""
        breakers = self.reader.breakers()
        return self.page(
            request,
            "queue.html.j2",
            lines=self.reader.queue_lines(self.operating.oems()),
            log_ins=self.reader.open_hand_overs(),
            leases=self.reader.held_leases(),
            troubles=self.operating.health().sentences(),
            losses=self.reader.recent_losses(LOSSES),
            accounts=[breaker for breaker in breakers if breaker.dealer],
            portals=[breaker for breaker in breakers if not breaker.dealer],
        )
