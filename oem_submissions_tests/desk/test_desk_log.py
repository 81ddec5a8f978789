"""The desk's log: one contract on the ledger and on the one in memory that other tests use."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from oem_submissions.domain.desk_log import DeskAction, DeskEntry
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import AccessLog
from oem_submissions_tests.desk.access import MemoryLog

ENTRY = DeskEntry(DeskAction.CHANGE, "ana", "operator", "oidc", "/review/aurora-1", "begun", "203.0.113.7")


@pytest.fixture(params=["ledger", "memory"])
def log(request: pytest.FixtureRequest) -> AccessLog:
    return request.getfixturevalue("ledger") if request.param == "ledger" else MemoryLog()


def test_lines_come_back_as_they_were_noted_the_newest_first(log: AccessLog) -> None:
    stranger = DeskEntry(DeskAction.REFUSED, None, None, "none", "/", "The token is not known here.", "::1")
    for entry in (ENTRY, stranger, replace(ENTRY, outcome="303")):
        log.note_access(entry)
    lines = log.access_log()
    assert [line.entry for line in lines] == [replace(ENTRY, outcome="303"), stranger, ENTRY]
    assert [line.number for line in lines] == sorted((line.number for line in lines), reverse=True)
    assert all(abs(line.at - datetime.now(UTC)) < timedelta(minutes=1) for line in lines)
    assert [line.entry for line in log.access_log(limit=1)] == [lines[0].entry]
    assert [line.entry.who for line in log.access_log(who="ana")] == ["ana", "ana"]
    assert log.access_log(who="an") == []


def test_no_text_is_too_hostile_for_the_ledger(ledger: Ledger) -> None:
    ledger.note_access(replace(ENTRY, target="/\x00\ud800" + "x" * 10_000))
    (line,) = ledger.access_log()
    assert line.entry.target.startswith("/\ufffd\ufffdx")
    assert len(line.entry.target) == 500
