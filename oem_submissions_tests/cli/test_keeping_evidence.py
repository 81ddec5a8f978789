"""`evidence erase`, `hold`, `release`, `holds`, `prune`, as people type them; what `doctor` says of store and keys."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from oem_submissions.cli.doctor import diagnose
from oem_submissions.domain.evidence import attachment_key
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim
from oem_submissions.ledger.store import Ledger
from oem_submissions.settings import EnvironmentSecrets, Settings, read_settings
from oem_submissions.wiring import evidence_store
from oem_submissions_tests.forks import run_command
from oem_submissions_tests.making import new_claim

WHO = ("--by", "Ana", "--why", "Article 17 request")
Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return read_settings({"OEM_SUBMISSIONS_HOME": str(tmp_path), "OEM_SUBMISSIONS_DATABASE_URL": database_url})


@pytest.fixture
def command(settings: Settings, tmp_path: Path) -> Run:
    """Runs `oem-submissions evidence WORDS`: exit code, JSON on stdout if there is any, stderr."""
    own = {"OEM_SUBMISSIONS_HOME": str(tmp_path), "OEM_SUBMISSIONS_DATABASE_URL": str(settings.database_url)}

    def run(*words: str) -> tuple[int, Any, str]:
        out, err = tmp_path / "out", tmp_path / "err"
        code = run_command(("evidence", *words), {**os.environ, **own, "USER": "ana"}, out, err, 120)
        return code, json.loads(out.read_text() or "null"), err.read_text()

    return run


@pytest.fixture
def claim(ledger: Ledger, settings: Settings) -> Claim:
    """A dead claim with a file."""
    dead = ledger.add_claim(new_claim(reason=ReasonCode.CUTOFF_PASSED, reason_text="too late"))
    evidence_store(settings, ledger).put(attachment_key(dead.claim_id, "1" * 64), b"\xff\xd8\xff a photo")
    return dead


def test_a_claims_personal_data_is_counted_and_then_erased(command: Run, ledger: Ledger, claim: Claim) -> None:
    code, would, _ = command("erase", claim.claim_id, *WHO, "--dry-run", "--json")
    assert (code, would["erased"], len(would["keys"])) == (0, False, 1)
    assert would["fields"] == ["cause", "complaint", "correction", "technician"]
    assert ledger.claim(claim.claim_id) == claim
    code, _, said = command("erase", claim.claim_id, *WHO)
    assert (code, "its data key, 1 files and cause" in said) == (0, True)
    event = ledger.events(claim.claim_id)[-1]
    assert (event.kind, event.actor, event.details["why"]) == ("erased", "Ana", "Article 17 request")
    assert command("erase", claim.claim_id, *WHO)[0] == 0


def test_what_may_not_be_erased_is_one_sentence_with_code_one(command: Run, ledger: Ledger, claim: Claim) -> None:
    ready = ledger.add_claim(new_claim(2))
    code, document, said = command("erase", ready.claim_id, *WHO, "--json")
    assert (code, document) == (1, None)
    assert "is READY: it has not come to rest" in said
    assert command("erase", claim.claim_id, "--by", " ", "--why", "x")[0] == 1
    assert command("erase", claim.claim_id)[0] == 2
    assert ledger.claim(claim.claim_id) == claim


def test_holds_are_placed_listed_kept_and_lifted(command: Run, claim: Claim) -> None:
    assert command("holds")[2].strip() == "No claim is under a legal hold."
    assert command("hold", claim.claim_id, *WHO, "--json")[1]["changed"] is True
    (held,) = command("holds", "--json")[1]["holds"]
    assert (held["claim_id"], held["by"], held["why"]) == (claim.claim_id, "Ana", "Article 17 request")
    code, _, said = command("erase", claim.claim_id, *WHO)
    assert (code, "under a legal hold since" in said) == (1, True)
    assert command("release", claim.claim_id, *WHO)[0] == 0
    assert command("holds", "--json")[1]["holds"] == []


def test_pruning_says_what_would_go_and_what_went(command: Run, ledger: Ledger, claim: Claim) -> None:
    with ledger._engine.begin() as connection:
        connection.execute(text("UPDATE claims SET updated_at = updated_at - interval '24 months'"))
    assert command("prune", "--dry-run", "--json")[1]["pruned"] == [claim.claim_id]
    code, _, said = command("prune")
    assert (code, "1 claims are pruned" in said) == (0, True)
    assert ledger.events(claim.claim_id)[-1].actor == "ana"
    assert command("prune", "--json")[1]["pruned"] == []


# --- doctor --------------------------------------------------------------------------------------------------------


def diagnoses(settings: Settings) -> dict[str, tuple[bool, str]]:
    found = diagnose(settings, EnvironmentSecrets({}))
    return {
        each.part: (each.ok, each.says) for each in found if each.part in ("evidence store", "key of personal data")
    }


def test_doctor_says_where_evidence_and_keys_are_and_makes_none(settings: Settings, tmp_path: Path) -> None:
    said = diagnoses(settings)
    assert said["evidence store"] == (
        True,
        f"{tmp_path}/evidence: write-once; whoever may write to this disk can delete evidence",
    )
    assert said["key of personal data"][0]
    assert "made when first needed: keep a copy" in said["key of personal data"][1]
    assert not (tmp_path / "keys").exists()
