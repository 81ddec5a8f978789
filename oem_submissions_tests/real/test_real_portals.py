"""Real applications: from a CRM record into them and back, and once, whatever happens on the wire or to a worker.

Judged by the application's own database, the ledger, the evidence and the CRM. What can be done to an application from
outside is in `wire`; each kind of it comes once, at the application that shows more.
"""

from __future__ import annotations

import base64
import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from oem_submissions import wiring
from oem_submissions.conformance.stage import Stage
from oem_submissions.conformance.suite import Outcome, chosen, run_suite
from oem_submissions.conformance.trial import Trial, begin
from oem_submissions.domain.dispositions import Disposition
from oem_submissions.domain.evidence import POST_CONFIRM, PRE_SUBMIT, bundle_key
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.domain.sweeping import Kind
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.services.bound import Services
from oem_submissions.services.dispositions import poll_dispositions
from oem_submissions.services.release import OpenGate
from oem_submissions.services.submit import Partition
from oem_submissions.services.sweep import sweep_account
from oem_submissions.settings import EnvironmentSecrets
from oem_submissions.simulator.samples import Made
from oem_submissions_tests.crm.roundup import RoundupWorld, roundup_world
from oem_submissions_tests.making import warranty_payload
from oem_submissions_tests.real import trac
from oem_submissions_tests.real.stage import RealPortal, real_stage

DEALER, TODAY = "10001", datetime.now(UTC).date()
PNG = b"\x89PNG\r\n\x1a\n"
SCENARIOS = (
    ("trac", "reset after filing"),
    ("trac", "killed after the click"),
    ("trac", "log-in refused"),
    ("roundup", "reset before filing"),
    ("roundup", "session expired"),
    ("roundup", "slow"),
)


class Stages:
    """One stage, kept for the tests of the same application that follow each other."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres, self._open = postgres, ExitStack()
        self._stages: dict[str, Stage] = {}

    def of(self, oem: str) -> Stage:
        if oem not in self._stages:
            self.close()
            scratch = self._open.enter_context(tempfile.TemporaryDirectory(prefix="oem-submissions-real-"))
            self._stages[oem] = self._open.enter_context(real_stage(oem, self._postgres, Path(scratch)))
        return self._stages[oem]

    def close(self) -> None:
        self._stages.clear()
        self._open.close()


@pytest.fixture(scope="module")
def stages(postgres: EmbeddedPostgres) -> Iterator[Stages]:
    kept = Stages(postgres)
    yield kept
    kept.close()


@pytest.mark.parametrize(("oem", "name"), SCENARIOS, ids=[f"{oem}, {name}" for oem, name in SCENARIOS])
def test_a_real_application_has_the_claim_once_whatever_happens(
    oem: str, name: str, stages: Stages, tmp_path: Path
) -> None:
    (result,) = run_suite(stages.of(oem), chosen([name]), tmp_path)
    assert (result.outcome, result.problems) == (Outcome.PASSED, ())


def test_a_claim_goes_from_a_record_of_a_real_crm_into_trac_and_comes_back_with_number_and_proof(
    stages: Stages,
) -> None:
    stage, files = stages.of("trac"), [(name, "photo", PNG + name.encode()) for name in ("odometer.png", "part 2.png")]
    before = len(stage.simulator.client.truth("trac")["filings"])
    with roundup_world() as crm, services_of(stage, crm) as services:
        record_id = crm.add(
            "RO000091, line 1", warranty_payload(91, DEALER), oem="trac", dealer=DEALER, due_on=TODAY, files=files
        )
        [claim_id] = services.take_in().taken_in
        partition = Partition("trac", DEALER, TODAY.isoformat())
        services.submit(partition, "run-1", "worker", stage.portal)
        assert services.seal(partition, "run-1", "worker") == []
        assert services.sync(partition, "run-1", "worker") == []
        claim = stage.ledger.claim(claim_id)
        assert claim is not None
        assert services.crm_agrees(claim)
        held = {name: crm.held(record_id, name) for name in ("submission_status", "submission_reference")}
    [filing] = stage.simulator.client.truth("trac")["filings"][before:]
    assert {one["name"]: one["sha256"] for one in filing["attachments"]} == {
        name: hashlib.sha256(data).hexdigest() for name, _, data in files
    }
    assert held == {"submission_status": "FILED", "submission_reference": filing["reference"]}
    assert (claim.state, claim.reference) == (State.SYNCED, filing["reference"])
    check_proof(stage, claim)


@contextmanager
def services_of(stage: Stage, crm: RoundupWorld) -> Iterator[Services]:
    """The services as a worker has them, with Roundup as the CRM."""
    log_in = {"username": DEALER, "password": trac.USERS[DEALER]}
    secrets = {EnvironmentSecrets.where(f"portal/trac/{DEALER}/{part}"): said for part, said in log_in.items()}
    parts = {"ledger": stage.ledger, "evidence": stage.evidence, "adapters": {"trac": stage.subject.adapter}}
    with wiring.build(
        stage.settings, crm=crm.crm, secrets=EnvironmentSecrets(secrets), gate=OpenGate(), **parts
    ) as services:
        yield services


def test_files_that_did_not_all_arrive_are_sent_by_the_look_and_none_twice(stages: Stages) -> None:
    with begin(stages.of("trac"), 92, "warranty") as trial:
        claim = trial.come_due(with_files(trial.make(), "odometer.jpg", "failed part.jpg"))
        real(trial).set_fault("trac", "uploads_lost")
        trial.work()
        held = trial.claim(claim.claim_id)
        assert (held.state, [len(filed.files) for filed in real(trial).filed()[-1:]]) == (State.OUTCOME_UNKNOWN, [1])
        assert "The portal took the claim, but not its files." in str(held.reason_text)
        trial.portal_recovers()
        trial.later(2)
        trial.work()
        judge(trial, trial.claim(claim.claim_id), looked_up=True)


def test_a_real_list_that_tells_ages_is_swept_and_polled_by_the_times_in_its_tooltips(stages: Stages) -> None:
    with begin(stages.of("trac"), 93, "warranty") as trial:
        claim_id = trial.come_due().claim_id
        trial.work()
        trial.later(2)
        number = str(trial.claim(claim_id).reference)
        by_hand = {"field_repair_order": "RO-BY-HAND", "field_repair_line": "1", "field_coverage": "Basic"}
        act_as_a_person(trial, "/newticket", {"field_summary": "By hand", "submit": "Create ticket", **by_hand})
        act_as_a_person(trial, f"/ticket/{number[1:]}", {
            "action": "resolve", "action_resolve_resolve_resolution": "fixed", "submit": "Submit changes",
        })  # fmt: skip
        dealer, services = trial.account.dealer, trial.services
        sweep = sweep_account(services.reader("trac", dealer, "sweep", "worker", trial.stage.portal)).sweep
        assert ([found.kind for found in sweep.findings], sweep.conclusive) == ([Kind.HAND_KEYED], True)
        poll_dispositions(services.reader("trac", dealer, "poll", "worker", trial.stage.portal))
        standing = trial.stage.ledger.standings("trac", dealer)[claim_id]
        assert standing.disposition is Disposition.PAID


def act_as_a_person(trial: Trial, path: str, fields: dict[str, str]) -> None:
    """Send Trac's form on that page, by hand."""
    account, url = trial.account, f"{real(trial).http_url}{path}"
    with requests.Session() as session:
        session.auth = (account.username, account.password)
        session.get(f"{real(trial).http_url}/login", timeout=30)
        kept = dict(
            re.findall(r'<input type="hidden" name="([^"]+)"\s+value="([^"]*)"', session.get(url, timeout=30).text)
        )
        answer = session.post(url, data={"action": "create"} | kept | fields, timeout=30, allow_redirects=False)
    assert answer.status_code == 303, answer.text[:2000]


