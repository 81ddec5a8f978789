"""A portal that resets the connection gets the submission once: the browser's silent second sending ends at the tunnel.

Each case is tried once; `shots` tries it often, by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Error as PlaywrightError

from oem_submissions.domain.outcomes import Filed, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.socks import origin_of
from oem_submissions.portal.tunnel import Position, SingleShotTunnel
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.portal.fragile import PROTOCOLS, WHOLE, Certificate, FragilePortal
from oem_submissions_tests.portal.parts import coop, delivery, file_claim, session, warranty
from oem_submissions_tests.portal.shots import (
    BODIES,
    CONNECTIONS,
    GRACE_SECONDS,
    Body,
    Connection,
    Shot,
    click,
    form,
    shoot,
    submitted,
)

CLAIMS = {"aurora": warranty("RO-1"), "borealis": coop("INV-1"), "cascade": delivery(1)}


@pytest.fixture(params=PROTOCOLS)
def portal(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[FragilePortal]:
    with FragilePortal(request.param, certificate) as running:
        yield running


@pytest.fixture
def tunnel() -> Iterator[SingleShotTunnel]:
    with SingleShotTunnel(grace_seconds=GRACE_SECONDS) as running:
        yield running


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_a_reset_after_the_whole_request_was_read_is_one_post(
    connection: Connection, body: Body, portal: FragilePortal, chromium: BrowserRuntime
) -> None:
    portal.submission = "reset"
    shot = shoot(chromium.browser(), portal, connection, body)
    assert shot == Shot(1, False, shot.lost, Position.SPENT)
    assert shot.lost is not None
    assert submitted(portal.posts[0]) == WHOLE[body]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_without_the_tunnel_the_same_reset_is_two_posts(
    connection: Connection, body: Body, portal: FragilePortal, chromium: BrowserRuntime
) -> None:
    """The test of the test above. Three tries, because now and then Chromium takes a connection that is quite new."""
    portal.submission = "reset"
    shots = (shoot(chromium.browser(), portal, connection, body, by_tunnel=False) for _ in range(3))
    assert any(shot.posts >= 2 and not shot.answered for shot in shots)
    assert {submitted(post) for post in portal.posts} == {WHOLE[body]}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_an_answer_arrives_and_opens_the_tunnel(
    connection: Connection, body: Body, portal: FragilePortal, chromium: BrowserRuntime
) -> None:
    # On the preconnected way the portal ends the connection with its answer, before the page's parts are fetched.
    assert shoot(chromium.browser(), portal, connection, body) == Shot(1, True, None, Position.OPEN)
    assert submitted(portal.posts[0]) == WHOLE[body]


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_a_portal_that_files_and_takes_leave_as_if_it_had_not_is_one_post(
    connection: Connection, chromium: BrowserRuntime, certificate: Certificate
) -> None:
    """HTTP/2's GOAWAY says up to which request a portal got; what came later is sent again, on another connection."""
    with FragilePortal("h2", certificate) as portal:
        portal.submission = "goaway"
        shot = shoot(chromium.browser(), portal, connection, "multipart")
        assert (shot.posts, shot.answered, shot.position) == (1, False, Position.SPENT)
        assert shoot(chromium.browser(), portal, connection, "multipart", by_tunnel=False).posts >= 2


def test_a_tunnel_that_nobody_arms_protects_nothing(
    chromium: BrowserRuntime, portal: FragilePortal, tunnel: SingleShotTunnel
) -> None:
    portal.submission = "reset"
    with form(chromium.browser(), portal, "reused", "multipart", tunnel) as (page, gate):
        gate.install(page.context, None)
        click(page, gate)
    assert len(portal.posts) >= 2


@pytest.mark.parametrize("submission", ["reset", "close"])
def test_what_the_browser_sends_again_is_held(
    submission: str, chromium: BrowserRuntime, portal: FragilePortal, tunnel: SingleShotTunnel
) -> None:
    """Armed early, so that the one line is reused: here Chromium does send again, and it is the holding that counts."""
    portal.submission = submission  # type: ignore[assignment]
    with form(chromium.browser(), portal, "reused", "multipart", tunnel) as (page, gate):
        gate.install(page.context, None)
        tunnel.arm(origin_of(portal.url))
        page.evaluate("() => fetch('/part.css', {cache: 'no-store'}).then(answer => answer.text())")
        click(page, gate)
        assert tunnel.position is Position.SPENT
    assert len(portal.posts) == 1


def test_when_spent_nothing_reaches_the_portal_until_the_next_claim(
    chromium: BrowserRuntime, portal: FragilePortal, tunnel: SingleShotTunnel
) -> None:
    portal.submission = "reset"
    with form(chromium.browser(), portal, "reused", "urlencoded", tunnel) as (page, gate):
        click(page, gate)
        assert tunnel.position is Position.SPENT
        with pytest.raises(PlaywrightError, match="ERR_SOCKS_CONNECTION_FAILED"):
            page.context.new_page().goto(f"{portal.url}/json")
        gate.close()
        assert tunnel.position is Position.OPEN
        assert page.context.new_page().goto(f"{portal.url}/json") is not None
    assert len(portal.posts) == 1


@pytest.mark.parametrize(("fault", "filed"), [("reset_before_filing", 0), ("reset_after_filing", 1)])
@pytest.mark.parametrize("oem", sorted(CLAIMS))
def test_a_portal_that_resets_the_submission_reads_it_once(
    oem: str, fault: str, filed: int, chromium: BrowserRuntime, simulator: Simulator
) -> None:
    simulator.client.set_fault(oem, fault)
    with session(chromium, simulator, oem) as opened:
        answer = file_claim(opened, CLAIMS[oem])
        simulator.client.clear_faults()
        truth = simulator.client.truth(oem)
        assert isinstance(answer.outcome, Unknown)
        assert answer.outcome.reason is ReasonCode.OUTCOME_UNKNOWN
        assert "The connection was lost before the submission was answered" in answer.outcome.text
        assert (truth["submit_posts"], truth["filed"]) == (1, filed)
        assert (answer.wire.sent_at is None, answer.wire.status, answer.wire.blocked) == (False, None, 0)


def test_after_a_lost_submission_the_session_files_the_next(chromium: BrowserRuntime, simulator: Simulator) -> None:
    simulator.client.set_fault("aurora", "reset_after_filing", times=1)
    with session(chromium, simulator, "aurora") as opened:
        assert isinstance(file_claim(opened, warranty("RO-1")).outcome, Unknown)
        assert isinstance(file_claim(opened, warranty("RO-2")).outcome, Filed)
        assert isinstance(file_claim(opened, warranty("RO-3")).outcome, Filed)
    assert simulator.client.truth("aurora")["submit_posts"] == 3
