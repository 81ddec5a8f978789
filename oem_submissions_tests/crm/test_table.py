"""What is the table's own: locks, pages by key, its other users' versions, and what an operator reads when it fails."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import psycopg
import pytest

from oem_submissions.crm.mapping import TableMapping, read_mapping
from oem_submissions.crm.table import TableCrm
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.ports import CrmFileRefused, CrmOutage, CrmRecordConflict, CrmUnavailable
from oem_submissions_tests.crm.table import EXAMPLE, TableWorld
from oem_submissions_tests.crm.test_contract import FILED


def mapping(**changes: object) -> TableMapping:
    return TableMapping.model_validate({**read_mapping(EXAMPLE).model_dump(by_alias=True), **changes})


def test_what_a_person_has_typed_and_not_yet_saved_is_waited_for_and_not_overwritten(table: TableWorld) -> None:
    record_id, caught = table.add("one", {}), list[Exception]()

    def write() -> None:
        try:
            table.crm.write_outcome(record_id, FILED)
        except CrmRecordConflict as error:
            caught.append(error)

    with psycopg.connect(table.url) as person:
        person.execute("UPDATE crm.claims SET submission_reference = 'typed by hand' WHERE id = %s", (record_id,))
        writer = threading.Thread(target=write)
        writer.start()
        table.wait_for_a_lock()
    writer.join(10)
    assert "typed by hand" in str(caught[0])
    assert table.writes(record_id) == 0


def test_a_row_that_somebody_holds_for_too_long_is_left_for_later(
    table: TableWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oem_submissions.crm.table._PATIENCE", {"options": "-c lock_timeout=50ms"})
    record_id = table.add("one", {})
    table.crm.close()
    with psycopg.connect(table.url) as person:
        person.execute("SELECT FROM crm.claims WHERE id = %s FOR UPDATE", (record_id,))
        with pytest.raises(CrmUnavailable, match="tried again by itself") as caught:
            table.crm.write_outcome(record_id, FILED)
    assert not isinstance(caught.value, CrmOutage)
    table.crm.close()


def test_every_row_is_read_once_though_hundreds_were_changed_in_the_same_moment(table: TableWorld) -> None:
    insert = (
        "INSERT INTO crm.claims (oem_name, dealer, claim_type, due_on, payload, updated_at)"
        " SELECT 'x', 'd', 'warranty', '2026-11-10', '{}', CASE WHEN n % 7 = 0 THEN NULL ELSE %s END"
        " FROM generate_series(1, 450) AS n RETURNING id::text"
    )
    ids = {key for (key,) in table.do(insert.replace("% 7", "%% 7"), datetime(2026, 11, 7, tzinfo=UTC))}
    listed = [record.record_id for record in table.crm.due_records()]
    assert len(listed) == 450
    assert set(listed) == ids


def test_a_unique_index_refuses_the_twin_that_no_look_could_see(table: TableWorld) -> None:
    table.do("CREATE UNIQUE INDEX one_claim ON crm.claims (submission_claim_id)")
    one, two = table.add("one", {}), table.add("two", {})
    with psycopg.connect(table.url) as other:
        other.execute("UPDATE crm.claims SET submission_claim_id = %s WHERE id = %s", (FILED.claim_id, one))
        writer = threading.Thread(target=lambda: pytest.raises(CrmRecordConflict, table.crm.write_outcome, two, FILED))
        writer.start()
        table.wait_for_a_lock()
    writer.join(10)
    assert table.writes(two) == 0
    table.do("DROP INDEX crm.one_claim")


def test_columns_that_the_table_lacks_are_named(table: TableWorld) -> None:
    assert table.crm.missing_fields() == []
    files = {"table": "claim_files", "schema": "crm", "record": "claim_id", "content": "bytes"}
    crm = TableCrm(mapping(modified="changed_at", files=files), table.url)
    assert crm.missing_fields() == ["crm.claim_files.bytes", "crm.claims.changed_at"]
    with pytest.raises(CrmUnavailable, match=r"changed_at.*mapping"):
        list(crm.due_records())
    crm.close()


def test_an_address_in_a_file_row_never_leads_into_our_own_network(table: TableWorld) -> None:
    table.do("ALTER TABLE crm.claim_files ADD COLUMN href text")
    files = {"table": "claim_files", "schema": "crm", "record": "claim_id", "url": "href"}
    crm = TableCrm(mapping(files=files), table.url)
    table.add("one", {}, files=[("a.pdf", "invoice", b"")])
    table.do("UPDATE crm.claim_files SET href = 'https://127.0.0.1/x'")
    [record] = crm.due_records()
    with pytest.raises(CrmFileRefused, match="private network"):
        crm.download(record.files[0].file_id, 100)
    crm.close()
    table.do("ALTER TABLE crm.claim_files DROP COLUMN href")


def test_a_password_is_in_no_sentence(table: TableWorld) -> None:
    crm = TableCrm(mapping(), "postgresql://me:hunter22@127.0.0.1:1/people_crm")
    with pytest.raises(CrmOutage) as caught:
        crm.read_outcome("1")
    assert "hunter22" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="postgresql://"):
        TableCrm(mapping(), "mysql://x")
