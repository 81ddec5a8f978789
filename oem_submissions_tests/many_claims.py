"""A ledger with very many claims, made by PostgreSQL itself: for benchmarks, and for tests of query plans."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import LiteralString

import psycopg

EVENTS = 5
"""Of each claim."""
DEALERS = 300
NEWEST = datetime(2026, 10, 28, tzinfo=UTC)
"""When the newest claim came."""

_STEPS: tuple[LiteralString, ...] = (
    """
    CREATE TEMPORARY TABLE made AS
    SELECT number,
           (ARRAY['aurora', 'borealis', 'cascade'])[1 + number % 3] AS oem,
           'd' || lpad((number % %(dealers)s)::text, 4, '0') AS dealer,
           CASE WHEN number % 40 = 4 THEN 'REJECTED' WHEN number <= %(claims)s - %(lively)s THEN 'SYNCED'
                WHEN number % 500 = 0 THEN 'DEAD' WHEN number % 500 = 1 THEN 'READY'
                WHEN number % 2000 = 2 THEN 'NEEDS_REVIEW' WHEN number % 2000 = 3 THEN 'OUTCOME_UNKNOWN'
                ELSE 'SYNCED' END AS state,
           timestamptz '2026-10-28' - interval '%(seconds)s seconds' * (%(claims)s - number) AS at
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
        bundle_digest, crm_version, created_at, updated_at, confirmed_at, polled)
    SELECT claim_id, oem, dealer, to_char(at, 'YYYY-MM-DD'), 'warranty', 'REC' || lpad(number::text, 7, '0'),
        oem || ':warranty:' || number,
        jsonb_build_object('repair_order', 'RO' || lpad(number::text, 8, '0'), 'complaint', repeat('RATTLE ', 20)),
        repeat('4be1', 16), repeat('5e1f', 16), at::date, state, 7, 1,
        CASE WHEN state = 'DEAD' THEN (ARRAY['LOGIN_FAILED', 'SELECTOR_NOT_FOUND'])[1 + number / 500 % 2]
             WHEN state IN ('NEEDS_REVIEW', 'OUTCOME_UNKNOWN') THEN 'OUTCOME_UNKNOWN'
             WHEN state = 'REJECTED' THEN 'VALIDATION_REJECTED' END,
        CASE WHEN state NOT IN ('SYNCED', 'READY') THEN 'What the portal said of it.' END,
        reference, 'claim number', 'run-' || number / 10, CASE WHEN state = 'SYNCED' THEN md5(claim_id) || md5(oem) END,
        7, at, at + interval '8 seconds', CASE WHEN state = 'SYNCED' THEN at END,
        number > %(claims)s - %(lively)s
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
    SELECT claim_id, sequence, at + interval '1 second' * sequence * 1.5, 'worker-1',
        (ARRAY['taken_in', 'attempt_started', 'moved', 'moved', 'moved'])[sequence],
        CASE WHEN sequence > 2 THEN 'ARMED' END, CASE WHEN sequence = %(events)s THEN state ELSE 'ARMED' END,
        'run-' || number / 10, '{"text": "made up"}', repeat('0', 64), repeat('1', 64)
    FROM made, generate_series(1, %(events)s) AS sequence
    """,
    """
    INSERT INTO artifacts (attempt_id, name, claim_id, media_type, key, sha256, size, captured_at)
    SELECT attempt_id, name, claim_id, 'image/webp', 'artifacts/' || claim_id, repeat('0', 64), 112000, started_at
    FROM attempts, unnest(ARRAY['pre_submit.webp', 'post_confirm.webp']) AS name
    """,
    "INSERT INTO dealers (oem, dealer, pilot) SELECT DISTINCT oem, dealer, dealer = 'd0007' FROM made",
    """
    INSERT INTO dispositions (claim_id, disposition, text, expected, overdue, version, crm_version, changed_at, seen_at)
    SELECT claim_id, CASE WHEN number <= %(claims)s - %(lively)s THEN 'PAID' ELSE 'UNDECIDED' END, 'As listed.', true,
        false, 2, 2, at + interval '1 day', at + interval '2 days'
    FROM made WHERE state = 'SYNCED'
    """,
    """
    INSERT INTO releases (oem, adapter_digest, pack_version, pack_digest)
    SELECT oem, 'c0de', 'v0001', 'ba5e' FROM unnest(ARRAY['aurora', 'borealis', 'cascade']) AS oem ORDER BY oem
    """,
    """
    INSERT INTO release_log (at, release_id, note, actor, text)
    SELECT timestamptz '2026-01-01', release_id, note, 'release gate', ''
    FROM releases, unnest(ARRAY['seen', 'verifying', 'promoted']) WITH ORDINALITY AS notes (note, place) ORDER BY place
    """,
    # Ten claims each: what each leaves in the logs.
    """
    CREATE TEMPORARY TABLE ran AS
    SELECT 'run-' || number / 10 AS run_id, number / 10 AS run, oem, dealer, period, at
    FROM (SELECT *, to_char(at, 'YYYY-MM-DD') AS period FROM made WHERE number % 10 = 0) AS firsts ORDER BY number
    """,
    """
    INSERT INTO runs (run_id, release_id, dealer, period, started_at)
    SELECT run_id, release_id, dealer, period, at FROM ran JOIN releases USING (oem) ORDER BY run
    """,
    """
    INSERT INTO leases (oem, dealer, run_id, worker, fencing_token, acquired_at, expires_at, released_at)
    SELECT oem, dealer, run_id, 'worker-1', run, at, at + interval '2 minutes', at + interval '90 seconds'
    FROM ran ORDER BY run
    """,
    """
    INSERT INTO lease_log (at, kind, oem, dealer, run_id, worker, fencing_token, expires_at)
    SELECT at + place * interval '18 seconds', kind, oem, dealer, run_id, 'worker-1', run, at + interval '2 minutes'
    FROM ran, unnest(ARRAY['acquired', 'renewed', 'renewed', 'renewed', 'released']) WITH ORDINALITY AS kinds
        (kind, place)
    ORDER BY run, place
    """,
    """
    INSERT INTO ticks (at, oem, source, scheduled_for, requested, cadence)
    SELECT at, oem, 'schedule', at, 1, '0 6 * * * UTC' FROM ran ORDER BY run
    """,
    """
    INSERT INTO history_reads (at, oem, dealer, run_id, worker, fencing_token, pack_version, pack_digest, text, filings,
        failures, again_at)
    SELECT at, oem, dealer, 'read-' || run, 'worker-1', run, 'v0001', 'ba5e', 'Read.', 90, 0, at + interval '1 day'
    FROM ran ORDER BY run
    """,
    """
    INSERT INTO sweeps (read_id, at, oem, dealer, conclusive, text)
    SELECT read_id, at, oem, dealer, true, 'Nothing to look at.' FROM history_reads ORDER BY read_id
    """,
    """
    INSERT INTO probes (at, oem, dealer, adapter_digest, pack_version, pack_digest, run_id, by, seconds, red, text,
        changes, stopped)
    SELECT at, oem, dealer, 'c0de', 'v0001', 'ba5e', 'probe-' || run, 'worker-1', 2, false, 'As expected.', '[]', '{}'
    FROM ran ORDER BY run
    """,
    """
    INSERT INTO alerts (key, kind, oem, text, raised_at, last_at, resolved_at)
    SELECT 'worker lost lost-' || run, 'worker_lost', oem, 'Put right.', at, at, at + interval '1 hour'
    FROM ran WHERE run % 10 = 0 ORDER BY run
    """,
    """
    INSERT INTO enqueue_requests (at, oem, dealers, requested_by)
    SELECT at, oem, ARRAY[]::text[], 'cron' FROM ran ORDER BY run
    """,
    """
    SELECT setval('fencing_tokens', (SELECT max(fencing_token) FROM leases))
    """,
    "DROP TABLE ran",
    "DROP TABLE made",
    "ANALYZE",
)


def fill(connection: psycopg.Connection, claims: int, lively: int | None = None, seconds: int = 26) -> None:
    """Fill an empty, migrated ledger. The connection is a superuser's, in autocommit: no foreign key is checked.

    Of the newest `lively` claims (all of them, without) some wait, are held or dead; the older ones are at their end.
    One came every so many `seconds`: a larger ledger is an older one, and no busier.
    """
    connection.execute("SET session_replication_role = replica")
    values = {"claims": claims, "lively": lively or claims, "seconds": seconds, "dealers": DEALERS, "events": EVENTS}
    for step in _STEPS:
        for name, value in values.items():
            step = step.replace(f"%({name})s", str(value))  # type: ignore[assignment]
        connection.execute(step)
    connection.execute("VACUUM (ANALYZE)")
