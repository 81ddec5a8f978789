"""No page of the desk reads a big table from end to end: PostgreSQL is asked for the plan of each of its queries."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from sqlalchemy import Engine, Select, text
from sqlalchemy.dialects import postgresql

from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import HELD, State
from oem_submissions.ledger import measures, overview, reading, scheduler
from oem_submissions.ledger.store import Ledger

BIG = ("claims", "claim_terms", "events", "attempts", "artifacts")
OEMS = ("aurora", "borealis", "cascade")
QUERIES: dict[str, Select[Any]] = {
    "a look-up": overview.look_up_query("AUR-0004711", 100),
    "a dealer's claims": overview.of_accounts_query([("borealis", "d0007")], 100),
    "the counts": overview.count_query(HELD | {State.DEAD}),
    "the review list": overview.held_query(HELD, 200),
    "dead letters": overview.dead_query(None, None, None, 200),
    "dead letters of an OEM": overview.dead_query("aurora", None, None, 200),
    "dead letters of a reason and a pack": overview.dead_query(None, ReasonCode.LOGIN_FAILED, "v0001", 200),
    "dead letters by kind": overview.dead_kinds_query(),
    "the queues": overview.queue_query(OEMS),
    "the queues' age": overview.oldest_query(OEMS),
    "attempts of the last hour": measures.ended_query(OEMS),
    "seconds per step": measures.steps_query(OEMS),
    "the health's queue age": scheduler.oldest_query(OEMS),
    "due work": reading.due_work_query("aurora", (), None),
    "stuck claims": scheduler.stuck_query(900),
    "unattended dead letters": scheduler.unattended_query(86_400),
    "claims near their deadline": scheduler.at_risk_query(dict.fromkeys(OEMS, (date(2026, 3, 1), date(2026, 3, 3)))),
}
PLAIN = {
    "recent claims": "SELECT * FROM claims ORDER BY updated_at DESC LIMIT 30",
    "a claim's events": "SELECT * FROM events WHERE claim_id = 'aurora-000000004711' ORDER BY sequence",
    "a claim's attempts": "SELECT * FROM attempts WHERE claim_id = 'aurora-000000004711' ORDER BY number",
    "a claim's artifacts": "SELECT * FROM artifacts WHERE claim_id = 'aurora-000000004711'",
}


def plan_of(engine: Engine, query: str) -> str:
    with engine.connect() as connection:
        return "\n".join(connection.scalars(text("EXPLAIN " + query.replace(":", r"\:"))))


@pytest.mark.parametrize("what", [*QUERIES, *PLAIN])
def test_no_page_reads_a_big_table_from_end_to_end(many_claims: Engine, what: str) -> None:
    compiled = PLAIN.get(what) or str(
        QUERIES[what].compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
    )
    plan = plan_of(many_claims, compiled)
    assert "Index" in plan
    assert not [table for table in BIG if f"Seq Scan on {table}" in plan], plan
    # Nor from its newest on, until enough was met of what may be nowhere.
    assert ("ix_claims_updated_at" in plan) is (what == "recent claims"), plan


def test_each_look_up_finds_what_it_should(many_claims: Engine) -> None:
    ledger = Ledger(many_claims)
    for term in ("aur-0004713", "aurora-000000004713", "REC0004713", "RO00004713"):
        assert [claim.claim_id for claim in ledger.look_up(f" {term} ", 10)] == ["aurora-000000004713"], term
    assert ledger.look_up("AUR-000471", 10) == []
    assert ledger.look_up("\x00\ud800", 10) == []


def test_counts_and_lists_say_the_same(many_claims: Engine) -> None:
    ledger = Ledger(many_claims)
    counts = ledger.count_states([State.DEAD, State.NEEDS_REVIEW])
    assert 0 < counts[State.DEAD] < 1000
    assert sum(kind.claims for kind in ledger.dead_kinds()) == counts[State.DEAD]
    assert len(ledger.dead_lines(None, None, None, 10_000)) == counts[State.DEAD]
    held = ledger.held_claims([State.NEEDS_REVIEW], 10_000)
    assert len(held) == counts[State.NEEDS_REVIEW]
    assert [line.claim.created_at for line in held] == sorted(line.claim.created_at for line in held)
    assert all(line.clicked_at is not None and line.since > line.clicked_at for line in held)
    lines = ledger.queue_lines([*OEMS, "nobody"])
    assert sum(line.dead for line in lines) == counts[State.DEAD]
    assert lines[-1].counts == {}
    assert lines[-1].oldest_ready is None


def test_a_dealers_claims_are_found_whatever_the_capitals(many_claims: Engine) -> None:
    found = Ledger(many_claims).of_dealer("D0007", 20)
    assert len(found) == 20
    assert {claim.dealer for claim in found} == {"d0007"}
