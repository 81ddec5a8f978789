"""Commands on a real ledger: documents on stdout, sentences on stderr, exit codes as published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.aurora.portal import Aurora
from adapters.registry import ADAPTERS
from oem_submissions.cli.verdicts import Verdicts
from oem_submissions.cli.watch import watch
from oem_submissions.domain.dispositions import Disposition, Seen
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import AlertKind, Pins
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import SealedSession, WrappedKey
from oem_submissions.services.health import resolve_losses
from oem_submissions.services.release import declare_live
from oem_submissions.services.review import Verdict, VerdictRefused
from oem_submissions.settings import SettingsError, read_settings
from oem_submissions_tests.evidence import samples
from oem_submissions_tests.evidence.sealing import FixedSigner, sealed_bundle
from oem_submissions_tests.forks import run_command
from oem_submissions_tests.making import PINS, new_claim
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import expire_leases, run


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@pytest.fixture
def variables(database_url: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a command on this test's ledger."""
    own = {"OEM_SUBMISSIONS_DATABASE_URL": database_url, "OEM_SUBMISSIONS_HOME": str(tmp_path), "USER": "ana"}
    return {**os.environ, **own}


@pytest.fixture
def command(variables: dict[str, str], tmp_path: Path) -> Callable[..., Ended]:
    """Runs `oem-submissions WORDS` on this test's ledger, in a process that has everything imported."""

    def run(*words: str, **environment: str) -> Ended:
        out, err = tmp_path / "command.out", tmp_path / "command.err"
        return Ended(run_command(words, variables | environment, out, err, 120), out.read_text(), err.read_text())

    return run


