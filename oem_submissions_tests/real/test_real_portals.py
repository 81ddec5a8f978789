"""Real applications: from a CRM record into them and back, and once, whatever happens on the wire or to a worker.

Judged by the application's own database, the ledger, the evidence and the CRM. What can be done to an application from
outside is in `wire`; each kind of it comes once, at the application that shows more.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from oem_submissions import wiring
from oem_submissions.conformance.stage import Stage
from oem_submissions.conformance.suite import Outcome, chosen, run_suite
from oem_submissions.conformance.trial import Trial, begin
from oem_submissions.domain.evidence import POST_CONFIRM, PRE_SUBMIT, bundle_key
from oem_submissions.domain.records import Claim
from oem_submissions.domain.states import State
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.simulator.samples import Made
from oem_submissions_tests.real.stage import RealPortal, real_stage

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


def test_a_claim_goes_from_its_crm_record_into_trac_and_comes_back_with_number_and_proof(stages: Stages) -> None:
    with begin(stages.of("trac"), 91, "warranty") as trial:
        claim = trial.come_due(with_files(trial.make(), "odometer.jpg", "failed part.jpg"))
        trial.work()
        judge(trial, trial.claim(claim.claim_id), looked_up=False)


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
    assert claim.bundle_digest is not None
    bundle = trial.stage.evidence.get(bundle_key(claim.claim_id, claim.bundle_digest))
    assert verify_bundle(bundle, claim.bundle_digest, wiring.trusted_keys(trial.stage.settings)).findings == ()
    assert {PRE_SUBMIT, POST_CONFIRM} <= {kept.name for kept in trial.stage.ledger.artifacts(claim.claim_id)}
    looks = [event for event in trial.stage.ledger.events(claim.claim_id) if event.to_state is State.RECONCILING]
    assert bool(looks) == looked_up
    assert trial.truth()["submit_posts"] == 1


def with_files(made: Made, *names: str) -> Made:
    payload, files = made
    return payload, [{**files[0], "name": name} for name in names]


def real(trial: Trial) -> RealPortal:
    portal = trial.stage.simulator
    assert isinstance(portal, RealPortal)
    return portal
