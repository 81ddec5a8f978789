"""Signed-in sessions that go from run to run: real runs at the simulated Aurora, which counts the log-ins."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters import registry
from oem_submissions import wiring
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.domain.failures import SubmissionError
from oem_submissions.domain.outcomes import Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, Pins
from oem_submissions.domain.states import State
from oem_submissions.ledger.store import Ledger
from oem_submissions.portal.kept import fits
from oem_submissions.portal.packs import Pack, load_pack
from oem_submissions.portal.runtime import BrowserPortal, BrowserRuntime
from oem_submissions.portal.session import BrowserSession
from oem_submissions.ports import Account, WrappedKey
from oem_submissions.services.history import read_history
from oem_submissions.services.release import OpenGate, declare_live
from oem_submissions.services.sessions import LedgerShelf
from oem_submissions.services.submit import Partition
from oem_submissions.settings import EnvironmentSecrets, read_settings
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.leaks.test_planted import evidence_files, found_in, tables, writings
from oem_submissions_tests.making import new_claim, warranty_payload
from oem_submissions_tests.portal.parts import SHORT, file_claim, warranty, with_pack

OEM, DEALER = "aurora", "10234"
SIGNED_IN = "  signed_in: {role: link, name: Log out}\n"
REUSE = SIGNED_IN + "  sign_out: {role: link, name: Log out}\n  reuse: {minutes: 60}\n"
LONG_AGO = datetime(2026, 11, 1, tzinfo=UTC)
SIGNATURE = "s5pHtGkW1mX2qYv9bN4c"
TOKEN = f"eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyIjoxMDIzNH0.{SIGNATURE}"


class Runs:
    """Runs of one account, with all their real parts, but for the CRM."""

    def __init__(self, chromium: BrowserRuntime, simulator: Simulator, ledger: Ledger, folder: Path) -> None:
        self.chromium, self.simulator, self.ledger = chromium, simulator, ledger
        self.selectors = with_pack(folder, OEM, SIGNED_IN, REUSE)
        self.settings = replace(read_settings({}), home=folder / "home")
        self.use_password("secret-pw-7")

    def use_password(self, password: str) -> None:
        """As the portal and the secrets have it from now on."""
        self.account = Account(OEM, DEALER, "jdoe", password)
        self.simulator.client.add_account(OEM, DEALER, "jdoe", password, "Lakeside Motors")

    def go_live(self) -> Runs:
        pack = load_pack(self.selectors, OEM)
        pins = Pins(registry.adapter(OEM).digest, pack.version, pack.digest)
        declare_live(self.ledger, OEM, pins, "test", "the gate is not tested")
        return self

    @contextmanager
    def parts(self) -> Iterator[tuple[Any, BrowserPortal]]:
        log_in = {"username": self.account.username, "password": self.account.password}
        secrets = {EnvironmentSecrets.where(f"portal/{OEM}/{DEALER}/{part}"): text for part, text in log_in.items()}
        runtime = BrowserRuntime(registry.adapter, self.selectors, {OEM: self.simulator.http_url}, limits=SHORT)
        runtime.browser = self.chromium.browser  # type: ignore[method-assign]
        with wiring.build(
            self.settings, ledger=self.ledger, crm=MemoryCrm(), secrets=EnvironmentSecrets(secrets), gate=OpenGate()
        ) as services:
            yield services, runtime.portal(OEM)

    def file(self, number: int) -> Claim:
        """A run that files one claim."""
        payload = warranty_payload(number, odometer=1200 + number)
        added = self.ledger.add_claim(new_claim(number, period=f"2026-11-{number:02d}", payload=payload))
        with self.parts() as (services, portal):
            partition = Partition(OEM, DEALER, added.period)
            services.submit(partition, f"run-{number}", "worker", portal)
            services.seal(partition, f"run-{number}", "worker")
        (claim,) = self.ledger.claims(OEM, DEALER, added.period)
        return claim

    def read(self) -> SubmissionError | None:
        """A run that reads the history; what went wrong."""
        with self.parts() as (services, portal):
            reader = services.reader(OEM, DEALER, "run", "worker", portal)
            with read_history(reader, lambda _: LONG_AGO) as reading:
                return reading.trouble

    @contextmanager
    def session(self) -> Iterator[BrowserSession]:
        """A run by hand."""
        with self.parts() as (services, portal):
            lease = self.ledger.acquire_lease(OEM, DEALER, "run", "worker", 60)
            assert lease is not None
            try:
                with portal.session(
                    self.account, LedgerShelf(self.ledger, services.vault, lease, portal.pins)
                ) as open_:
                    yield open_
            finally:
                self.ledger.release_lease(lease)

    def log_ins(self) -> int:
        return len(self.simulator.client.requests("/aurora/login"))

    def change(self, what: str) -> None:
        """Of what the ledger keeps."""
        with self.ledger._engine.begin() as connection:
            assert connection.exec_driver_sql(f"UPDATE kept_sessions SET {what}").rowcount == 1  # noqa: S608


@pytest.fixture
def runs(chromium: BrowserRuntime, simulator: Simulator, ledger: Ledger, tmp_path: Path) -> Runs:
    return Runs(chromium, simulator, ledger, tmp_path)


def cookie_of(runs: Runs) -> str:
    """The portal's cookie, out of the vault: so it is what is kept."""
    with runs.ledger._engine.begin() as connection:
        row = connection.exec_driver_sql("SELECT wrapped, wrapped_by, sealed FROM kept_sessions").one()
    vault = wiring.vault(runs.settings)
    box = vault.box(f"session of {OEM}/{DEALER}", WrappedKey(row.wrapped, row.wrapped_by))
    (cookie,) = json.loads(box.open("cookies and local storage", row.sealed))["state"]["cookies"]
    assert cookie["name"] == "AURORA_SESSION"
    return str(cookie["value"])


