"""A claim's whole way: from a record of a real Roundup, by a mapping file, through a portal, back into the record."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from adapters import registry
from oem_submissions import wiring
from oem_submissions.cli.doctor import diagnose
from oem_submissions.domain.records import Pins
from oem_submissions.domain.states import State
from oem_submissions.ledger.store import Ledger
from oem_submissions.portal import runtime
from oem_submissions.portal.packs import load_pack
from oem_submissions.services.bound import Services
from oem_submissions.services.release import declare_live
from oem_submissions.services.submit import Partition
from oem_submissions.settings import PREFIX, EnvironmentSecrets, Settings, read_settings
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.crm.roundup import EXAMPLE, SECRETS, RoundupWorld
from oem_submissions_tests.making import warranty_payload

DAY, DEALER = date(2026, 11, 10), "10234"


@pytest.fixture(scope="module")
def portal() -> Iterator[Simulator]:
    with Simulator() as running:
        running.client.add_account("aurora", DEALER, "user", "secret-pw-7", "Lakeside Motors")
        yield running


def installation(rest: RoundupWorld, portal: Simulator, database_url: str, folder: Path) -> dict[str, str]:
    """What an operator sets: where things are, the mapping file, secrets by name."""
    mapping, tracker = folder / "crm.yaml", rest.tracker
    text = EXAMPLE.read_text().replace("https://tracker.example.com/claims/rest", tracker.rest)
    mapping.write_text(text.replace("Origin: https://tracker.example.com", f"Origin: {tracker.origin}"))
    log_in = {f"portal/aurora/{DEALER}/username": "user", f"portal/aurora/{DEALER}/password": "secret-pw-7"}
    return {
        f"{PREFIX}HOME": str(folder),
        f"{PREFIX}DATABASE_URL": database_url,
        f"{PREFIX}CRM_MAPPING": str(mapping),
        f"{PREFIX}PORTAL_URL_AURORA": portal.http_url,
        **{EnvironmentSecrets.where(name): value for name, value in (SECRETS | log_in).items()},
    }


def file_and_seal(services: Services, partition: Partition) -> None:
    with services.portals("run-1") as portals:
        services.submit(partition, "run-1", "worker", portals.portal("aurora"))
    assert services.seal(partition, "run-1", "worker") == []


def crm_diagnosis(settings: Settings, secrets: EnvironmentSecrets) -> tuple[bool, str]:
    [found] = [one for one in diagnose(settings, secrets) if one.part == "CRM"]
    return found.ok, found.says


def test_a_claim_of_a_real_record_is_filed_once_and_told_to_the_record_through_an_outage_and_a_412(
    rest: RoundupWorld,
    portal: Simulator,
    ledger: Ledger,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = installation(rest, portal, database_url, tmp_path)
    settings, secrets = read_settings(environment), EnvironmentSecrets(environment)
    pack, adapter = load_pack(settings.selectors, "aurora"), registry.adapter("aurora")
    runtime._checked.add((pack.digest, adapter.digest))  # the goldens are not the subject
    declare_live(
        ledger, "aurora", Pins(adapter.digest, pack.version, pack.digest), "test", "the gate is not the subject"
    )
    record_id = rest.add("RO000001 line 1", warranty_payload(1), files=[("photo.png", "photo", b"\x89PNG\r\n\x1a\n1")])
    with wiring.build(settings, secrets=secrets) as services:
        assert crm_diagnosis(settings, secrets) == (True, "rest answers, and has every field of the mapping")
        [claim_id] = services.take_in().taken_in
        claim = ledger.claim(claim_id)
        assert claim is not None
        partition = Partition("aurora", DEALER, claim.period)
        file_and_seal(services, partition)

        rest.line.cut()
        [untold] = services.sync(partition, "run-1", "worker")
        assert "Roundup did not give the record" in untold.problem
        rest.line.mend()

        write = services.crm._write  # type: ignore[attr-defined]

        def renamed_meanwhile(*arguments: object) -> bool:
            monkeypatch.undo()
            rest.change(record_id, title="RO000001, called the customer")
            refused: bool = write(*arguments)
            assert not refused
            return refused

        monkeypatch.setattr(services.crm, "_write", renamed_meanwhile)
        assert services.sync(partition, "run-1", "worker") == []
        told = ledger.claim(claim_id)
        assert told is not None
        assert services.crm_agrees(told)
    assert told.state is State.SYNCED
    [filing] = portal.client.truth("aurora")["filings"]
    assert rest.held(record_id, "submission_reference") == filing["reference"] == told.reference
    assert rest.held(record_id, "submission_status") == "FILED"
    assert rest.held(record_id, "title") == "RO000001, called the customer"
    assert rest.held(record_id, "evidence_url").endswith(f"/e/{claim_id}/{told.bundle_digest}")
    assert rest.writes(record_id) == 1


def test_the_doctor_says_which_field_does_not_exist_in_your_crm(
    rest: RoundupWorld, portal: Simulator, database_url: str, tmp_path: Path
) -> None:
    environment = installation(rest, portal, database_url, tmp_path)
    mapping = tmp_path / "crm.yaml"
    mapping.write_text(mapping.read_text() + "outcome: {reference: oem_reference}\n")
    rest.add("one", {})
    ok, says = crm_diagnosis(read_settings(environment), EnvironmentSecrets(environment))
    assert not ok
    assert says.startswith("oem_reference: this field does not exist in your CRM")
    assert str(mapping) in says
