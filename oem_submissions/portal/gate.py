"""The submit gate in the browser: closed, nothing is filed; armed, exactly one request leaves.

It knows requests, not pages. What happens below the browser (a connection that dies, a request that Chromium sends
again by itself) is not visible here: that is the single-shot tunnel's work. The gate tells it when: it alone knows the
moment before the one request leaves, where it goes, and the moment when it is answered.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import parse_qsl, urlsplit

import re2
from playwright.sync_api import BrowserContext, Request, Response, Route
from playwright.sync_api import Error as PlaywrightError

from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.outcomes import Wire
from oem_submissions.portal.schema import Previews
from oem_submissions.portal.schema import Request as SubmitRequest
from oem_submissions.portal.socks import origin_of
from oem_submissions.portal.standstill import Pulse
from oem_submissions.portal.tunnel import SingleShotTunnel

log = logging.getLogger(__name__)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Position(StrEnum):
    """Where the gate stands."""

    CLOSED = "closed"
    ARMED = "armed"
    SPENT = "spent"


class SubmitGate:
    """Stands in one browser context, over all its pages, popups and frames."""

    def __init__(self, submit_requests: tuple[SubmitRequest, ...], standstill_seconds: float = 30.0) -> None:
        self._standstill_seconds = standstill_seconds
        self._rules = [(re2.compile(request.path), request.previews) for request in submit_requests]
        self._position = Position.CLOSED
        self._wire = Wire()
        self._on_sent: Callable[[Wire], None] | None = None
        self._request: Request | None = None
        self._tunnel: SingleShotTunnel | None = None
        self.response: Response | None = None
        self.lost: str | None = None
        """Why the one request got no response, in the browser's words."""
        self.refusal: BaseException | None = None
        """What `on_sent` or the tunnel raised: then nothing left."""

    @property
    def wire(self) -> Wire:
        """What was seen so far."""
        return self._wire

    @property
    def finished(self) -> bool:
        """Whether the one request was answered, failed, or was refused by the journal."""
        return self.response is not None or self.lost is not None or self.refusal is not None

    def install(self, context: BrowserContext, tunnel: SingleShotTunnel | None) -> None:
        """Stand in the context's way, from its first request on; the tunnel is the context's. None: tests without."""
        self._tunnel = tunnel
        context.route("**/*", self._on_route)
        context.on("response", self._on_response)
        context.on("requestfailed", self._on_failed)

    def close(self) -> None:
        """Before a claim is prepared: nothing passes, and what was seen is forgotten."""
        self._position = Position.CLOSED
        if self._tunnel is not None:
            self._tunnel.disarm()
        self._wire, self._on_sent, self._request = Wire(), None, None
        self.response, self.lost, self.refusal = None, None, None

    def arm(self, on_sent: Callable[[Wire], None]) -> None:
        """Let one submit request through. `on_sent` makes it durable first; when it raises, the request is aborted."""
        assert self._position is Position.CLOSED, f"the gate is {self._position}"
        self._on_sent = on_sent
        self._position = Position.ARMED

    def spend(self) -> None:
        """The click is over: from here nothing passes until the next claim."""
        self._position = Position.SPENT

    def _on_route(self, route: Route, request: Request) -> None:
        if request.method in _SAFE or not (rules := self._rules_of(request)):
            route.continue_()
        elif all(previews is not None and _is_preview(request, previews) for previews in rules):
            route.abort("blockedbyclient")
        elif self._position is not Position.ARMED:
            self._block(route, request)
        else:
            self._let_one_through(route, request)

    def _rules_of(self, request: Request) -> list[Previews | None]:
        """One for each submit path that the request goes to; none when it files nothing."""
        path = urlsplit(request.url).path
        return [previews for pattern, previews in self._rules if pattern.fullmatch(path)]

    def _block(self, route: Route, request: Request) -> None:
        self._wire = dataclasses.replace(self._wire, blocked=self._wire.blocked + 1)
        log.warning(
            "The submit gate is %s and blocked %s %s", self._position, request.method, urlsplit(request.url).path
        )
        route.abort("blockedbyclient")

    def _let_one_through(self, route: Route, request: Request) -> None:
        assert self._on_sent is not None
        self._position = Position.SPENT  # first: whatever happens below, nothing passes after this request
        pulse = Pulse(self._standstill_seconds)  # before the record: who sleeps after it sends nothing when he wakes
        body = _body(request)
        wire = dataclasses.replace(
            self._wire,
            sent_at=datetime.now(UTC),
            method=request.method,
            path=urlsplit(request.url).path,
            body_sha256=sha256_hex(body) if body is not None else None,
            body_bytes=len(body) if body is not None else None,
        )
        try:
            self._on_sent(wire)
            self._wire = wire  # what is recorded as sent counts as sent, even if the tunnel refuses
            if self._tunnel is not None:
                # Not at the click: what the page's script asks the portal for in between would take the one line.
                self._tunnel.arm(origin_of(request.url), pulse)
        except BaseException as error:  # noqa: BLE001 - whatever is raised: what is not durable may not leave
            self.refusal = error
            route.abort("blockedbyclient")
            return
        self._request = request
        route.continue_()

    def _on_response(self, response: Response) -> None:
        if self._request is None or response.request != self._request:
            return
        if self._tunnel is not None:
            self._tunnel.release()  # first: the page's parts are held
        self.response = response
        self._wire = dataclasses.replace(
            self._wire,
            responded_at=datetime.now(UTC),
            status=response.status,
            response_date=response.headers.get("date"),
        )

    def _on_failed(self, request: Request) -> None:
        if self._request is not None and request == self._request:
            self.lost = request.failure or "the request failed"


def _is_preview(request: Request, previews: Previews) -> bool:
    """Whether the request asks only to be shown what was typed. What can't be read to its end is none."""
    body = _body(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body is None or kind != "application/x-www-form-urlencoded" or urlsplit(request.url).query:
        return False
    try:
        names = {name for name, _ in parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)}
    except ValueError:
        return False
    return previews.has in names and previews.lacks not in names


def _body(request: Request) -> bytes | None:
    """The body as the browser shows it to us; None when it keeps it to itself, as it may with files."""
    try:
        return request.post_data_buffer
    except PlaywrightError:
        return None
