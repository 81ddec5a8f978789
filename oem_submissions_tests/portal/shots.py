"""One submission to the fragile portal, through the single-shot tunnel or without: what came of it.

By hand, every case often: `python -m oem_submissions_tests.portal.shots 20`.
"""

from __future__ import annotations

import collections
import itertools
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from oem_submissions.portal.browser import find_browser, launch
from oem_submissions.portal.gate import SubmitGate
from oem_submissions.portal.schema import Request
from oem_submissions.portal.tunnel import Position, SingleShotTunnel
from oem_submissions_tests.portal.fragile import (
    FILE,
    PARTS,
    PROTOCOLS,
    WHOLE,
    Certificate,
    FragilePortal,
    Post,
    Submission,
)

Connection = Literal["reused", "preconnected"]
Body = Literal["urlencoded", "json", "multipart"]
CONNECTIONS: tuple[Connection, ...] = ("reused", "preconnected")
BODIES: tuple[Body, ...] = ("urlencoded", "json", "multipart")
GRACE_SECONDS = 0.3
WAIT_SECONDS = 15.0


@dataclass(frozen=True)
class Shot:
    """What one click came to."""

    posts: int
    answered: bool
    lost: str | None
    position: Position | None


@contextmanager
def form(
    browser: Browser, portal: FragilePortal, connection: Connection, body: Body, tunnel: SingleShotTunnel | None
) -> Iterator[tuple[Page, SubmitGate]]:
    """The filled form, with the connection that is asked for open and idle; the gate is closed."""
    gate = SubmitGate((Request(path="/submit"),))
    portal.keep_alive = connection == "reused"
    context = browser.new_context(service_workers="block", proxy={"server": tunnel.url} if tunnel else None)
    try:
        page = context.new_page()
        page.goto(f"{portal.url}/{body}")
        if body == "multipart":
            file = {"name": "invoice.pdf", "mimeType": "application/pdf", "buffer": FILE}
            page.locator("[name=invoice]").set_input_files(file)  # type: ignore[arg-type]
        if connection == "preconnected":
            preconnect(page, portal)
        gate.install(context, tunnel)
        gate.close()
        yield page, gate
    finally:
        context.close()


def preconnect(page: Page, portal: FragilePortal) -> None:
    """Have a connection opened that carries nothing, as Chromium does by itself in order to be quick.

    The headless shell does it for no hint; but a request that is given up leaves the connection that was made for it.
    """
    for attempt in range(1, 31):
        page.evaluate(
            "() => { const given_up = new AbortController();"
            " fetch('/part.css', {signal: given_up.signal, cache: 'no-store'}).catch(() => 0); given_up.abort(); }"
        )
        if portal.is_preconnected(min(0.2 * attempt, 2.0)):
            return
    raise AssertionError("nothing was preconnected")


def click(page: Page, gate: SubmitGate) -> None:
    """Arm and click; returns when the request was answered or lost."""
    gate.arm(lambda wire: None)
    page.get_by_role("button", name="Submit").click(no_wait_after=True)
    deadline = time.monotonic() + WAIT_SECONDS
    while not gate.finished:
        assert time.monotonic() < deadline, "the submission was neither answered nor lost"
        page.wait_for_timeout(20)
    gate.spend()


def shoot(
    browser: Browser, portal: FragilePortal, connection: Connection, body: Body, *, by_tunnel: bool = True
) -> Shot:
    """One click. All connections are closed when it returns, so that the count of POSTs is final."""
    before = len(portal.posts)
    with (
        SingleShotTunnel(grace_seconds=GRACE_SECONDS) if by_tunnel else nullcontext() as tunnel,
        form(browser, portal, connection, body, tunnel) as (page, gate),
    ):
        click(page, gate)
        if gate.response is not None:
            page.get_by_text("Claim number WC-1").wait_for()
            page.wait_for_function(f"() => document.styleSheets.length === {PARTS}")  # all were let through
        position = tunnel.position if tunnel else None
    return Shot(len(portal.posts) - before, gate.response is not None, gate.lost, position)


def submitted(post: Post) -> bytes:
    """The whole body as the portal read it; of a multipart one, the file."""
    if (found := re.search(r"boundary=(\S+)", post.content_type)) is None:
        return post.body
    part = next(part for part in post.body.split(b"--" + found[1].encode()) if b'filename="invoice.pdf"' in part)
    return part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")


def main(times: int) -> None:
    """A table of how many POSTs the portal read, for each case."""
    certificate = Certificate()
    with sync_playwright() as playwright, launch(playwright, find_browser(), (certificate.argument,)) as browser:
        for protocol, connection, body in itertools.product(PROTOCOLS, CONNECTIONS, BODIES):
            rows: list[tuple[bool, Submission]] = [(False, "reset"), (True, "reset"), (True, "answer")]
            if protocol == "h2":
                rows += [(False, "goaway"), (True, "goaway"), (False, "refuse"), (True, "refuse")]
            for by_tunnel, submission in rows:
                with FragilePortal(protocol, certificate) as portal:
                    portal.submission = submission
                    shots = [shoot(browser, portal, connection, body, by_tunnel=by_tunnel) for _ in range(times)]
                counts = dict(sorted(collections.Counter(shot.posts for shot in shots).items()))
                answered = sum(shot.answered for shot in shots)
                whole = sum(submitted(post) == WHOLE[body] for post in portal.posts)
                case = f"{protocol:5} {connection:12} {body:10} {submission:6} {'tunnel' if by_tunnel else 'direct':6}"
                told = f"POSTs per click: {counts}, whole {whole} of {len(portal.posts)}, answered {answered}"
                print(f"{case} {told}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