def judge(trial: Trial, claim: Claim, *, looked_up: bool) -> None:
    """Filed once with its files, told to the CRM, proven."""
    (filing,) = trial.truth()["filings"]
    _, files = trial.made[claim.claim_id]
    assert sorted(file["name"] for file in filing["attachments"]) == sorted(file["name"] for file in files)
    assert [len(base64.b64decode(file["content"])) for file in files] == [f["size"] for f in filing["attachments"]]
    assert (claim.state, claim.reference) == (State.SYNCED, filing["reference"])
    told = trial.crm.read_outcome(claim.crm_record_id)
    assert told is not None
    assert (told.status, told.reference, told.evidence_digest) == ("FILED", filing["reference"], claim.bundle_digest)
    check_proof(trial.stage, claim)
    looks = [event for event in trial.stage.ledger.events(claim.claim_id) if event.to_state is State.RECONCILING]
    assert bool(looks) == looked_up
    assert trial.truth()["submit_posts"] == 1


def check_proof(stage: Stage, claim: Claim) -> None:
    """The bundle verifies, and has both pictures."""
    assert claim.bundle_digest is not None
    bundle = stage.evidence.get(bundle_key(claim.claim_id, claim.bundle_digest))
    assert verify_bundle(bundle, claim.bundle_digest, wiring.trusted_keys(stage.settings)).findings == ()
    assert {PRE_SUBMIT, POST_CONFIRM} <= {kept.name for kept in stage.ledger.artifacts(claim.claim_id)}


def with_files(made: Made, *names: str) -> Made:
    payload, files = made
    return payload, [{**files[0], "name": name} for name in names]


def real(trial: Trial) -> RealPortal:
    portal = trial.stage.simulator
    assert isinstance(portal, RealPortal)
    return portal
