"""The user's name on one page, the password on the next: in front of the simulated Aurora, which does the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.schema import Login
from oem_submissions.ports import KeptSession
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.portal.parts import session, with_pack

PASSWORD = "  password: {label: Password}\n"
NEXT = "  next: {click: {role: button, name: Next}}\n  reuse: {minutes: 60, path: /aurora/home}\n"
LONG_AGO = datetime(2026, 11, 1, tzinfo=UTC)
USER = "<label>User ID <input name=userid></label>"
SECOND = "<label>Password <input name=password type=password></label><button>Sign in</button>"
TWO_PAGES = (
    f"<form action=/aurora/who>{USER}<button>Next</button></form>",
    f"<form method=post action=/aurora/login><input type=hidden name=userid value=jdoe>{SECOND}</form>",
)
ONE_SCRIPT = f"""<form method=post action=/aurora/login>{USER}<button type=button onclick="setTimeout(() => {{
    this.hidden = true; document.querySelector('div').hidden = false }}, 200)">Next</button>
    <div hidden>{SECOND}</div></form>"""


@pytest.fixture
def portal(simulator: Simulator) -> Iterator[Simulator]:
    """Aurora behind another entrance."""
    simulator.client.set_route("GET", "/aurora/", 200, TWO_PAGES[0])
    simulator.client.set_route("GET", "/aurora/who", 200, TWO_PAGES[1])
    yield simulator
    simulator.client.clear_routes()


@pytest.fixture
def selectors(tmp_path: Path) -> Path:
    return with_pack(tmp_path, "aurora", PASSWORD, NEXT + PASSWORD)


@dataclass
class Shelf:
    """Keeps a session in the test."""

    kept: KeptSession | None = None

    def take(self) -> KeptSession | None:
        taken, self.kept = self.kept, None
        return taken

    def keep(self, session: KeptSession, good_seconds: float) -> bool:
        self.kept = session
        return good_seconds == 3600


def log_ins(simulator: Simulator) -> int:
    return len(simulator.client.requests("/aurora/login"))


def test_name_and_password_are_given_one_after_the_other_on_two_pages_or_by_a_script(
    chromium: BrowserRuntime, portal: Simulator, selectors: Path
) -> None:
    for number in (1, 2):
        with session(chromium, portal, "aurora", selectors=selectors) as opened:
            opened.list_history(LONG_AGO)
        assert log_ins(portal) == number
        portal.client.set_route("GET", "/aurora/", 200, ONE_SCRIPT)


def test_a_name_that_the_portal_does_not_know_is_refused_before_the_password_is_given(
    chromium: BrowserRuntime, portal: Simulator, selectors: Path
) -> None:
    portal.client.set_route("GET", "/aurora/who", 200, "<p>AUR-001 The User ID or password is incorrect.</p>")
    with session(chromium, portal, "aurora", selectors=selectors) as opened:
        for _ in range(2):
            with pytest.raises(StepFailed, match="AUR-001") as refused:
                opened.list_history(LONG_AGO)
    assert (refused.value.reason, refused.value.step) == (ReasonCode.LOGIN_FAILED, "log in")
    assert (log_ins(portal), len(portal.client.requests("/aurora/who"))) == (0, 1)


def test_where_the_entrance_shows_everybody_the_log_in_a_kept_session_is_known_by_another_page(
    chromium: BrowserRuntime, portal: Simulator, selectors: Path
) -> None:
    shelf = Shelf()
    for _ in range(2):
        with session(chromium, portal, "aurora", selectors=selectors, shelf=shelf) as opened:
            opened.list_history(LONG_AGO)
        assert shelf.kept is not None
    assert (log_ins(portal), len(portal.client.requests("/aurora/"))) == (1, 1)


def test_a_session_that_ended_is_known_by_the_first_of_the_two_pages(
    chromium: BrowserRuntime, portal: Simulator, selectors: Path
) -> None:
    portal.client.set_route("GET", "/aurora/claims/history", 200, TWO_PAGES[0])
    with (
        session(chromium, portal, "aurora", selectors=selectors) as opened,
        pytest.raises(StepFailed, match="asks for log-in again") as ended,
    ):
        opened.list_history(LONG_AGO)
    assert ended.value.reason is ReasonCode.SESSION_EXPIRED


@pytest.mark.parametrize("more", [{"next": {"click": {"label": "Next"}}}, {"reuse": {"minutes": 60}}])
def test_a_basic_log_in_has_neither_pages_nor_a_session(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="a basic log-in has no pages and no session"):
        Login.model_validate({"method": "basic", "path": "/", "signed_in": {"text": "Hello"}, **more})
