"""A log-in form that comes back with a question: a person sends it, and need not know the password."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from adapters import registry
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.hand_over import Done, HandOverEnding, Key, Press, Typing
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.ports import Account, Attendance
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.portal.parts import SHORT, prepare, warranty, with_pack

ASKED = '  refused: ["AUR-001 The User ID or password is incorrect."]\n'
ASKS = '  refused: ["AUR-004"]\n'
SAYS = 'needs_person: ["AUR-001'


@dataclass
class Ana:
    """`HandOvers` with one person who does what is written here, at the picture that she sees."""

    does: list[Press | Typing]
    pictures: list[bytes] = field(default_factory=list)
    sites: list[str] = field(default_factory=list)
    ended: list[HandOverEnding] = field(default_factory=list)
    begins: Callable[[], None] = lambda: None
    minutes = 5.0

    def begin(self, oem: str, dealer: str, asks: str) -> Ana:
        self.begins()
        return self

    def show(self, site: str, picture: bytes) -> int:
        self.sites.append(site)
        self.pictures.append(picture)
        return len(self.pictures)

    def attendance(self) -> Attendance:
        done = tuple(Done(len(self.pictures), deed) for deed in self.does[:1])
        del self.does[:1]
        return Attendance(done, "ana", None if done or self.does else HandOverEnding.GIVEN_UP)

    def end(self, ending: HandOverEnding) -> None:
        self.ended.append(ending)


def log_in(chromium: BrowserRuntime, simulator: Simulator, folder: Path, ana: Ana, *, attended: bool = True) -> None:
    """A claim is prepared at a portal that shows its log-in form again, once, with a question."""
    simulator.client.add_account("aurora", "10234", "jdoe", "secret-pw-7", "Lakeside Motors")
    simulator.client.set_fault("aurora", "login_refused", times=1)
    selectors = with_pack(folder, "aurora", ASKED, ASKS)
    path = selectors / "aurora" / "v0003.yaml"
    path.write_text(path.read_text().replace('needs_person: ["A code', f'{SAYS}", "A code'))
    runtime = BrowserRuntime(registry.adapter, selectors, {"aurora": simulator.http_url}, limits=SHORT, people=ana)
    runtime.browser = chromium.browser  # type: ignore[method-assign]
    account = Account("aurora", "10234", "jdoe", "secret-pw-7")
    with runtime.portal("aurora").session(account, attended=attended) as session:
        prepare(session, warranty("RO1"))


def test_a_form_that_came_back_empty_is_filled_again_and_the_password_is_on_no_picture(
    chromium: BrowserRuntime, simulator: Simulator, tmp_path: Path
) -> None:
    ana = Ana([Press(Key.ENTER), Press(Key.ESCAPE), Press(Key.ESCAPE)])
    log_in(chromium, simulator, tmp_path, ana)
    assert ana.ended == [HandOverEnding.SIGNED_IN]
    assert set(ana.sites) == {simulator.http_url}
    seen = Image.open(io.BytesIO(ana.pictures[0])).convert("RGB")
    assert seen.size == (1280, 1000)
    grey = sum(seen.getpixel((x, y)) == (119, 119, 119) for x in range(0, 1280, 4) for y in range(0, 1000, 4))  # type: ignore[comparison-overlap]
    assert grey > 100


def test_a_refusal_while_a_person_has_it_ends_it_at_once(
    chromium: BrowserRuntime, simulator: Simulator, tmp_path: Path
) -> None:
    def locks() -> None:
        simulator.client.set_route("POST", "/aurora/login", body="<p>AUR-004 The account is locked.</p>")

    ana = Ana([Press(Key.ENTER), Press(Key.ESCAPE), Press(Key.ESCAPE)], begins=locks)
    with pytest.raises(StepFailed, match="refused the log-in: 'AUR-004'") as failed:
        log_in(chromium, simulator, tmp_path, ana)
    assert failed.value.reason is ReasonCode.LOGIN_FAILED
    assert ana.ended == [HandOverEnding.REFUSED]


def test_no_password_is_filled_in_on_another_site(
    chromium: BrowserRuntime, simulator: Simulator, tmp_path: Path
) -> None:
    """The portal's page leads to one that looks like it."""
    other = simulator.http_url.replace("127.0.0.1", "localhost")
    form = (
        '<label>User ID <input></label><label>Password <input type="password" id="p"></label>'
        "<script>setInterval(() => { if (document.getElementById('p').value) fetch('/aurora/stolen') }, 50)</script>"
    )

    def leads_away() -> None:
        simulator.client.set_route("GET", "/aurora/", body=f"{form}<p>AUR-001")
        simulator.client.set_route(
            "POST", "/aurora/login", body=f'<meta http-equiv="refresh" content="0;{other}/aurora/">'
        )

    ana = Ana([Press(Key.ENTER), *[Press(Key.ESCAPE)] * 8], begins=leads_away)
    with pytest.raises(StepFailed, match="ana, who had it, gave it up"):
        log_in(chromium, simulator, tmp_path, ana)
    assert ana.sites[-1] == other
    assert simulator.client.requests("/aurora/stolen") == []


def test_where_nobody_may_be_asked_it_fails_at_once(
    chromium: BrowserRuntime, simulator: Simulator, tmp_path: Path
) -> None:
    ana = Ana([Press(Key.ENTER)])
    with pytest.raises(StepFailed) as failed:
        log_in(chromium, simulator, tmp_path, ana, attended=False)
    assert (failed.value.reason, ana.pictures) == (ReasonCode.MFA_REQUIRED, [])
