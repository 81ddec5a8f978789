"""Alerts: those whose cause is not gone, and the last that were."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from oem_submissions.desk.room import Room

OPEN, PAST = 200, 100


class Alerts(Room):
    """`/alerts`."""

    def routes(self) -> list[Route]:
        """The room's addresses."""
        return [Route("/alerts", self.listed)]

    def listed(self, request: Request) -> Response:
        """Open ones first."""
        newest = self.reader.alerts(only_open=False, limit=PAST)
        past = [alert for alert in newest if alert.resolved_at is not None]
        return self.page(request, "alerts.html.j2", open=self.reader.alerts(limit=OPEN), past=past)
