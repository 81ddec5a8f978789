"""Alerts: those whose cause is not gone, and the last that were; what people were told, and by which channel."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from oem_submissions.desk.room import Room
from oem_submissions.domain.alerting import Transition

OPEN, PAST, TOLD = 200, 100, 6
USED = timedelta(days=1)
"""A channel that nobody delivers to for so long is not shown any more."""


class Alerts(Room):
    """`/alerts`."""

    def routes(self) -> list[Route]:
        """The room's addresses."""
        return [Route("/alerts", self.listed)]

    def listed(self, request: Request) -> Response:
        """Open ones first."""
        newest, now = self.reader.alerts(only_open=False, limit=PAST), self.reader.alerts(limit=OPEN)
        past = [alert for alert in newest if alert.resolved_at is not None]
        told: dict[int, list[Transition]] = {}
        for line in self.reader.alert_transitions([alert.alert_id for alert in [*now, *past]]):
            told.setdefault(line.alert.alert_id, []).append(line)
        since = datetime.now(UTC) - USED
        channels = [state for state in self.reader.alert_channels() if state.seen_at > since]
        shown = {alert_id: lines[-TOLD:] for alert_id, lines in told.items()}
        return self.page(request, "alerts.html.j2", open=now, past=past, told=shown, channels=channels)