@pytest.fixture
def whole_command(variables: dict[str, str]) -> Callable[..., Ended]:
    """The same from the start of Python on: its terminal is measured at the import."""

    def run(*words: str, **environment: str) -> Ended:
        command = [sys.executable, "-m", "oem_submissions.cli", *words]
        done = subprocess.run(
            command, env=variables | environment, capture_output=True, text=True, check=False, timeout=120
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


def test_enqueue_requests_due_work_and_says_so(command: Callable[..., Ended], ledger: Ledger) -> None:
    nothing = command("enqueue", "aurora", "--json")
    assert (nothing.code, nothing.document) == (0, {"oem": "aurora", "request_id": None, "due": [], "closed": None})
    ledger.add_claim(new_claim())
    some = command("enqueue", "aurora", "--dealer", "10234", "--json").document
    assert [(work["dealer"], work["period"], work["claims"]) for work in some["due"]] == [("10234", "2026-11-10", 1)]
    (request,) = ledger.enqueue_requests(after=0)
    assert (request.request_id, request.dealers, request.requested_by) == (some["request_id"], ("10234",), "ana")


def test_a_look_up_tells_what_the_oem_decided(
    command: Callable[..., Ended], whole_command: Callable[..., Ended], ledger: Ledger
) -> None:
    ledger.add_claim(new_claim())
    (claim,) = run(ledger, FakePortal())
    reference = str(claim.reference)
    assert command("lookup", reference, "--json").document["claims"][0]["disposition"] is None
    lease = ledger.acquire_lease("aurora", "10234", "run", "worker", 60)
    assert lease is not None
    ledger.see(claim, None, Seen(Disposition.CHARGED_BACK, "Charged back\N{RIGHT-TO-LEFT OVERRIDE}[red]"), lease)
    (story,) = command("lookup", reference, "--json").document["claims"]
    assert (story["state"], story["disposition"]["disposition"]) == ("CONFIRMED", "CHARGED_BACK")
    assert story["disposition"]["expected"] is False
    ended = whole_command("lookup", reference, COLUMNS="400")
    shown = " ".join((ended.out + ended.err).split())
    assert "CHARGED_BACK, 'Charged back⟨U+202E⟩[red]'" in shown
    assert "not expected after what it was" in shown
    assert "says Charged back⟨U+202E⟩[red]" in shown
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in shown


def test_an_unknown_oem_is_wrong_use_and_the_known_ones_are_named(command: Callable[..., Ended]) -> None:
    ended = command("enqueue", "nowhere")
    assert ended.code == 2
    assert "aurora" in ended.err
    assert "borealis" in ended.err


def test_lookup_tells_the_story(command: Callable[..., Ended], ledger: Ledger) -> None:
    claim = ledger.add_claim(new_claim(reason=ReasonCode.PAYLOAD_INVALID, reason_text="vin: wrong", natural_key=None))
    (story,) = command("lookup", "ro000001", "--json").document["claims"]
    assert (story["claim_id"], story["reason"], story["chain"]) == (claim.claim_id, "PAYLOAD_INVALID", "intact")
    assert "Correct the record in the CRM" in story["next"]
    people = command("lookup", "REC0001")
    assert (people.code, people.out) == (0, "")
    assert "vin: wrong" in people.err


def test_what_is_not_there_is_said_with_code_one(command: Callable[..., Ended]) -> None:
    ended = command("lookup", "WC-0")
    assert (ended.code, ended.out) == (1, "")
    assert "Nothing is known under 'WC-0'" in ended.err


def test_a_database_that_does_not_answer_is_one_sentence_with_code_three(command: Callable[..., Ended]) -> None:
    ended = command("status", OEM_SUBMISSIONS_DATABASE_URL="postgresql://nobody:hunter2@127.0.0.1:9/none")
    assert ended.code == 3
    assert "The ledger's database does not answer" in ended.err
    assert "Traceback" not in ended.err
    assert "hunter2" not in ended.err
    debugged = command("status", "--debug", OEM_SUBMISSIONS_DATABASE_URL="postgresql://x@127.0.0.1:9/n")
    assert "Traceback" in debugged.err


def test_dead_letters_are_counted_before_they_are_redriven(command: Callable[..., Ended], ledger: Ledger) -> None:
    dead = ledger.add_claim(new_claim(reason=ReasonCode.PORTAL_UNAVAILABLE, reason_text="down"))
    invalid = ledger.add_claim(new_claim(2, reason=ReasonCode.PAYLOAD_INVALID, reason_text="vin", natural_key=None))
    listed = command("dead-letters", "list", "--json").document["dead_letters"]
    assert {row["claim_id"] for row in listed} == {dead.claim_id, invalid.claim_id}
    dry = command("dead-letters", "redrive", "--dry-run", "--json").document
    assert (dry["redriven"], dry["matching"]) == (0, [dead.claim_id, invalid.claim_id])
    assert [(row["reason"], row["claims"]) for row in dry["counts"]] == [
        ("PAYLOAD_INVALID", 1),
        ("PORTAL_UNAVAILABLE", 1),
    ]
    words = ("dead-letters", "redrive", "--reason", "PORTAL_UNAVAILABLE")
    assert command(*words, "--pack", "v0009", "--json").document["redriven"] == 0
    assert command(*words, "--by", "Ana", "--json").document["redriven"] == 1
    assert ledger.events(dead.claim_id)[-1].actor == "Ana"


def test_a_dead_letter_shows_every_attempt_and_what_to_do(command: Callable[..., Ended], ledger: Ledger) -> None:
    claim = ledger.add_claim(new_claim())
    refused = StepFailed(ReasonCode.LOGIN_FAILED, "The portal refused the log-in.", "log in")
    run(ledger, FakePortal(failures=[refused]))
    shown = command("dead-letters", "show", claim.claim_id, "--json").document
    assert (shown["reason"], shown["class"], shown["stage"]) == ("LOGIN_FAILED", "account", "prepare")
    (attempt,) = shown["attempts"]
    assert (attempt["number"], attempt["armed"], attempt["step"], attempt["pack"]) == (1, False, "log in", "v0001")
    assert "before anything tries again" in shown["next"]
    people = command("dead-letters", "show", claim.claim_id)
    assert "The portal refused the log-in." in people.err
    assert "no dead letter" not in people.err
    assert command("dead-letters", "show", "nothing").code == 1


def test_breakers_and_alerts_are_shown_and_a_person_resets_them(command: Callable[..., Ended], ledger: Ledger) -> None:
    ledger.add_claim(new_claim())
    refused = StepFailed(ReasonCode.LOGIN_FAILED, "The portal refused the log-in.", "log in")
    run(ledger, FakePortal(failures=[refused]))
    (alert,) = command("status", "--json").document["alerts"]
    assert (alert["kind"], alert["dealer"]) == ("account_refused", "10234")
    assert "ALERT" in command("status").err
    (breaker,) = command("breakers", "list", "--json").document["breakers"]
    assert (breaker["oem"], breaker["dealer"], breaker["position"]) == ("aurora", "10234", "open")
    assert command("breakers", "reset", "aurora").code == 1
    assert command("breakers", "reset", "aurora", "--dealer", "10234", "--by", "Ana").code == 0
    assert command("breakers", "list", "--json").document["breakers"][0]["position"] == "half-open"


def test_watch_puts_right_what_a_lost_worker_left_without_dagster(ledger: Ledger) -> None:
    claim = ledger.add_claim(new_claim())
    lease = ledger.acquire_lease("aurora", "10234", "run-9", "worker-9", 60)
    assert lease is not None
    ledger.start_attempt(claim, lease, PINS)
    stop = threading.Event()
    looking_after = threading.Thread(target=watch, args=(ledger, 0.6, stop))
    looking_after.start()
    expire_leases(ledger)
    try:
        while not (alerts := ledger.alerts()):
            looking_after.join(0.05)
            assert looking_after.is_alive()
    finally:
        stop.set()
        looking_after.join()
    assert (alerts[0].kind, alerts[0].run_id) == (AlertKind.WORKER_LOST, "run-9")
    assert f"claim {claim.claim_id} before the click, so that nothing was filed" in alerts[0].text
    assert ledger.held_leases() == []
    resolve_losses(ledger)
    assert len(ledger.alerts()) == 1
    run(ledger, FakePortal())
    resolve_losses(ledger)
    assert ledger.alerts() == []  # its claim has come to rest


def test_a_verdict_names_its_person_and_is_checked_by_the_pack(
    command: Callable[..., Ended], ledger: Ledger, tmp_path: Path
) -> None:
    evidence = DirectoryStore(tmp_path / "evidence")
    portal = FakePortal(lose_request=True, rules=None)
    claim = ledger.add_claim(new_claim())
    for _ in range(2):
        run(ledger, portal, evidence)
    letters = "ABCDEFGHJKLMNPRSTUVWXYZ"
    number = next(n for n in (f"WC-2026-000007-{c}" for c in letters) if Aurora().reference_is_plausible(n))
    verdicts = Verdicts(ledger, evidence, read_settings({"OEM_SUBMISSIONS_HOME": str(tmp_path)}))

    def say(reference: str | None, verdict: Verdict = Verdict.FILED) -> None:
        held = ledger.claim(claim.claim_id)
        assert held is not None
        verdicts.carry_out(held, verdict, "Ana", "seen", reference, None)

    with pytest.raises(VerdictRefused, match="does not have the form of a claim number"):
        say("WC-7")
    with pytest.raises(VerdictRefused, match="goes with the verdict 'filed'"):
        say(number, Verdict.NOT_FILED)
    with pytest.raises(VerdictRefused, match="has no picture of the answer"):
        say(number)
    with pytest.raises(VerdictRefused, match="may not list claim .* yet: look again after"):
        say(None, Verdict.NOT_FILED)
    picture = tmp_path / "seen.webp"
    picture.write_bytes(samples.shot("Claim history"))
    words = ("review", "decide", claim.claim_id, "--verdict", "filed", "--by", "Ana", "--why", "seen in the history")
    done = command(*words, "--reference", number, "--picture", str(picture), "--json")
    assert done.document == {"claim_id": claim.claim_id, "state": "CONFIRMED", "reference": number}
    assert ledger.events(claim.claim_id)[-1].actor == "Ana"


def test_verify_says_which_file_is_wrong(command: Callable[..., Ended], tmp_path: Path) -> None:
    made, key = sealed_bundle(), tmp_path / "evidence-pub.pem"
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(made.zip_bytes)
    key.write_bytes(FixedSigner().public_key_pem)
    whole = command("verify", str(bundle), "--key", str(key), "--json")
    assert (whole.code, whole.document["digest"]) == (0, made.digest)
    bundle.write_bytes(made.zip_bytes.replace(b'"AUR-4471902"', b'"AUR-4471903"', 1))
    broken = command("verify", str(bundle), "--key", str(key))
    assert broken.code == 1
    assert "submission.json" in broken.err


def test_without_a_key_to_trust_no_bundle_verifies(command: Callable[..., Ended], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(sealed_bundle().zip_bytes)
    ended = command("verify", str(bundle))
    assert ended.code == 1
    assert "no trusted key is known here" in ended.err
    bad = tmp_path / "bad.pem"
    bad.write_text("hello")
    ended = command("verify", str(bundle), "--key", str(bad))
    assert ended.code == 3
    assert "bad.pem can't be used to verify: it is no public key in PEM." in " ".join(ended.err.split())


def test_doctor_names_what_is_missing(command: Callable[..., Ended]) -> None:
    ended = command("doctor", "--json")
    parts = {part["part"]: part for part in ended.document["parts"]}
    assert ended.code == 1
    assert parts["browser"]["ok"]
    assert parts["ledger"]["ok"]
    assert "OEM_SUBMISSIONS_CRM_URL" in parts["CRM"]["says"]
    assert "OEM_SUBMISSIONS_PORTAL_URL_AURORA" in parts["portal aurora"]["says"]


def test_status_counts_per_oem(command: Callable[..., Ended], ledger: Ledger) -> None:
    ledger.add_claim(new_claim())
    aurora = next(row for row in command("status", "--json").document["oems"] if row["oem"] == "aurora")
    assert (aurora["ready"], aurora["filed"], aurora["last_tick"]) == (1, 0, None)
    assert aurora["queue_age_seconds"] >= 0


def test_dealers_are_imported_all_or_none(command: Callable[..., Ended], tmp_path: Path, ledger: Ledger) -> None:
    file = tmp_path / "dealers.csv"
    file.write_text("oem,dealer,name,pilot\naurora,10234,Lakeside,yes\naurora,,Nobody,no\n")
    ended = command("dealers", "import", str(file))
    assert ended.code == 1
    assert "line 3" in ended.err
    assert ledger.dealers("aurora") == []
    file.write_text("oem,dealer,name,pilot\naurora,10234,Lakeside,yes\n")
    assert command("dealers", "import", str(file)).code == 0
    assert ledger.dealers("aurora") == ["10234"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LEASE_SECONDS", "soon"),
        ("CLICK_SECONDS", "59"),
        ("DATABASE_URL", "mysql://x"),
        ("START_DATE", "yesterday"),
        ("ATTEMPTS_BUDGET", "0"),
        ("LOG_ORIGIN", "two words"),
        ("LOG_ORIGIN", "a+b"),
    ],
)
def test_a_malformed_setting_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"OEM_SUBMISSIONS_{variable}"):
        read_settings({f"OEM_SUBMISSIONS_{variable}": value})


