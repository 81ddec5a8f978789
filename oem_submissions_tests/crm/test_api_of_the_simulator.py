"""The simulated CRM over HTTP where our client does not look: creating, upserting, refused log-ins, error shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from oem_submissions.simulator.crm_store import CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME
from oem_submissions_tests.crm.conftest import SalesforceWorld, Served

DATA = "/services/data/v59.0"
CLAIM = f"{DATA}/sobjects/OEM_Claim__c"
LOG_IN = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


@pytest.fixture
def api(salesforce: SalesforceWorld, served: Served) -> Iterator[Any]:
    """Sends a request with a token; returns status and answer."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{served.http}/services/oauth2/token", data=LOG_IN, timeout=10).json()
        assert answer["instance_url"] == served.http
        session.headers["Authorization"] = f"Bearer {answer['access_token']}"

        def send(method: str, path: str, **more: Any) -> tuple[int, Any]:
            response = session.request(method, served.http + path, timeout=10, **more)
            return response.status_code, response.json() if response.content else None

        yield send


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"client_id": "x"}, "invalid_client_id"),
        ({"client_secret": "x"}, "invalid_client"),
        ({"grant_type": "password", "username": USERNAME, "password": "x"}, "invalid_grant"),
    ],
)
def test_a_wrong_log_in_is_refused_in_salesforces_words(api: Any, change: dict[str, str], error: str) -> None:
    status, answer = api("POST", "/services/oauth2/token", data=LOG_IN | change)
    assert (status, answer["error"]) == (400, error)
    assert answer["error_description"]


def test_the_password_grant_works_too(api: Any) -> None:
    form = LOG_IN | {"grant_type": "password", "username": USERNAME, "password": PASSWORD}
    status, answer = api("POST", "/services/oauth2/token", data=form)
    assert (status, answer["token_type"]) == (200, "Bearer")


def test_an_upsert_creates_once_and_then_updates(api: Any) -> None:
    path = f"{CLAIM}/Submission_Claim_Id__c/aurora-1"
    first, made = api("PATCH", path, json={"OEM__c": "aurora"})
    second, again = api("PATCH", path, json={"OEM__c": "other"})
    assert (first, second) == (201, 200)
    assert made["id"] == again["id"]
    assert api("GET", path)[1]["OEM__c"] == "other"
    assert api("PATCH", f"{CLAIM}/{made['id']}", json={"OEM__c": "third"}) == (204, None)
    assert api("GET", f"{CLAIM}/{made['id']}?fields=OEM__c")[1]["OEM__c"] == "third"


def test_a_record_is_created_and_its_external_id_is_unique(api: Any) -> None:
    values = {"Name": "CLM-1", "Submission_Claim_Id__c": "aurora-1"}
    assert api("POST", CLAIM, json=values)[0] == 201
    status, [error] = api("POST", CLAIM, json=values | {"Name": "CLM-2"})
    assert (status, error["errorCode"]) == (400, "DUPLICATE_VALUE")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", f"{CLAIM}/a0X000000000001AAA", None, 404, "NOT_FOUND"),
        ("GET", f"{DATA}/sobjects/Account/001000000000001AAA", None, 404, "NOT_FOUND"),
        ("GET", f"{DATA}/query?q=SELECT", None, 400, "MALFORMED_QUERY"),
        ("GET", f"{DATA}/query/01g000000000001AAA-2", None, 400, "INVALID_QUERY_LOCATOR"),
        ("POST", CLAIM, {"Nothing__c": "x"}, 400, "INVALID_FIELD"),
        ("POST", CLAIM, {"LastModifiedDate": "x"}, 400, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ("POST", CLAIM, {"Due_On__c": "tomorrow"}, 400, "JSON_PARSER_ERROR"),
        ("POST", CLAIM, [], 400, "JSON_PARSER_ERROR"),
    ],
)
def test_an_error_has_salesforces_shape(api: Any, method: str, path: str, body: Any, status: int, code: str) -> None:
    found, [error] = api(method, path, json=body)
    assert (found, error["errorCode"]) == (status, code)
    assert error["message"]


def test_a_request_without_a_token_is_no_session(api: Any) -> None:
    status, [error] = api("GET", CLAIM + "/describe", headers={"Authorization": "Bearer x"})
    assert (status, error["errorCode"]) == (401, "INVALID_SESSION_ID")


def test_a_person_sees_the_record_with_nothing_hostile_alive(salesforce: SalesforceWorld, served: Served) -> None:
    record_id = salesforce.add("<script>alert(1)</script>", {"x": "<img src=x onerror=alert(1)>"})
    for path in (f"/lightning/r/OEM_Claim__c/{record_id}/view", "/lightning/o/OEM_Claim__c/list"):
        page = requests.get(served.http + path, timeout=10).text
        assert "&lt;script&gt;" in page
        assert "<script" not in page
        assert "<img" not in page
