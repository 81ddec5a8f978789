"""A log-in goes into a person's hands: a real run, a simulated portal that asks a puzzle, and the real desk."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from sqlalchemy import func, select, text, update
from starlette.requests import Request

from adapters import registry
from oem_submissions import wiring
from oem_submissions.alerts.message import Links, message_of
from oem_submissions.cli.desk import desk_app
from oem_submissions.desk.access import Role, User, Visit
from oem_submissions.desk.door import Access
from oem_submissions.desk.forms import Forms
from oem_submissions.desk.serving import with_access
from oem_submissions.domain.cadence import Cadence, Window
from oem_submissions.domain.hand_over import Click, Done, HandOver, HandOverEnding, Key, Press, Typing
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import AlertKind, Claim, Pins
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.ledger.tables import hand_overs, metadata
from oem_submissions.portal import runtime
from oem_submissions.portal.packs import load_pack
from oem_submissions.ports import LedgerUnavailable
from oem_submissions.services.alerting import observe
from oem_submissions.services.hand_over import HelpDesk, RunsHandOver, RunsHandOvers
from oem_submissions.services.release import declare_live
from oem_submissions.services.submit import Partition
from oem_submissions.settings import PREFIX, EnvironmentSecrets, read_settings
from oem_submissions.simulator.aurora import FIELD, PUZZLE_WORD
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.desk.access import KEY, listening
from oem_submissions_tests.making import new_claim

DEALER, PERIOD = "10234", "2026-11-10"


class ByName:
    """A way in: whoever the headers name, in the role that they name."""

    name, invitation = "test", "Say who you are."

    def visit(self, request: Request) -> Visit | None:
        return _visit(request.headers.get("x-name", "ana"), request.headers.get("x-role", Role.OPERATOR))


def _visit(name: str, role: str = Role.OPERATOR) -> Visit:
    return Visit(User(name, Role(role)), "test", name)


@dataclass
class Person:
    """Somebody at the desk, who reads pages and pictures, and sends their forms."""

    url: str
    name: str = "ana"
    role: str = Role.OPERATOR
    forms: Forms = field(default_factory=lambda: Forms(KEY))

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=20, headers={"x-name": self.name, "x-role": self.role})

    def post(self, path: str, **form: Any) -> requests.Response:
        token = self.forms.token(_visit(self.name))
        who = {"x-name": self.name, "x-role": self.role}
        return requests.post(self.url + path, form | {"csrf": token}, timeout=20, headers=who)

    def finds(self) -> str:
        """The page of the log-in that waits."""
        return _soon(lambda: re.search(r'href="(/hand-overs/[0-9a-f]{16})"', self.get("/hand-overs").text))[1]

    def sees(self, here: str) -> tuple[int, Image.Image]:
        """The newest picture, and its number."""
        number = _soon(lambda: re.search(r"picture\?(\d+)", self.get(here).text))[1]
        return int(number), Image.open(io.BytesIO(self.get(f"{here}/picture").content)).convert("RGB")

    def clicks(self, here: str, what: Callable[[tuple[int, int, int]], bool]) -> requests.Response:
        """On the middle of what has the colour, as soon as it is there; the page that comes of it."""
        number, at = _soon(lambda: self.find(here, what))
        return self.post(f"{here}/do", **{"picture": number, "at.x": at[0], "at.y": at[1]})

    def find(self, here: str, what: Callable[[tuple[int, int, int]], bool]) -> tuple[int, tuple[int, int]] | None:
        number, seen = self.sees(here)
        points = [(x, y) for x in range(0, seen.width, 4) for y in range(0, seen.height, 4) if what(_at(seen, x, y))]
        if not points:
            return None
        left, top = min(x for x, _ in points), min(y for _, y in points)
        return number, (left + FIELD // 2, top + FIELD // 2)

    def types(self, here: str, words: str) -> requests.Response:
        return self.post(f"{here}/do", picture=self.sees(here)[0], text=words, then="")

    def press(self, here: str, key: str) -> requests.Response:
        return self.post(f"{here}/do", picture=self.sees(here)[0], key=key)


def _at(picture: Image.Image, x: int, y: int) -> tuple[int, int, int]:
    pixel = picture.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


def red(pixel: tuple[int, int, int]) -> bool:
    return pixel[0] > 190 and pixel[1] < 40 and pixel[2] < 60


def blue(pixel: tuple[int, int, int]) -> bool:
    return pixel[0] < 60 and 90 < pixel[1] < 130 and pixel[2] > 150


def _soon(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := look():
            return found
        threading.Event().wait(0.1)
    raise AssertionError("it never came")


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@dataclass
class Stage:
    """An installation with one claim that is due, at a portal whose log-in asks a puzzle."""

    ledger: Ledger
    portal: Simulator
    environment: dict[str, str]
    desk: str

    def run(self) -> Claim:
        """One run; the claim as it stands then."""
        settings = read_settings(self.environment)
        with wiring.build(settings, secrets=EnvironmentSecrets(self.environment), ledger=self.ledger) as services:
            with services.portals("run-1") as portals:
                services.submit(Partition("aurora", DEALER, PERIOD), "run-1", "worker", portals.portal("aurora"))
            observe(self.ledger, {})
        (claim,) = self.ledger.all_claims()
        return claim

    @property
    def log_ins(self) -> int:
        return len(self.portal.client.requests("/aurora/login"))

    def troubles(self) -> list[str]:
        with self.ledger._engine.connect() as connection:
            return list(connection.scalars(text("SELECT text FROM run_troubles")))

    def everything(self) -> str:
        """Every row of the ledger."""
        with self.ledger._engine.connect() as connection:
            tables = metadata.sorted_tables
            return "".join(str(row) for table in tables for row in connection.execute(select(table)))

    def let_pass(self, known: HandOver, time: timedelta) -> None:
        """As if so much time had passed after its deadline."""
        with self.ledger._engine.begin() as connection:
            connection.execute(update(hand_overs).values(deadline=func.clock_timestamp() - time))

    def ended(self) -> HandOver:
        """The hand-over, which is over."""
        with self.ledger._engine.connect() as connection:
            (hand_over_id,) = connection.scalars(text("SELECT hand_over_id FROM hand_overs"))
        known = self.ledger.hand_over(hand_over_id)
        assert known is not None
        return known


@pytest.fixture
def stage(running: Simulator, ledger: Ledger, database_url: str, tmp_path: Path) -> Iterator[Stage]:
    running.client.reset()
    running.client.add_account("aurora", DEALER, "user", "secret-pw-7", "Lakeside Motors")
    running.client.set_fault("aurora", "puzzle")
    secrets = {f"portal/aurora/{DEALER}/username": "user", f"portal/aurora/{DEALER}/password": "secret-pw-7"}
    environment = {
        f"{PREFIX}HOME": str(tmp_path),
        f"{PREFIX}DATABASE_URL": database_url,
        f"{PREFIX}PORTAL_URL_AURORA": running.http_url,
        f"{PREFIX}PERSON_MINUTES": "3",
        f"{PREFIX}CRM_URL": "https://crm.example",
        **{
            EnvironmentSecrets.where(name): value
            for name, value in (secrets | {"crm/client_id": "id", "crm/client_secret": "secret-4711"}).items()
        },
    }
    settings, adapter = read_settings(environment), registry.adapter("aurora")
    pack = load_pack(settings.selectors, "aurora")
    runtime._checked.add((pack.digest, adapter.digest))  # the goldens are not the subject
    pins = Pins(adapter.digest, pack.version, pack.digest)
    declare_live(ledger, "aurora", pins, "test", "the gate is not the subject")
    ledger.add_claim(new_claim())
    app = desk_app(ledger, DirectoryStore(tmp_path / "evidence"), settings)
    with listening(with_access(app, Access(ByName(), Forms(KEY), ledger))) as url:
        yield Stage(ledger, running, environment, url)


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Somebody else does that at the same time; what goes wrong there fails the test."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)
            raise

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        assert failures == []


def test_a_person_signs_in_at_the_desk_and_the_run_goes_on_and_files_the_claim_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    ana, ben = Person(stage.desk), Person(stage.desk, "ben")

    def help_out() -> None:
        here = ana.finds()
        (alert,) = _soon(stage.ledger.alerts)
        assert (alert.kind, alert.dealer, alert.run_id) == (AlertKind.PERSON_NEEDED, DEALER, "run-1")
        assert ana.get(f"{here}/picture").status_code == 404  # nobody sees it before it is theirs
        ana.post(f"{here}/take")
        assert "ana</bdi> has it" in ben.post(f"{here}/take").text
        assert ben.get(f"{here}/picture").status_code == 404
        assert "Nothing was done" in ben.post(f"{here}/do", picture=1, key="Enter").text
        viewer = Person(stage.desk, "vic", Role.VIEWER)
        assert [viewer.get(at).status_code for at in ("/hand-overs", here, f"{here}/picture")] == [200, 403, 403]
        ana.clicks(here, blue)
        ana.clicks(here, red)
        _soon(lambda: ana.find(here, red) is None)
        ana.types(here, PUZZLE_WORD + "x")
        ana.press(here, "Backspace")
        ana.post(f"{here}/do", picture=1, key="Enter")  # meant for a page that is gone: not done
        ana.press(here, "Enter")
        _soon(lambda: "The portal has signed in" in ana.get(here).text)

    with meanwhile(help_out):
        claim = stage.run()
    assert (claim.state, claim.reason_text) == (State.CONFIRMED, None)
    (filing,) = stage.portal.client.truth("aurora")["filings"]
    assert filing["reference"] == claim.reference
    assert stage.log_ins == 1
    assert len(stage.portal.client.requests("/aurora/login/puzzle")) == 3  # two clicks, one word

    known = stage.ended()
    assert (known.taken_by, known.ending) == ("ana", HandOverEnding.SIGNED_IN)
    assert stage.ledger.alerts() == []
    (trouble,) = stage.troubles()
    assert trouble.startswith("a person was asked for help: ")
    (measured,) = stage.ledger.run_measures(stage.ledger.releases("aurora")[0])
    assert (len(measured.endings), measured.seconds) == (1, ())  # how long a person took is no drift
    done = [(line.entry.who, line.entry.target.split("/")[-1]) for line in stage.ledger.access_log()]
    assert {("ana", "take"), ("ana", "do"), ("ben", "take")} <= set(done)
    assert PUZZLE_WORD not in stage.everything() + caplog.text


def test_where_nobody_comes_the_account_is_left_alone_and_nobody_logs_in_again(stage: Stage) -> None:
    stage.environment[f"{PREFIX}PERSON_MINUTES"] = "0.02"
    claim = stage.run()
    assert (claim.state, claim.reason) == (State.DEAD, ReasonCode.MFA_REQUIRED)
    assert (claim.reason_text or "").endswith(
        "only a person has: 'A code was sent to the e-mail address of your dealer"
        " principal.', and nobody took it within 0 minutes."
    )
    stage.run()
    assert stage.log_ins == 1
    assert stage.ended().ending is HandOverEnding.TIMED_OUT


def test_a_person_who_gives_it_up_ends_it_at_once(stage: Stage) -> None:
    ana = Person(stage.desk)

    def give_up() -> None:
        here = ana.finds()
        ana.post(f"{here}/take")
        ana.post(f"{here}/give-up")
        assert "Nothing was done" in ana.post(f"{here}/do", picture=1, key="Enter").text

    with meanwhile(give_up):
        claim = stage.run()
    assert (claim.state, claim.reason) == (State.DEAD, ReasonCode.MFA_REQUIRED)
    assert (claim.reason_text or "").endswith("and ana, who had it, gave it up.")
    assert stage.portal.client.truth("aurora")["filings"] == []


def test_a_hand_over_whose_worker_died_is_over_with_its_time_and_nothing_of_it_is_kept(stage: Stage) -> None:
    """The worker is this test: it asks, shows a page, is answered, and never comes back."""
    settings, ledger = read_settings(stage.environment), stage.ledger
    opened = wiring.hand_overs(settings, "run-1", ledger).begin("aurora", DEALER, "the portal asks a riddle")
    assert isinstance(opened, RunsHandOver)
    opened.show("https://portal.example", b"a picture")
    (known,) = ledger.open_hand_overs()
    (told,) = ledger.alert_transitions([alert.alert_id for alert in ledger.alerts()])
    assert "Log-in: https://desk/hand-overs" in message_of(told, Links("https://desk", "https://dagster")).body
    desk = HelpDesk(ledger, wiring.vault(settings))
    desk.take(known.hand_over_id, "ana")
    assert desk.picture(known.hand_over_id, "ana") == b"a picture"
    desk.do(known.hand_over_id, "ana", 1, [Click(3, 4), Typing("sesame"), Press(Key.TAB)], patience=0)
    assert opened.attendance().done == (
        Done(1, Click(3, 4)), Done(1, Typing("sesame")), Done(1, Press(Key.TAB)),
    )  # fmt: skip
    desk.do(known.hand_over_id, "ana", 1, [Typing("sesame")], patience=0)
    assert b"sesame" not in stage.everything().encode()

    stage.let_pass(known, timedelta(minutes=1))
    observe(ledger, {})
    assert (ledger.open_hand_overs(), ledger.alerts()) == ([], [])
    assert desk.picture(known.hand_over_id, "ana") is None
    stage.let_pass(known, timedelta(minutes=3))
    observe(ledger, {})
    assert stage.ended().ending is HandOverEnding.BROKEN
    with ledger._engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM hand_over_deeds")) == 0
        assert connection.scalar(text("SELECT count(*) FROM hand_overs WHERE sealed || wrapped IS NOT NULL")) == 0


def test_a_ledger_that_is_away_for_a_moment_costs_nobody_the_log_in(stage: Stage) -> None:
    away = False

    class Line:
        """To the ledger, which can be cut."""

        def __getattr__(self, name: str) -> Any:
            if away:
                raise LedgerUnavailable("It does not answer.")
            return getattr(stage.ledger, name)

    settings, line = read_settings(stage.environment), Line()
    desk = HelpDesk(stage.ledger, wiring.vault(settings))
    opened = wiring.hand_overs(settings, "run-1", line).begin("aurora", DEALER, "it asks")  # type: ignore[arg-type]
    opened.show("https://portal.example", b"a picture")
    (known,) = stage.ledger.open_hand_overs()
    desk.take(known.hand_over_id, "ana")
    desk.do(known.hand_over_id, "ana", 1, [Press(Key.TAB)], patience=0)
    away = True
    assert opened.show("https://portal.example", b"another") == 1
    assert (opened.attendance().done, opened.attendance().over) == ((), None)
    away = False
    assert opened.attendance().done == (Done(1, Press(Key.TAB)),)
    away = True
    opened.end(HandOverEnding.SIGNED_IN)
    assert stage.ledger.open_hand_overs() != []  # until its deadline


def test_a_time_box_ends_where_the_portals_window_begins(stage: Stage) -> None:
    window = Cadence("0 6 * * *", "UTC", "day", (Window("*/2 * * * *", why="cut-off"),))
    vault = wiring.vault(read_settings(stage.environment))
    RunsHandOvers(stage.ledger, vault, "run-1", 100.0, lambda _: window).begin("aurora", DEALER, "the portal asks")
    (known,) = stage.ledger.open_hand_overs()
    begins = window.next_window(known.opened_at)
    assert begins is not None
    assert abs(known.deadline - begins[1]) < timedelta(seconds=5)
