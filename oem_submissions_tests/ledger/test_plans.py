"""Year three is as fast as day one: nothing that is asked all day reads a big table from end to end.

Each question goes to the ledger itself; PostgreSQL then says how it answered each statement of it.
"""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, event

from oem_submissions.ledger.store import Ledger
from oem_submissions_tests.questions import ASKED

GROWS = (
    "claims", "claim_terms", "events", "attempts", "artifacts", "dispositions", "leases", "lease_log", "ticks",
    "runs", "history_reads", "sweeps", "probes", "enqueue_requests",
)  # fmt: skip


def statements_of(engine: Engine, question: str) -> list[tuple[str, Any]]:
    """The reads that a question becomes, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        ASKED[question](Ledger(engine))
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return seen


@pytest.mark.parametrize("question", ASKED)
def test_nothing_that_is_asked_all_day_reads_a_big_table_from_end_to_end(many_claims: Engine, question: str) -> None:
    asked = statements_of(many_claims, question)
    assert asked
    for statement, parameters in asked:
        with many_claims.connect() as connection:
            connection.exec_driver_sql("SET random_page_cost = 1.1")  # so small a table it would rather read as a whole
            rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            plan = "\n".join(line for (line,) in rows)
        assert not [table for table in GROWS if f"Seq Scan on {table} " in plan], f"{statement}\n{plan}"
