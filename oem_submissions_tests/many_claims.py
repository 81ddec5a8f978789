"""A ledger with very many claims, made by PostgreSQL itself: for benchmarks, and for tests of query plans."""

from __future__ import annotations

from typing import LiteralString

import psycopg

EVENTS = 5
"""Of each claim."""
DEALERS = 300

_STEPS: tuple[LiteralString, ...] = (
    """
    CREATE TEMPORARY TABLE made AS
    SELECT number,
           (ARRAY['aurora', 'borealis', 'cascade'])[1 + number % 3] AS oem,
           'd' || lpad((number % %(dealers)s)::text, 4, '0') AS dealer,
           CASE WHEN number % 500 = 0 THEN 'DEAD' WHEN number % 500 = 1 THEN 'READY'
                WHEN number % 2000 = 2 THEN 'NEEDS_REVIEW' WHEN number % 2000 = 3 THEN 'OUTCOME_UNKNOWN'
                WHEN number % 40 = 4 THEN 'REJECTED' ELSE 'SYNCED' END AS state,
           timestamptz '2026-01-01' + (interval '300 days' * number / %(claims)s) AS at
    FROM generate_series(1, %(claims)s) AS number
    """,
    "ALTER TABLE made ADD claim_id text, ADD reference text",
    """
    UPDATE made SET claim_id = oem || '-' || lpad(number::text, 12, '0'),
        reference = CASE WHEN state = 'SYNCED' THEN upper(left(oem, 3)) || '-' || lpad(number::text, 7, '0') END
    """,
    """
    INSERT INTO claims (claim_id, oem, dealer, period, claim_type, crm_record_id, natural_key, payload, payload_sha256,
        source_sha256, due_on, state, version, attempts, reason, reason_text, reference, reference_kind, run_id,
        bundle_digest, crm_version, created_at, updated_at, confirmed_at)
    SELECT claim_id, oem, dealer, to_char(at, 'YYYY-MM-DD'), 'warranty', 'REC' || lpad(number::text, 7, '0'),
        oem || ':warranty:' || number,
        jsonb_build_object('repair_order', 'RO' || lpad(number::text, 8, '0'), 'complaint', repeat('RATTLE ', 20)),
        repeat('4be1', 16), repeat('5e1f', 16), at::date, state, 7, 1,
        CASE WHEN state = 'DEAD' THEN (ARRAY['LOGIN_FAILED', 'SELECTOR_NOT_FOUND'])[1 + number / 500 % 2]
             WHEN state IN ('NEEDS_REVIEW', 'OUTCOME_UNKNOWN') THEN 'OUTCOME_UNKNOWN'
             WHEN state = 'REJECTED' THEN 'VALIDATION_REJECTED' END,
        CASE WHEN state NOT IN ('SYNCED', 'READY') THEN 'What the portal said of it.' END,
        reference, 'claim number', 'run-' || number / 10, CASE WHEN state = 'SYNCED' THEN md5(claim_id) || md5(oem) END,
        7, at, at + interval '8 seconds', CASE WHEN state = 'SYNCED' THEN at END
    FROM made
    """,
    """
    INSERT INTO claim_terms (term, claim_id)
    SELECT term, claim_id FROM made, LATERAL (VALUES (upper(claim_id)), ('REC' || lpad(number::text, 7, '0')),
        ('RO' || lpad(number::text, 8, '0')), (reference)) AS terms (term) WHERE term IS NOT NULL
    """,
    """
    INSERT INTO attempts (claim_id, number, run_id, worker, adapter_digest, pack_version, pack_digest, fencing_token,
        started_at, armed_at, sent_at, ended_at, ended_as, reason)
    SELECT claim_id, 1, 'run-' || number / 10, 'worker-1', 'c0de', 'v0001', 'ba5e', number, at,
        CASE WHEN state NOT IN ('DEAD', 'READY') THEN at + interval '4 seconds' END,
        CASE WHEN state NOT IN ('DEAD', 'READY') THEN at + interval '4 seconds' END, at + interval '6 seconds', state,
        CASE WHEN state = 'DEAD' THEN 'LOGIN_FAILED' END
    FROM made WHERE state <> 'READY'
    """,
    """
    INSERT INTO events (claim_id, sequence, at, actor, kind, from_state, to_state, run_id, details, previous_hash, hash)
    SELECT claim_id, sequence, at + interval '1 second' * sequence * 1.5, 'worker-1', 'moved',
        CASE WHEN sequence > 1 THEN 'ARMED' END, CASE WHEN sequence = %(events)s THEN state ELSE 'ARMED' END,
        'run-' || number / 10, '{"text": "made up"}', repeat('0', 64), repeat('1', 64)
    FROM made, generate_series(1, %(events)s) AS sequence
    """,
    """
    INSERT INTO artifacts (attempt_id, name, claim_id, media_type, key, sha256, size, captured_at)
    SELECT attempt_id, name, claim_id, 'image/webp', 'artifacts/' || claim_id, repeat('0', 64), 112000, started_at
    FROM attempts, unnest(ARRAY['pre_submit.webp', 'post_confirm.webp']) AS name
    """,
    "INSERT INTO dealers (oem, dealer) SELECT DISTINCT oem, dealer FROM made ON CONFLICT DO NOTHING",
    "DROP TABLE made",
    "ANALYZE",
)


def fill(connection: psycopg.Connection, claims: int) -> None:
    """Fill an empty, migrated ledger. The connection is a superuser's, in autocommit: no foreign key is checked."""
    connection.execute("SET session_replication_role = replica")
    values = {"claims": claims, "dealers": DEALERS, "events": EVENTS}
    for step in _STEPS:
        for name, value in values.items():
            step = step.replace(f"%({name})s", str(value))  # type: ignore[assignment]
        connection.execute(step)
    connection.execute("VACUUM (ANALYZE) claims, claim_terms, attempts, events, artifacts")
