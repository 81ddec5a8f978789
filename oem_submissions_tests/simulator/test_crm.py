"""The simulated CRM on its own: queries, writes, errors in Salesforce's shape, what survives a restart."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from oem_submissions.simulator.crm_schema import ApiError, long_id, make_id
from oem_submissions.simulator.crm_soql import parse
from oem_submissions.simulator.crm_store import CrmTruth
from oem_submissions.simulator.seed import seed_claims


@pytest.fixture
def crm() -> CrmTruth:
    """Three records."""
    made = CrmTruth()
    for name, oem, due, status in (
        ("a", "Aurora", "2026-11-01", None),
        ("b", "aurora", "2026-11-02", "DEAD"),
        ("c", "borealis", "2026-11-03", "FILED"),
    ):
        made.seed({"name": name, "oem": oem, "due_on": due, "fields": {"Submission_Status__c": status}})
    return made


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("WHERE OEM__c = 'aurora'", "ab"),
        ("where oem__c = 'AURORA' and Name != 'a'", "b"),
        ("WHERE (Submission_Status__c = null OR Submission_Status__c = 'DEAD') AND Due_On__c > 2026-11-01", "b"),
        ("WHERE Name IN ('a','c')", "ac"),
        ("WHERE Name NOT IN ('a','c')", "b"),
        ("WHERE Submission_Status__c != null", "bc"),
        ("WHERE LastModifiedDate > 2020-01-01T00:00:00Z", "abc"),
        ("WHERE LastModifiedDate > 2020-01-01T00:00:00+01:00", "abc"),
        ("WHERE Name = 'a\\' OR Name != \\''", ""),
        ("ORDER BY Due_On__c DESC", "cba"),
        ("ORDER BY Submission_Status__c, Name DESC LIMIT 2", "ab"),
        ("LIMIT 0", ""),
    ],
)
def test_a_query_finds_what_it_asks_for(crm: CrmTruth, where: str, names: str) -> None:
    total, rows, following = crm.query(" ".join(["SELECT Name FROM OEM_Claim__c", where]))
    found = [row["Name"] for row in rows]
    assert "".join(found if "ORDER BY" in where else sorted(found)) == names
    assert total == len(names)
    assert following is None


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "MALFORMED_QUERY"),
        ("DELETE FROM OEM_Claim__c", "MALFORMED_QUERY"),
        ("SELECT Id FROM OEM_Claim__c WHERE Name = 'a", "MALFORMED_QUERY"),
        ("SELECT Id FROM OEM_Claim__c WHERE Name = 'a\nb'", "MALFORMED_QUERY"),
        ("SELECT Id FROM OEM_Claim__c WHERE Name = '\\q'", "MALFORMED_QUERY"),
        ("SELECT Id FROM OEM_Claim__c WHERE Name = 'a' AND Name = 'b' OR Name = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM OEM_Claim__c WHERE Name LIKE 'a%'", "MALFORMED_QUERY"),
        ("SELECT COUNT() FROM OEM_Claim__c", "MALFORMED_QUERY"),
        ("SELECT Id FROM OEM_Claim__c LIMIT 1; SELECT Id FROM OEM_Claim__c", "MALFORMED_QUERY"),
        ("SELECT Id FROM ContentDocumentLink", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account", "INVALID_TYPE"),
        ("SELECT Nothing__c FROM OEM_Claim__c", "INVALID_FIELD"),
        ("SELECT Id FROM OEM_Claim__c WHERE Payload__c = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM OEM_Claim__c WHERE Due_On__c = '2026-11-01'", "INVALID_FIELD"),
        ("SELECT Id FROM OEM_Claim__c WHERE LastModifiedDate > 2026-11-01", "INVALID_FIELD"),
    ],
)
def test_everything_else_is_refused_as_salesforce_does(crm: CrmTruth, query: str, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        crm.query(query)
    assert caught.value.code == code


def test_a_page_shows_the_rows_that_the_query_found_even_when_they_no_longer_match(crm: CrmTruth) -> None:
    crm.page_size = 1
    total, rows, following = crm.query("SELECT Id, Name FROM OEM_Claim__c WHERE OEM__c = 'aurora' ORDER BY Name")
    crm.edit(crm.everything()[1]["id"], {"fields": {"OEM__c": "other"}})
    assert following is not None
    more, last = crm.page(following)
    assert (total, rows[0]["Name"], more[0]["Name"], last) == (2, "a", "b", None)


def test_ids_have_the_suffix_of_salesforce() -> None:
    assert long_id("001A0000006Vm9r") == "001A0000006Vm9rIAC"
    assert len(make_id("a0X", "seed")) == 18


def test_what_was_written_survives_a_restart_and_seeding_again_changes_nothing(tmp_path: Path) -> None:
    records = seed_claims(1, date(2026, 11, 23))
    crm = CrmTruth(tmp_path)
    made = [crm.seed(record) for record in records]
    assert all(new for _, new in made)
    crm.update(made[0][0], {"Submission_Reference__c": "WC-1", "Submission_Claim_Id__c": "aurora-1"})
    token = crm.new_token()
    again = CrmTruth(tmp_path)
    assert [again.seed(record) for record in records] == [(record_id, False) for record_id, _ in made]
    assert again.everything() == crm.everything()
    assert again.row("OEM_Claim__c", "Submission_Claim_Id__c", "AURORA-1")["Submission_Reference__c"] == "WC-1"
    assert again.knows_token(token)


def test_a_query_is_pure() -> None:
    query = parse("SELECT Name FROM OEM_Claim__c WHERE Name = 'x' ORDER BY Name DESC LIMIT 5")
    assert (query.fields, query.order, query.limit) == (("Name",), (("Name", True),), 5)
