"""What is Salesforce's own: pages, sessions, limits, times, and what an operator reads when it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from oem_submissions.crm.connection import Connection
from oem_submissions.crm.mapping import JwtBearer, SalesforceMapping, SalesforceOutcome
from oem_submissions.crm.salesforce import SalesforceCrm
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.ports import CrmFileRefused, CrmRecordConflict, CrmUnavailable
from oem_submissions.simulator.crm_store import CLIENT_ID, CLIENT_SECRET, USERNAME
from oem_submissions_tests.crm.conftest import SalesforceWorld, Served, serving
from oem_submissions_tests.crm.test_contract import FILED


def test_an_expired_session_is_renewed_once_in_the_midst_of_paging(salesforce: SalesforceWorld) -> None:
    salesforce.admin.set_page_size(2)
    for number in range(5):
        salesforce.add(f"r{number}", {})
    records = salesforce.crm.due_records()
    next(records), next(records)
    salesforce.admin.set_fault("forget_token")
    assert len(list(records)) == 3
    assert salesforce.admin.requests()["token"] == 2


def test_an_expired_session_is_renewed_for_every_kind_of_call(salesforce: SalesforceWorld) -> None:
    record_id = salesforce.add("one", {}, files=[("a.png", "photo", b"png")])
    [record] = salesforce.crm.due_records()
    for _ in range(2):
        salesforce.admin.set_fault("forget_token")
        assert salesforce.crm.download(record.files[0].file_id, 10) == b"png"
        salesforce.admin.set_fault("forget_token")
        assert salesforce.crm.missing_fields() == []
        salesforce.admin.set_fault("forget_token")
        salesforce.crm.write_outcome(record_id, FILED)
        salesforce.admin.set_fault("forget_token")
        assert salesforce.crm.read_outcome(record_id) == FILED
    assert salesforce.writes(record_id) == 1


def test_a_session_that_expires_at_once_again_ends_in_a_sentence(salesforce: SalesforceWorld) -> None:
    record_id = salesforce.add("one", {})
    salesforce.admin.set_fault("session_expired")
    with pytest.raises(CrmUnavailable, match="INVALID_SESSION_ID") as caught:
        salesforce.crm.read_outcome(record_id)
    assert salesforce.admin.requests()["token"] == 2
    assert "client id and secret" in str(caught.value)
    salesforce.admin.clear_faults()
    assert salesforce.crm.read_outcome(record_id) is None


@pytest.mark.parametrize(
    ("fault", "says"),
    [("rate_limit", "REQUEST_LIMIT_EXCEEDED"), ("read_only", "READONLY"), ("outage", "503"), ("lose_answer", "500")],
)
def test_a_refused_write_names_the_crm_the_attempt_and_the_remedy_and_no_secret(
    salesforce: SalesforceWorld, fault: str, says: str
) -> None:
    record_id = salesforce.add("one", {})
    salesforce.admin.set_fault(fault)
    with pytest.raises(CrmUnavailable, match=says) as caught:
        salesforce.crm.write_outcome(record_id, FILED)
    text = str(caught.value)
    assert text.startswith("Salesforce at 127.0.0.1 did not ")
    assert text.endswith(".")
    assert ";" in text
    assert "\n" not in text
    assert CLIENT_SECRET not in text
    assert "!" not in text  # every token of the simulator holds one


def test_a_write_whose_answer_was_lost_is_not_written_again(salesforce: SalesforceWorld) -> None:
    record_id = salesforce.add("one", {})
    salesforce.admin.set_fault("lose_answer", times=1)
    with pytest.raises(CrmUnavailable):
        salesforce.crm.write_outcome(record_id, FILED)
    salesforce.crm.write_outcome(record_id, FILED)
    assert salesforce.crm.read_outcome(record_id) == FILED
    assert salesforce.writes(record_id) == 1


def test_a_write_that_was_only_promised_shows_when_read_back(salesforce: SalesforceWorld) -> None:
    record_id = salesforce.add("one", {})
    salesforce.admin.set_fault("drop_write", times=1)
    salesforce.crm.write_outcome(record_id, FILED)
    assert salesforce.crm.read_outcome(record_id) is None
    salesforce.crm.write_outcome(record_id, FILED)
    assert salesforce.crm.read_outcome(record_id) == FILED


def test_a_reference_that_a_person_types_while_we_write_is_not_overwritten(
    salesforce: SalesforceWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_id = salesforce.add("one", {}, modified_at=datetime(2026, 11, 7, tzinfo=UTC))
    read = salesforce.crm._read

    def read_and_be_overtaken(wanted: str) -> dict[str, Any]:
        row = read(wanted)
        monkeypatch.undo()
        salesforce.admin.edit(record_id, fields={"Submission_Reference__c": "typed by hand"})
        return row

    monkeypatch.setattr(salesforce.crm, "_read", read_and_be_overtaken)
    with pytest.raises(CrmRecordConflict, match="typed by hand"):
        salesforce.crm.write_outcome(record_id, FILED)
    assert salesforce.writes(record_id) == 0


def test_a_wrong_secret_is_refused_with_a_remedy_and_not_shown(salesforce: SalesforceWorld, served: Served) -> None:
    crm = SalesforceCrm(served.https, CLIENT_ID, "a-wrong-secret", ca_file=served.ca)
    with pytest.raises(CrmUnavailable, match="invalid_client") as caught:
        list(crm.due_records())
    assert "a-wrong-secret" not in str(caught.value)
    assert "check the connected app's client id and secret" in str(caught.value)
    crm.close()


def test_a_connected_apps_certificate_speaks_for_a_user(salesforce: SalesforceWorld, served: Served) -> None:
    key = RSAKey.generate_key(2048)
    private, public = key.as_pem(private=True).decode(), key.as_pem(private=False).decode()
    mapping = SalesforceMapping(auth=JwtBearer(type="jwt_bearer", username=USERNAME))
    crm = SalesforceCrm(served.https, CLIENT_ID, private, ca_file=served.ca, mapping=mapping)
    with pytest.raises(CrmUnavailable, match=r"invalid_grant.*certificate and user") as caught:
        list(crm.due_records())
    assert private.splitlines()[1] not in str(caught.value)
    salesforce.admin.set_certificate(public)
    record_id = salesforce.add("one", {})
    assert [record.record_id for record in crm.due_records()] == [record_id]
    crm.close()
    with pytest.raises(ConfigurationError, match="crm/private_key"):
        SalesforceCrm(served.https, CLIENT_ID, public, ca_file=served.ca, mapping=mapping)


def test_other_fields_and_words_are_data(salesforce: SalesforceWorld, served: Served) -> None:
    words = {"FILED": "Submitted", "DEAD": "To correct"}
    record = {"claim_type": {"always": "coop"}, "oem": {"field": "OEM__c", "values": {"Aurora Motors": "aurora"}}}
    mapping = SalesforceMapping.model_validate({"status": words, "due": ["Ready"], "record": record})
    crm = SalesforceCrm(served.https, CLIENT_ID, CLIENT_SECRET, ca_file=served.ca, mapping=mapping)
    record_id = salesforce.add("one", {}, oem="Aurora Motors")
    salesforce.admin.edit(record_id, fields={"Submission_Status__c": "Ready"})
    [found] = crm.due_records()
    assert (found.oem, found.claim_type) == ("aurora", "coop")
    assert crm.read_outcome(record_id) is None
    crm.write_outcome(record_id, FILED)
    assert salesforce.admin.record(record_id)["fields"]["Submission_Status__c"] == "Submitted"
    assert crm.read_outcome(record_id) == FILED
    assert list(crm.due_records()) == []
    crm.close()


def test_the_certificate_is_checked_whatever_the_environment_trusts(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = SalesforceCrm(served.https, CLIENT_ID, CLIENT_SECRET)
    with pytest.raises(CrmUnavailable, match="certificate"):
        list(crm.due_records())
    crm.close()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
    crm = SalesforceCrm(served.https, CLIENT_ID, CLIENT_SECRET, ca_file=served.ca)
    assert list(crm.due_records()) == []
    crm.close()


def test_a_netrc_entry_never_replaces_the_token(
    salesforce: SalesforceWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert list(salesforce.crm.due_records()) == []


def test_a_field_that_the_crm_lacks_is_named(salesforce: SalesforceWorld, served: Served) -> None:
    mapping = SalesforceMapping(outcome=SalesforceOutcome(status="Wrong__c"))
    crm = SalesforceCrm(served.https, CLIENT_ID, CLIENT_SECRET, ca_file=served.ca, mapping=mapping)
    assert crm.missing_fields() == ["Wrong__c"]
    with pytest.raises(CrmUnavailable, match=r"No such column 'Wrong__c'.*field mapping"):
        list(crm.due_records())
    crm.close()


def test_a_text_longer_than_its_field_is_said_and_nothing_is_written(salesforce: SalesforceWorld) -> None:
    record_id = salesforce.add("one", {})
    with pytest.raises(CrmUnavailable, match="STRING_TOO_LONG"):
        salesforce.crm.write_outcome(record_id, replace(FILED, reference="9" * 300))
    assert salesforce.crm.read_outcome(record_id) is None


@pytest.mark.parametrize("address", ["http://crm.example", "crm.example", "https://", "https://crm.example/path"])
def test_an_address_that_is_not_https_and_a_host_is_refused_at_once(address: str) -> None:
    with pytest.raises(ConfigurationError, match="https://"):
        SalesforceCrm(address, CLIENT_ID, CLIENT_SECRET)


def test_a_missing_credential_or_ca_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="client secret"):
        SalesforceCrm("https://crm.example", CLIENT_ID, "")
    with pytest.raises(ConfigurationError, match="CA file"):
        SalesforceCrm("https://crm.example", CLIENT_ID, CLIENT_SECRET, ca_file=tmp_path / "missing.pem")


class HostileCrm:
    """Answers whatever a test puts in; the log-in works unless it is among it."""

    def __init__(self) -> None:
        self.answers: dict[str, Response] = {}
        self.seen: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope["path"])
        part = next((part for part in self.answers if part in scope["path"]), "")
        log_in = {"access_token": "token!1", "instance_url": f"https://127.0.0.1:{scope['server'][1]}"}
        await self.answers.get(part, JSONResponse(log_in))(scope, receive, send)


@pytest.fixture(scope="session")
def hostile_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HostileCrm, Served]]:
    app = HostileCrm()
    with serving(app, tmp_path_factory.mktemp("hostile")) as one:
        yield app, one


@pytest.fixture
def hostile(hostile_server: tuple[HostileCrm, Served]) -> Iterator[tuple[HostileCrm, SalesforceCrm]]:
    app, where = hostile_server
    app.answers.clear()
    app.seen.clear()
    crm = SalesforceCrm(where.https, CLIENT_ID, CLIENT_SECRET, ca_file=where.ca)
    yield app, crm
    crm.close()


ROW = {"Id": "a0X000000000001AAA", "LastModifiedDate": "2026-11-07T00:00:00.000+0000"}
MORE = {"totalSize": 2, "done": False, "records": []}


@pytest.mark.parametrize(
    "answer",
    [
        HTMLResponse("<h1>Welcome to the hotel's network</h1>"),
        JSONResponse([]),
        JSONResponse(None),
        JSONResponse({"totalSize": 1, "done": True}),
        JSONResponse({"totalSize": 1, "done": True, "records": ["x"]}),
        JSONResponse({"totalSize": 1, "done": True, "records": [ROW]}),
        JSONResponse({"totalSize": 2, "done": True, "records": []}),
        JSONResponse(MORE),
        JSONResponse(MORE | {"nextRecordsUrl": "@elsewhere.example/services/data/v59.0/query/01g-2"}),
        RedirectResponse("https://127.0.0.1:9/", 307),
        Response(status_code=204),
        Response("{}", headers={"Content-Encoding": "gzip"}),
    ],
)
def test_an_answer_that_makes_no_sense_is_never_taken_for_no_claims(
    hostile: tuple[HostileCrm, SalesforceCrm], answer: Response
) -> None:
    app, crm = hostile
    app.answers["/query"] = answer
    with pytest.raises(CrmUnavailable, match="^Salesforce "):
        list(crm.due_records())


@pytest.mark.parametrize(
    "answer",
    [
        RedirectResponse("https://127.0.0.1:9/", 307),
        HTMLResponse("no"),
        HTMLResponse("no", 502),
        HTMLResponse("no", 400),
        JSONResponse({"access_token": "x", "instance_url": "http://elsewhere.example"}),
        JSONResponse({"error": [f"echo {CLIENT_SECRET}"]}, 400),
    ],
)
def test_a_log_in_that_goes_wrong_is_said_without_a_secret(
    hostile: tuple[HostileCrm, SalesforceCrm], answer: Response
) -> None:
    app, crm = hostile
    app.answers["/oauth2"] = answer
    with pytest.raises(CrmUnavailable) as caught:
        crm.read_outcome(ROW["Id"])
    assert CLIENT_SECRET not in str(caught.value)
    assert app.seen == ["/services/oauth2/token"]


def test_a_file_without_a_length_is_not_read_past_the_limit(hostile: tuple[HostileCrm, SalesforceCrm]) -> None:
    app, crm = hostile
    sent: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while len(sent) < 10_000:
            sent.append(1)
            yield b"x" * 65_536

    app.answers["/VersionData"] = StreamingResponse(endless())
    with pytest.raises(CrmFileRefused, match="larger than 1,000 bytes"):
        crm.download("068000000000001AAA", 1_000)
    assert len(sent) < 1_000


def test_every_request_has_a_time_limit(salesforce: SalesforceWorld, served: Served) -> None:
    connection = Connection(served.https, CLIENT_ID, CLIENT_SECRET, served.ca, timeout=(5.0, 0.05))
    salesforce.admin.set_fault("slow", seconds=0.3, times=1)
    with pytest.raises(CrmUnavailable, match="ReadTimeout"):
        connection.ask("list", lambda crm: crm.query("SELECT Id FROM OEM_Claim__c"))
    connection.close()