def test_a_second_run_files_in_the_session_of_the_first_and_its_cookie_is_nowhere(
    runs: Runs, ledger: Ledger, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "oem_submissions")
    first, second = runs.go_live().file(1), runs.file(2)
    assert (first.state, second.state, runs.log_ins()) == (State.SEALED, State.SEALED, 1)
    assert runs.simulator.client.requests("/aurora/logout") == []
    said = "signed in 0 minutes before, session reused"
    assert f"STEP 1/12 log in ({said})" in caplog.text
    assert (ledger.facts(first.claim_id).get("session"), ledger.facts(second.claim_id)["session"]) == (None, said)
    stored = [*evidence_files(runs.settings.home), *tables(database_url), ("log", caplog.text.encode())]
    secrets = {"cookie": writings(cookie_of(runs)), "password": writings(runs.account.password)}
    assert [name for name, data in stored if found_in(data, secrets)] == []


def test_whatever_puts_a_kept_session_in_doubt_costs_one_log_in_and_nothing_else(
    runs: Runs, ledger: Ledger, tmp_path: Path
) -> None:
    doubts: dict[str, Callable[[], object]] = {
        "the portal has ended it": runs.simulator.client.expire_sessions,
        "the password is another": lambda: runs.use_password("secret-pw-8"),
        "the master key is another": (runs.settings.keys / "personal-data.key").unlink,
        "it was changed": lambda: runs.change("sealed = sealed || 'x'"),
        "it is too old": lambda: runs.change("expires_at = clock_timestamp()"),
        "a person threw it away": lambda: ledger.forget_sessions(OEM, DEALER),
        "the ledger was put back": lambda: ledger.hold_after_restore([OEM], LONG_AGO, "ana", "a test"),
    }
    assert (runs.go_live().read(), runs.read(), runs.log_ins()) == (None, None, 1)
    for number, (doubt, happens) in enumerate(doubts.items(), 2):
        happens()
        assert (runs.read(), runs.log_ins()) == (None, number), doubt
    assert (runs.read(), runs.log_ins()) == (None, number)


def test_its_time_counts_from_the_log_in_and_not_from_the_last_reuse_and_then_it_is_pruned(
    runs: Runs, ledger: Ledger
) -> None:
    runs.go_live().read()
    runs.change("signed_in_at = signed_in_at - interval '50 minutes', expires_at = expires_at - interval '50 minutes'")
    runs.read()
    (kept,) = ledger.kept_sessions()
    assert runs.log_ins() == 1
    assert round((kept.kept_at - kept.signed_in_at).total_seconds() / 60) == 50
    assert round((kept.expires_at - kept.signed_in_at).total_seconds() / 60) == 60
    assert ledger.prune_logs(180) == 0
    runs.change("expires_at = clock_timestamp()")
    assert (ledger.kept_sessions(), ledger.prune_logs(180)) == ([], 1)