def test_the_logs_name_and_the_key_have_defaults() -> None:
    settings = read_settings({"OEM_SUBMISSIONS_DESK_URL": "https://desk.example:8443/x", "OEM_SUBMISSIONS_HOME": "/h"})
    assert settings.log_origin == "desk.example/evidence-log"
    assert (settings.signing_key_path, settings.keys) == (Path("/h/keys/evidence-signing.pem"), Path("/h/keys"))
    kms = read_settings({"OEM_SUBMISSIONS_SIGNING_KEY": "awskms:alias/x", "OEM_SUBMISSIONS_HOME": "/h"})
    assert (kms.signing_key_path, kms.keys) == (None, Path("/h/keys"))


def test_the_release_is_shown_approved_suspended_resumed_and_rolled_back(
    command: Callable[..., Ended], ledger: Ledger
) -> None:
    nothing = command("release", "show", "aurora")
    assert (nothing.code, "No release of aurora was seen yet" in nothing.err) == (1, True)
    adapter = ADAPTERS["aurora"]
    for version in ("v0001", "v0002"):
        declare_live(ledger, "aurora", Pins(adapter.digest, version, f"digest of {version}"), "test", "seen in a test")
    document = command("release", "show", "aurora", "--json").document
    assert document["release"]["pack"] == "v0002"
    assert document["release"]["adapter_digest"] == adapter.digest
    assert (document["state"], document["streak"], document["needed"], document["runs"]) == ("live", 0, 5, [])
    assert document["baseline"] | {"success_rate_95": 0, "frozen": 0} == {
        "n": 0, "median_seconds": None, "success_rate": None, "success_rate_95": 0, "frozen": 0,
    }  # fmt: skip
    named = ("aurora", "--by", "Ann", "--why", "the dealers complain")
    assert command("release", "resume", *named).code == 1
    assert command("release", "suspend", *named).code == 0
    suspended = command("release", "show", "aurora")
    assert "suspended" in suspended.err
    assert "Ann: the dealers complain" in suspended.err
    claim = ledger.add_claim(new_claim())
    assert "suspended" in command("enqueue", "aurora", "--json").document["closed"]
    assert command("release", "resume", *named).code == 0
    assert command("release", "rollback", *named).code == 0
    assert command("release", "show", "aurora", "--json").document["release"]["pack"] == "v0001"
    approve = command("release", "approve", "aurora", "--by", "Ann")
    assert (approve.code, "nothing to approve" in approve.err) == (1, True)
    assert command("release", "expect-rejection", claim.claim_id, "--by", "Ann", "--why", "a test of theirs").code == 0
    assert command("release", "rebaseline", *named).code == 0
    row = command("status", "--json").document["oems"][0]
    assert (row["release"], row["state"]) == ("v0001", "live")


