"""What every implementation of the `Crm` port does."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from oem_submissions.ports import CrmFileRefused, CrmOutage, CrmOutcome, CrmRecordConflict, CrmUnavailable
from oem_submissions_tests.crm.conftest import DUE, World

AT = datetime(2026, 11, 12, 8, 30, 5, tzinfo=UTC)
FILED = CrmOutcome(
    claim_id="aurora-abc234",
    status="FILED",
    reference="WC-2026-004217-U",
    reference_kind="claim number",
    evidence_url="http://desk/e/aurora-abc234/" + "0" * 64,
    evidence_digest="0" * 64,
    run_id="run-1",
    confirmed_at=AT,
    updated_at=AT,
)
DEAD = CrmOutcome("aurora-abc234", "DEAD", reason_code="PAYLOAD_INVALID", reason_text="vin: wrong", updated_at=AT)


def test_a_due_record_comes_with_its_payload_and_its_files(world: World) -> None:
    files = [("b.pdf", "invoice", b"%PDF-1"), ("a.JPG", "photo", b"\xff\xd8\xff1"), ("c.exe", "", b"MZ")]
    record_id = world.add("one", {"dealer_code": "10234", "line": 1}, files=files)
    [record] = world.crm.due_records()
    assert (record.record_id, record.oem, record.dealer, record.claim_type) == (
        record_id,
        "aurora",
        "10234",
        "warranty",
    )
    assert record.due_on == DUE
    assert record.payload == {"dealer_code": "10234", "line": 1}
    assert record.fault is None
    assert record.modified_at.tzinfo is not None
    found = [(file.name, file.media_type) for file in record.files]
    assert found == [("a.JPG", "image/jpeg"), ("b.pdf", "application/pdf"), ("c.exe", "application/octet-stream")]
    assert [file.size for file in record.files] in ([4, 6, 2], [0, 0, 0])  # 0: this CRM does not say
    assert [world.crm.download(file.file_id, 100) for file in record.files] == [b"\xff\xd8\xff1", b"%PDF-1", b"MZ"]


def test_the_record_that_was_changed_first_comes_first(world: World) -> None:
    late = world.add("late", {}, modified_at=datetime(2026, 11, 9, tzinfo=UTC))
    early = world.add("early", {}, modified_at=datetime(2026, 11, 7, tzinfo=UTC))
    assert [record.record_id for record in world.crm.due_records()] == [early, late]


def test_only_later_changes_when_asked_for_them_and_the_very_second_is_among_them(world: World) -> None:
    world.add("early", {}, modified_at=datetime(2026, 11, 7, tzinfo=UTC))
    late = world.add("late", {}, modified_at=datetime(2026, 11, 9, 4, 5, 6, tzinfo=UTC))
    asked = datetime(2026, 11, 9, 4, 5, 6, 999_999, tzinfo=UTC)
    assert [record.record_id for record in world.crm.due_records(modified_after=asked)] == [late]


def test_a_record_with_a_final_outcome_is_not_due(world: World) -> None:
    for number, status in enumerate(("FILED", "HELD", "REJECTED", "WITHDRAWN")):
        record_id = world.add(f"r{number}", {})
        world.crm.write_outcome(record_id, CrmOutcome(f"aurora-{number}", status))
    assert list(world.crm.due_records()) == []


def test_records_are_read_by_id_and_whether_they_are_due_is_said(world: World) -> None:
    one, filed, dead = (world.add(name, {"line": 1}, files=[("a.pdf", "", b"%PDF-1")]) for name in ("a", "b", "c"))
    world.crm.write_outcome(filed, FILED)
    world.crm.write_outcome(dead, replace(DEAD, claim_id="aurora-other"))
    due = {record.record_id: record for record in world.crm.due_records()}
    hostile = ["a0X000000000001AAA", "x' OR Id != '", "", "../../query?q=SELECT", "1" * 1000]
    assert world.crm.records([one, filed, dead, *hostile]) == {one: due[one], filed: None, dead: due[dead]}
    assert due[one].files
    assert world.crm.records(hostile) == world.crm.records([]) == {}
    world.break_down()
    with pytest.raises(CrmUnavailable):
        world.crm.records([one])


def test_a_dead_claims_record_stays_due_so_that_a_correction_is_seen(world: World) -> None:
    record_id = world.add("one", {"vin": "wrong", "line": 1})
    world.crm.write_outcome(record_id, DEAD)
    [before] = world.crm.due_records()
    world.edit(record_id, {"vin": "right"})
    [after] = world.crm.due_records()
    assert before.payload == {"vin": "wrong", "line": 1}
    assert after.payload == {"vin": "right", "line": 1}


NO_CLAIMS = [
    None,
    "",
    "{'vin': 1}",
    "[1, 2]",
    '"text"',
    '{"amount": NaN}',
    '{"amount": 1e999}',
    '{"text": "\\u0000"}',
    '{"text": "\\ud800"}',
    '{"a":' * 50 + "1" + "}" * 50,
    "[" * 60_000,
]


def test_a_payload_that_is_no_claim_is_a_fault_of_its_record_and_hides_no_other(world: World) -> None:
    broken = {world.add(f"broken {number}", payload): payload for number, payload in enumerate(NO_CLAIMS)}
    sound = world.add("sound", {"line": 1})
    records = {record.record_id: record for record in world.crm.due_records()}
    for record_id, payload in broken.items():
        assert records[record_id].payload == {}, payload
        assert "payload" in str(records[record_id].fault).lower(), payload
    assert records[sound].fault is None
    assert records[sound].payload == {"line": 1}


def test_a_record_without_oem_or_day_is_a_fault_too(world: World) -> None:
    world.add("one", {"line": 1}, oem="", due_on=None)
    [record] = world.crm.due_records()
    assert record.fault is not None
    assert "oem" in record.fault.lower()
    assert "due_on" in record.fault.lower()
    assert record.due_on == record.modified_at.date()


def test_hostile_texts_come_and_go_unchanged(world: World) -> None:
    texts = ['O\'Hara "&" <script>alert(1)</script>', "\x01\x1b[31m\x7f\u202e\u2028", "' OR Id != '", "\\", "日本 🚗"]
    longest = getattr(world, "longest", 130_000)
    payload = {"texts": texts, "long": "x'\"\\" * (longest // 8)}
    record_id = world.add("one'; DROP --", payload)
    [record] = world.crm.due_records()
    assert record.payload == payload
    assert len(json.dumps(payload)) > 0.6 * longest
    outcome = replace(DEAD, reason_text="|".join(texts) + "y" * (longest // 4 * 3))
    world.crm.write_outcome(record_id, outcome)
    assert world.crm.read_outcome(record_id) == outcome


def test_a_file_larger_than_allowed_is_refused(world: World) -> None:
    world.add("one", {}, files=[("a.png", "photo", b"x" * 200_000)])
    [record] = world.crm.due_records()
    file_id = record.files[0].file_id
    assert len(world.crm.download(file_id, 200_000)) == 200_000
    with pytest.raises(CrmFileRefused, match="199,999"):
        world.crm.download(file_id, 199_999)


def test_a_file_that_is_not_there_is_refused(world: World) -> None:
    for file_id in ("068000000000001AAA", "", "../../oauth2/token", "https://elsewhere.example/x", "999999999"):
        with pytest.raises(CrmFileRefused):
            world.crm.download(file_id, 1000)


def test_an_outcome_is_read_as_it_was_written(world: World) -> None:
    record_id = world.add("one", {})
    assert world.crm.read_outcome(record_id) is None
    world.crm.write_outcome(record_id, FILED)
    assert world.crm.read_outcome(record_id) == FILED


def test_an_equal_outcome_is_not_written_twice(world: World) -> None:
    record_id = world.add("one", {})
    world.crm.write_outcome(record_id, FILED)
    world.crm.write_outcome(record_id, replace(FILED, updated_at=AT.replace(microsecond=999_999)))
    assert world.writes(record_id) == 1


def test_a_dead_claim_may_later_be_filed_and_no_old_reason_stays(world: World) -> None:
    record_id = world.add("one", {})
    world.crm.write_outcome(record_id, DEAD)
    world.crm.write_outcome(record_id, FILED)
    assert world.crm.read_outcome(record_id) == FILED
    assert world.writes(record_id) == 2


def test_the_oems_decisions_come_and_go_and_change_nothing_else(world: World) -> None:
    record_id = world.add("one", {})
    world.crm.write_outcome(record_id, FILED)
    for said in ("Approved", "ZURÜCK\N{FIRE}'\" <b>", "x" * 500):
        decided = replace(FILED, disposition="APPROVED", disposition_text=said, disposition_at=AT)
        world.crm.write_outcome(record_id, decided)
        world.crm.write_outcome(record_id, replace(decided, disposition_at=AT.replace(microsecond=7)))
        assert world.crm.read_outcome(record_id) == decided
    world.crm.write_outcome(record_id, FILED)
    assert world.crm.read_outcome(record_id) == FILED
    assert world.writes(record_id) == 5


@pytest.mark.parametrize(
    "other",
    [
        replace(FILED, reference="WC-2026-009999-X"),
        replace(FILED, reference=None, status="HELD"),
        replace(FILED, claim_id="aurora-zzz999"),
    ],
)
def test_another_reference_is_never_overwritten(world: World, other: CrmOutcome) -> None:
    record_id = world.add("one", {})
    world.crm.write_outcome(record_id, FILED)
    with pytest.raises(CrmRecordConflict):
        world.crm.write_outcome(record_id, other)
    assert world.crm.read_outcome(record_id) == FILED


@pytest.mark.parametrize("name", ["updated_at", "disposition_at"])
def test_what_is_older_than_the_record_is_never_written(world: World, name: str) -> None:
    record_id, newer = world.add("one", {}), AT.replace(minute=31)
    held = replace(FILED, **{name: newer, "disposition": "APPROVED"})
    world.crm.write_outcome(record_id, held)
    with pytest.raises(CrmRecordConflict, match="newer"):
        world.crm.write_outcome(record_id, replace(FILED, **{name: AT}))
    assert world.crm.read_outcome(record_id) == held


def test_two_records_never_hold_the_same_claim(world: World) -> None:
    first, second = world.add("one", {}), world.add("two", {})
    world.crm.write_outcome(first, FILED)
    with pytest.raises(CrmRecordConflict):
        world.crm.write_outcome(second, replace(DEAD, claim_id=FILED.claim_id))
    assert world.crm.read_outcome(second) is None


def test_a_record_whose_oem_was_corrected_takes_the_new_claims_outcome(world: World) -> None:
    record_id = world.add("one", {})
    world.crm.write_outcome(record_id, replace(DEAD, claim_id="auroa-abc234"))
    world.crm.write_outcome(record_id, FILED)
    assert world.crm.read_outcome(record_id) == FILED


def test_an_outcome_for_a_record_that_is_not_there_makes_none(world: World) -> None:
    sound = world.add("sound", {})
    hostile = [
        "a0X000000000001AAA",
        "999999999",
        "x' OR Id != '",
        "",
        "../../query?q=SELECT",
        "https://elsewhere.example/x",
    ]
    for record_id in hostile:
        with pytest.raises(CrmUnavailable):
            world.crm.read_outcome(record_id)
        with pytest.raises(CrmUnavailable):
            world.crm.write_outcome(record_id, FILED)
    assert [record.record_id for record in world.crm.due_records()] == [sound]
    assert world.writes(sound) == 0


def test_every_page_is_read_and_each_record_keeps_its_own_files(world: World) -> None:
    world.small_pages()
    files = {f"r{n}": [(f"f{n}-{i}.png", "photo", b"x%d" % n) for i in range(n % 3)] for n in range(7)}
    names = {world.add(name, {"name": name}, files=attached): name for name, attached in files.items()}
    records = list(world.crm.due_records())
    assert sorted(names[record.record_id] for record in records) == sorted(files)
    for record in records:
        assert [file.name for file in record.files] == [name for name, _, _ in files[names[record.record_id]]]
        assert record.payload == {"name": names[record.record_id]}


def test_a_failure_on_a_later_page_is_never_taken_for_the_end(world: World) -> None:
    world.small_pages()
    for number in range(7):
        world.add(f"r{number}", {})
    records = world.crm.due_records()
    next(records)
    world.break_down()
    with pytest.raises(CrmOutage):
        list(records)


def test_the_doctor_finds_every_field_of_the_mapping(world: World) -> None:
    world.add("one", {})
    assert world.crm.missing_fields() == []


def test_an_outage_is_said_everywhere_and_over_when_it_is_over(world: World) -> None:
    record_id = world.add("one", {}, files=[("a.png", "photo", b"x")])
    [record] = world.crm.due_records()
    world.break_down()
    with pytest.raises(CrmOutage):
        list(world.crm.due_records())
    with pytest.raises(CrmUnavailable):
        world.crm.download(record.files[0].file_id, 10)
    with pytest.raises(CrmUnavailable):
        world.crm.read_outcome(record_id)
    with pytest.raises(CrmUnavailable):
        world.crm.write_outcome(record_id, FILED)
    world.mend()
    world.crm.write_outcome(record_id, FILED)
    assert world.crm.read_outcome(record_id) == FILED