class Killed(BaseException):
    """The worker is gone."""


def killed_after(_: object) -> None:
    raise Killed


def test_a_run_in_which_anything_went_wrong_keeps_no_session(runs: Runs, ledger: Ledger, simulator: Simulator) -> None:
    runs.go_live().read()
    assert len(ledger.kept_sessions()) == 1
    with pytest.raises(Killed), runs.session() as opened:
        killed_after(opened.list_history(LONG_AGO))
    assert ledger.kept_sessions() == []
    simulator.client.set_fault(OEM, "history_error")
    assert runs.read() is not None
    assert ledger.kept_sessions() == []
    simulator.client.clear_faults()
    simulator.client.set_fault(OEM, "reset_after_filing", times=1)
    with runs.session() as opened:
        assert isinstance(file_claim(opened, warranty("RO-1")).outcome, Unknown)
        opened.list_history(LONG_AGO)  # signed in again, and well
    assert ledger.kept_sessions() == []
    with runs.session() as opened:
        opened.list_history(LONG_AGO)
        (lease,) = ledger.held_leases()
        ledger.release_lease(lease)
    assert ledger.kept_sessions() == []
    with runs.session() as opened:
        opened.list_history(LONG_AGO)
        assert opened._walk is not None
        opened._walk.page.evaluate("localStorage.setItem('much', 'x'.repeat(600000))")
    assert ledger.kept_sessions() == []
    assert len(simulator.client.requests("/aurora/logout")) >= 3  # what is not kept is signed out of


def test_a_release_that_is_not_live_logs_in_every_time(runs: Runs, ledger: Ledger) -> None:
    assert (runs.read(), runs.read(), runs.log_ins()) == (None, None, 2)
    assert ledger.kept_sessions() == []


def test_a_session_that_is_over_is_followed_by_one_log_in_also_when_that_is_refused(
    runs: Runs, ledger: Ledger, simulator: Simulator
) -> None:
    runs.go_live().read()
    simulator.client.expire_sessions()
    simulator.client.set_fault(OEM, "login_refused")
    with runs.session() as opened:
        for _ in range(2):
            with pytest.raises(SubmissionError, match="AUR-001") as caught:
                opened.list_history(LONG_AGO)
            assert caught.value.reason is ReasonCode.LOGIN_FAILED
    assert (runs.log_ins(), ledger.kept_sessions()) == (2, [])


def test_what_a_kept_session_holds_is_hidden_before_its_first_page_is_opened(
    runs: Runs, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "oem_submissions")
    with runs.go_live().session() as opened:
        opened.list_history(LONG_AGO)
        assert opened._walk is not None
        opened._walk.page.evaluate(f"localStorage.setItem('auth', JSON.stringify({{token: '{TOKEN}', for: 'jdoe'}}))")
    cookie = cookie_of(runs)
    said = (
        f"<a href='/aurora/logout'>Log out</a><script>alert('{cookie} ' + JSON.parse(localStorage.auth).token)</script>"
    )
    simulator.client.set_route("GET", "/aurora/", 200, said)
    with pytest.raises(SubmissionError), runs.session() as opened:
        opened.list_history(LONG_AGO)
    simulator.client.clear_routes()
    said = f"'[secret] {TOKEN.removesuffix(SIGNATURE)}[secret]'"
    assert f"signed in anew: the page opened a dialog that the pack does not declare: {said}" in caplog.text
    assert cookie not in caplog.text
    assert SIGNATURE not in caplog.text


def test_a_session_fits_one_pack_adapter_portal_and_log_in(runs: Runs) -> None:
    pack: Pack = load_pack(runs.selectors, OEM)
    account = replace(runs.account, totp_secret="JBSW")
    others = [
        fits(replace(pack, digest="another"), "adapter", account, "https://a.example"),
        fits(pack, "another", account, "https://a.example"),
        fits(pack, "adapter", account, "https://b.example"),
        *(
            fits(pack, "adapter", replace(account, **{part: "another"}), "https://a.example")
            for part in ("oem", "dealer", "username", "password", "totp_secret")
        ),
    ]
    assert len({fits(pack, "adapter", account, "https://a.example"), *others}) == 1 + len(others)