def test_a_pilot_is_yes_or_no_and_anything_else_imports_nothing(
    command: Callable[..., Ended], ledger: Ledger, tmp_path: Path
) -> None:
    file = tmp_path / "dealers.csv"
    file.write_text("oem,dealer,pilot\naurora,10234,Yes\naurora,10871,maybe\n")
    refused = command("dealers", "import", str(file))
    assert (refused.code, "line 3: pilot is 'maybe'" in refused.err, ledger.pilots("aurora")) == (1, True, [])
    file.write_text("oem,dealer,pilot\naurora,10234,Yes\naurora,10871,\n")
    assert command("dealers", "import", str(file)).code == 0
    listed = command("dealers", "list", "--json").document["dealers"]
    assert [(row["dealer"], row["pilot"]) for row in listed] == [("10234", True), ("10871", False)]


def test_a_restored_ledger_is_held_and_said_to_be_over(command: Callable[..., Ended], ledger: Ledger) -> None:
    ledger.add_claim(new_claim())
    words = ("restored", "hold", "--by", "Ana", "--why", "the disk was lost")
    for wrong, why in (
        ("yesterday", "is no time"),
        ("2026-11-26T02:10", "time zone"),
        ("9999-01-01T00:00Z", "not come"),
    ):
        refused = command(*words, "--since", wrong)
        assert refused.code == 2
        assert why in " ".join(refused.err.split())
    held = command(*words, "--since", "2026-11-10T02:10:00+01:00", "--json").document
    assert held["in_doubt"] == 1
    (row,) = [row for row in held["oems"] if row["oem"] == "aurora"]
    assert (row["in_doubt"], row["is_over"], row["by"]) == ("1 READY", False, "Ana")
    assert {row["oem"] for row in held["oems"]} == set(ADAPTERS)
    assert ledger.add_claim(new_claim(2)).in_doubt_since is not None
    over = ("restored", "over", "--oem", "aurora", "--by", "Ana", "--why", "all were taken in")
    assert command(*over).code == 0
    assert ledger.add_claim(new_claim(3)).in_doubt_since is None
    again = command(*over)
    assert (again.code, "No restore is under way" in again.err) == (1, True)
    assert "2 READY" in command("restored", "show", "--json").out


