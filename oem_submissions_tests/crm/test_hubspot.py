"""What is HubSpot's own: limits, answers in parts, a history instead of a comparison, and what an operator reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from oem_submissions.crm.hubspot import HubSpotCrm
from oem_submissions.crm.mapping import read_mapping
from oem_submissions.ports import CrmOutage, CrmRecordConflict, CrmUnavailable
from oem_submissions_tests.crm.hubspot import EXAMPLE, TOKEN, HubSpotWorld
from oem_submissions_tests.crm.test_contract import FILED


def test_a_reference_that_a_person_types_while_we_write_is_put_back_and_said(hubspot: HubSpotWorld) -> None:
    ticket, server = hubspot.add("one", {}), hubspot.server
    server.before_write = lambda one: server.change(one, {"submission_reference": "typed by hand"})
    with pytest.raises(CrmRecordConflict, match=r"typed by hand.*put back"):
        hubspot.crm.write_outcome(ticket, FILED)
    assert server.tickets[ticket].properties["submission_reference"] == "typed by hand"
    with pytest.raises(CrmRecordConflict, match="typed by hand"):
        hubspot.crm.write_outcome(ticket, FILED)


def test_what_else_a_person_changes_meanwhile_stays(hubspot: HubSpotWorld) -> None:
    ticket, server = hubspot.add("one", {}), hubspot.server
    server.before_write = lambda one: server.change(one, {"subject": "renamed"})
    hubspot.crm.write_outcome(ticket, FILED)
    assert server.tickets[ticket].properties["subject"] == "renamed"
    assert hubspot.crm.read_outcome(ticket) == FILED


def test_a_limit_is_waited_for_as_long_as_there_is_patience(
    hubspot: HubSpotWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(hubspot.crm, "_wait", waited.append)
    ticket = hubspot.add("one", {})
    hubspot.server.limits = [{}, {"Retry-After": "9"}]
    assert hubspot.crm.read_outcome(ticket) is None
    assert waited == [9.0, 1.0]
    hubspot.server.limits = [{"Retry-After": "40000"}]
    with pytest.raises(CrmOutage, match="asks to wait 40000 s"):
        hubspot.crm.read_outcome(ticket)


def test_an_answer_in_parts_whose_missing_part_is_no_absence_is_a_failure(hubspot: HubSpotWorld) -> None:
    ticket = hubspot.add("one", {}, files=[("a.pdf", "", b"%PDF-1")])
    assert list(hubspot.crm.records([ticket, "999999"])) == [ticket]
    hubspot.server.partial = {"category": "INTERNAL_ERROR", "message": "try later"}
    with pytest.raises(CrmUnavailable, match="try later"):
        hubspot.crm.records([ticket])
    hubspot.server.partial = {"category": "RATE_LIMITS", "message": "too many"}
    with pytest.raises(CrmUnavailable, match="too many"):
        list(hubspot.crm.due_records())


def test_every_page_is_read_and_a_search_that_ends_too_early_goes_on_from_there(
    hubspot: HubSpotWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    tickets = [hubspot.add(f"r{number}", {"n": number}) for number in range(9)]
    hubspot.server.page = 2
    assert [record.record_id for record in hubspot.crm.due_records()] == tickets
    monkeypatch.setattr("oem_submissions.crm.hubspot._SEARCHED", 4)
    assert [record.record_id for record in hubspot.crm.due_records()] == tickets


def test_a_value_that_another_ticket_has_is_a_conflict_though_the_search_is_behind(hubspot: HubSpotWorld) -> None:
    one, two = hubspot.add("one", {}), hubspot.add("two", {})
    server = hubspot.server
    server.tickets[one].properties["submission_claim_id"] = FILED.claim_id
    hubspot.crm._refuse_twin = lambda *_: None  # type: ignore[method-assign]
    try:
        with pytest.raises(CrmRecordConflict, match="another record"):
            hubspot.crm.write_outcome(two, FILED)
    finally:
        del hubspot.crm.__dict__["_refuse_twin"]
    assert server.tickets[two].writes == 0


def test_a_property_for_each_key_of_the_claim_is_a_payload(hubspot: HubSpotWorld) -> None:
    example = read_mapping(EXAMPLE)
    keyed = hubspot.crm._mapping.model_copy(update={"record": example.record})
    crm = HubSpotCrm(keyed, TOKEN)
    ticket = hubspot.add("one", None)
    hubspot.server.known |= {"vehicle_vin", "repair_order"}
    hubspot.server.change(ticket, {"vehicle_vin": "1M8GDM9AXKP042788"})
    [record] = crm.due_records()
    assert record.payload == {"vin": "1M8GDM9AXKP042788"}
    assert record.claim_type == "warranty"
    crm.close()


def test_a_property_that_tickets_lack_is_named(hubspot: HubSpotWorld) -> None:
    assert hubspot.crm.missing_fields() == []
    hubspot.server.known.remove("reason_text")
    assert hubspot.crm.missing_fields() == ["reason_text"]
    with pytest.raises(CrmUnavailable, match="no property reason_text"):
        hubspot.crm.read_outcome(hubspot.add("one", {}))


def test_a_wrong_token_is_refused_with_a_remedy_and_not_shown(hubspot: HubSpotWorld) -> None:
    crm = HubSpotCrm(hubspot.crm._mapping, "a-wrong-token")
    with pytest.raises(CrmOutage, match=r"401.*check the secret crm/token") as caught:
        list(crm.due_records())
    assert "a-wrong-token" not in str(caught.value)
    crm.close()


def test_a_deleted_file_of_a_note_hides_no_other(hubspot: HubSpotWorld) -> None:
    hubspot.add("one", {}, files=[("a.pdf", "", b"%PDF-1"), ("b.pdf", "", b"%PDF-2")])
    hubspot.server.files.pop(next(iter(hubspot.server.files)))
    [record] = hubspot.crm.due_records()
    assert [file.name for file in record.files] == ["b.pdf"]


def test_the_client_is_imported_only_for_an_account_of_hubspots() -> None:
    text = (Path(__file__).parents[2] / "oem_submissions" / "crm" / "hubspot.py").read_text()
    assert not [line for line in text.splitlines() if line.startswith(("import hubspot", "from hubspot"))]