def test_a_claim_is_withdrawn_before_it_is_filed_and_never_after(command: Callable[..., Ended], ledger: Ledger) -> None:
    words = ("--by", "Ana", "--why", "cancelled by the dealer")
    ledger.add_claim(new_claim(1))
    (filed,) = run(ledger, FakePortal())
    refused = command("withdraw", filed.claim_id, *words)
    assert (refused.code, "may be filed" in refused.err) == (1, True)
    ready = ledger.add_claim(new_claim(2))
    assert command("withdraw", ready.claim_id, *words).code == 0
    withdrawn = ledger.claim(ready.claim_id)
    assert withdrawn is not None
    assert (withdrawn.state, withdrawn.reason_text) == (State.WITHDRAWN, "Withdrawn by Ana: cancelled by the dealer")
    portal = FakePortal()
    run(ledger, portal)
    assert portal.filed == []
    assert ledger.untold() == [withdrawn]  # and filed is not sealed here


def test_kept_sessions_are_listed_without_what_is_in_them_and_thrown_away(
    command: Callable[..., Ended], ledger: Ledger
) -> None:
    for dealer in ("10234", "20000"):
        lease = ledger.acquire_lease("aurora", dealer, "run-7", "worker", 60)
        assert lease is not None
        session = SealedSession(WrappedKey(b"a wrapped key", "local:1"), b"what is sealed", 120)
        assert ledger.keep_session(lease, session, 3600)
        if dealer == "10234":
            ledger.release_lease(lease)
    listed = command("sessions", "list", "--json")
    assert [(row["oem"], row["dealer"], row["run_id"]) for row in listed.document["sessions"]] == [
        ("aurora", "10234", "run-7"), ("aurora", "20000", "run-7"),
    ]  # fmt: skip
    assert "sealed" not in listed.out
    assert "wrapped" not in listed.out
    assert "20000" in command("sessions", "list").err
    assert command("sessions", "forget", "nowhere").code == 2
    assert command("sessions", "forget", "aurora", "--dealer", "10234", "--json").document == {
        "forgotten": 1, "under_way": [],
    }  # fmt: skip
    said = " ".join(command("sessions", "forget", "aurora").err.split())
    assert said.startswith("1 thrown away. Under way, and kept again when they end well: 20000.")
    assert command("sessions", "list").err.strip() == "No session is kept."
