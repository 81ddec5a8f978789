"""The declared schema. The migrations must lead to exactly this; a test compares them."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from oem_submissions.domain.states import FILED, TOLD_TO_CRM

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Moment = DateTime(timezone=True)
IS_UNTOLD = "CASE WHEN crm_version = version THEN false ELSE true END"
"""Of claims and dispositions. One `CASE`, of which PostgreSQL keeps statistics (migration 0014).

A plain comparison of the two it takes for true of nearly every row, and then reads them all.
"""
UNTOLD = f"state IN ({', '.join(repr(str(state)) for state in sorted(TOLD_TO_CRM))}) AND {IS_UNTOLD}"
"""Of claims: the CRM should hear of them. Queries say it in these words, for the index's sake."""

POLLED_CLAIM = f"polled AND state IN ({', '.join(repr(str(state)) for state in sorted(FILED))})"
"""Of claims: the portal's history is asked about them. Queries say it in these words, too."""

fencing_tokens = Sequence("fencing_tokens", metadata=metadata)

claims = Table(
    "claims",
    metadata,
    Column("claim_id", Text, primary_key=True),
    Column("oem", Text, nullable=False),
    Column("dealer", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("claim_type", Text, nullable=False),
    Column("crm_record_id", Text, nullable=False),
    # The business identity. Unique over all queues, runs, backfills and time: two rows for one claim can't exist.
    # Null while the CRM's record is not a valid claim.
    Column("natural_key", Text, unique=True),
    Column("payload", JSONB, nullable=False),
    Column("payload_sha256", Text, nullable=False),
    Column("source_sha256", Text, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("state", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("reason", Text),
    Column("reason_text", Text),
    Column("reference", Text),
    Column("reference_kind", Text),
    Column("run_id", Text),
    Column("bundle_digest", Text),
    Column("crm_version", Integer),
    Column("created_at", _Moment, nullable=False),
    Column("updated_at", _Moment, nullable=False),
    Column("confirmed_at", _Moment),
    # Null: at once, if the claim is held for a look-up.
    Column("look_again_at", _Moment),
    Column("looks", Integer, nullable=False, server_default="0"),
    Column("absences", Integer, nullable=False, server_default="0"),
    Column("erased_at", _Moment),
    Column("pruned_at", _Moment),
    # Whether the portal is asked what became of it, once it is filed. A trigger keeps it beside `dispositions`.
    Column("polled", Boolean, nullable=False, server_default="true"),
    # Not filed before it was looked up: the ledger was put back to an older time.
    Column("in_doubt_since", _Moment),
    UniqueConstraint("oem", "crm_record_id"),
    CheckConstraint("state IN ('DEAD', 'WITHDRAWN') OR natural_key IS NOT NULL", name="identified"),
    CheckConstraint("state NOT IN ('CONFIRMED', 'SEALED', 'SYNCED') OR reference IS NOT NULL", name="referenced"),
    CheckConstraint("state NOT IN ('SEALED', 'SYNCED') OR bundle_digest IS NOT NULL", name="evidenced"),
    Index("ix_claims_partition", "oem", "dealer", "period"),
    Index("ix_claims_state", "oem", "state"),
    # The desk's lists and counts, over all OEMs.
    Index("ix_claims_state_updated_at", "state", "updated_at"),
    Index("ix_claims_updated_at", "updated_at"),
    # Ends and holds that the CRM does not know of yet: few among all that are at their end.
    Index("ix_claims_untold", "oem", postgresql_where=text(UNTOLD)),
    # Filed claims that the OEM has not decided of: few among all that were ever filed.
    Index("ix_claims_polled", "oem", "dealer", postgresql_where=text(POLLED_CLAIM)),
    # Claims that a restored ledger may know too little of: none, as a rule.
    Index("ix_claims_in_doubt", "oem", postgresql_where=text("in_doubt_since IS NOT NULL")),
    # One reference belongs to one claim of an OEM.
    Index("uq_claims_oem_reference", "oem", "reference", unique=True, postgresql_where=text("reference IS NOT NULL")),
)

claim_terms = Table(
    "claim_terms",
    metadata,
    Column("term", Text, primary_key=True),
    Column("claim_id", Text, ForeignKey("claims.claim_id"), primary_key=True),
)
"""What a claim can be looked up by, in capitals: ids, reference, repair order, VIN, invoice."""

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", BigInteger, Identity(always=True), primary_key=True),
    Column("claim_id", Text, ForeignKey("claims.claim_id"), nullable=False),
    # From 1. 0: no attempt, but what looks leave behind before the first one, after a restore.
    Column("number", Integer, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("adapter_digest", Text, nullable=False),
    Column("pack_version", Text, nullable=False),
    Column("pack_digest", Text, nullable=False),
    Column("fencing_token", BigInteger, nullable=False),
    Column("started_at", _Moment, nullable=False),
    Column("armed_at", _Moment),
    Column("sent_at", _Moment),
    Column("responded_at", _Moment),
    Column("response_status", Integer),
    Column("ended_at", _Moment),
    # The state that it left the claim in.
    Column("ended_as", Text),
    Column("step", Text),
    Column("reason", Text),
    Column("reason_text", Text),
    Column("facts", JSONB, nullable=False, server_default="{}"),
    UniqueConstraint("claim_id", "number"),
    Index("ix_attempts_ended_at", "ended_at"),
    Index("ix_attempts_fencing_token", "fencing_token"),
    Index("ix_attempts_run_id", "run_id"),
    # What is under way, or was left by a lost worker.
    Index("ix_attempts_open", "claim_id", postgresql_where=text("ended_at IS NULL")),
    CheckConstraint("sent_at IS NULL OR armed_at IS NOT NULL", name="armed_before_sent"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("attempt_id", BigInteger, ForeignKey("attempts.attempt_id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("claim_id", Text, ForeignKey("claims.claim_id"), nullable=False, index=True),
    Column("media_type", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("captured_at", _Moment, nullable=False),
)

DEATH = "to_state = 'DEAD' AND (from_state IS DISTINCT FROM 'DEAD' OR kind = 'amended')"
"""Events by which a claim became a dead letter: not those that a dead one has, but a correction that is no claim."""

events = Table(
    "events",
    metadata,
    Column("claim_id", Text, ForeignKey("claims.claim_id"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("at", _Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("from_state", Text),
    Column("to_state", Text),
    Column("run_id", Text),
    Column("fencing_token", BigInteger),
    Column("details", JSONB, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("ix_events_deaths", "claim_id", "sequence", postgresql_where=text(DEATH)),
)
"""Append-only (a trigger refuses the rest), a hash chain per claim. The state columns of `claims` are a cache of it."""

forwarded_deaths = Table(
    "forwarded_deaths",
    metadata,
    # Of an event. No foreign key: events may be moved to an archive.
    Column("claim_id", Text, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("at", _Moment, nullable=False, server_default=func.clock_timestamp()),
)
"""Append-only: dead letters that the queue has taken. Those that are not here are still to be forwarded."""

leases = Table(
    "leases",
    metadata,
    Column("lease_id", BigInteger, Identity(always=True), primary_key=True),
    Column("oem", Text, nullable=False),
    Column("dealer", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("fencing_token", BigInteger, nullable=False, unique=True),
    Column("acquired_at", _Moment, nullable=False),
    Column("expires_at", _Moment, nullable=False),
    Column("released_at", _Moment),
    # Two workers on one portal account: forbidden here, not by anybody's good manners.
    Index("uq_leases_held", "oem", "dealer", unique=True, postgresql_where=text("released_at IS NULL")),
    Index("ix_leases_account", "oem", "dealer", "fencing_token"),
)

lease_log = Table(
    "lease_log",
    metadata,
    Column("entry", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False),
    Column("kind", Text, nullable=False),
    Column("oem", Text, nullable=False),
    Column("dealer", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("fencing_token", BigInteger, nullable=False),
    Column("expires_at", _Moment, nullable=False),
    Index("ix_lease_log_expired", "entry", postgresql_where=text("kind = 'expired'")),
    Index("ix_lease_log_at", "at"),
)
"""Append-only: acquired, renewed, released, expired. Overlaps and orphans are computed from it."""

worker_beats = Table(
    "worker_beats",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("worker", Text, nullable=False),
    Column("at", _Moment, nullable=False),
)
"""Runs whose process lives, or did at `at`: also while it seals or tells the CRM, when it holds no account's lease."""

breaker_log = Table(
    "breaker_log",
    metadata,
    Column("entry", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False),
    Column("oem", Text, nullable=False),
    # Null: the OEM's breaker. Else the one of this dealer's account.
    Column("dealer", Text),
    Column("note", Text, nullable=False),
    Column("reason", Text),
    Column("text", Text),
    Column("actor", Text, nullable=False),
    Column("run_id", Text),
    # The newest attempt there was: what ended before says nothing any more.
    Column("after_attempt", BigInteger, nullable=False),
    Index("ix_breaker_log_oem_dealer_entry", "oem", "dealer", "entry"),
)
"""Append-only: opened, probe failed, half-opened, closed. Where a breaker stands follows from it."""

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", BigInteger, Identity(always=True), primary_key=True),
    # What it is about. While one is open, the same again only counts.
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("oem", Text),
    Column("dealer", Text),
    Column("run_id", Text),
    Column("text", Text, nullable=False),
    # The claims that it is about: when they have come to rest, its cause is gone.
    Column("claim_ids", ARRAY(Text), nullable=False, server_default="{}"),
    Column("count", Integer, nullable=False, server_default="1"),
    Column("raised_at", _Moment, nullable=False),
    Column("last_at", _Moment, nullable=False),
    Column("resolved_at", _Moment),
    Column("severity", Text, nullable=False, server_default="warning"),
    # Of the last transition; null while it does not count enough for one.
    Column("told_at", _Moment),
    Column("told_count", Integer, nullable=False, server_default="0"),
    Column("escalated_at", _Moment),
    Index("uq_alerts_open", "key", unique=True, postgresql_where=text("resolved_at IS NULL")),
    Index("ix_alerts_raised_at", "raised_at"),
    Index("ix_alerts_key", "key"),
)

alert_transitions = Table(
    "alert_transitions",
    metadata,
    # In the order of the commits: whoever appends holds a lock, so that a reader who has seen one misses none before.
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False),
    Column("alert_id", BigInteger, ForeignKey("alerts.alert_id"), nullable=False),
    Column("change", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Index("ix_alert_transitions_alert_id_number", "alert_id", "number"),
)
"""Append-only: raised, escalated, repeated, resolved. This is what channels are told: the outbox."""

alert_channels = Table(
    "alert_channels",
    metadata,
    # Scheme and host: never the URL, which may hold a token.
    Column("channel", Text, primary_key=True),
    Column("added_at", _Moment, nullable=False),
    Column("seen_at", _Moment, nullable=False),
    # The last transition that it was told, or that is not for it.
    Column("told", BigInteger, nullable=False),
    Column("sent_at", _Moment),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("failing_since", _Moment),
    Column("next_try_at", _Moment),
    Column("problem", Text),
)
"""How far each channel is with the outbox."""

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("number", BigInteger, ForeignKey("alert_transitions.number"), primary_key=True, autoincrement=False),
    Column("channel", Text, primary_key=True),
    Column("at", _Moment, nullable=False),
)
"""Append-only: which channel took which transition."""

findings = Table(
    "findings",
    metadata,
    # A check of an asset, or a job.
    Column("subject", Text, primary_key=True),
    # The partition, or nothing.
    Column("part", Text, primary_key=True),
    # Dagster's number of the event: a later one replaces an earlier one, never the other way round.
    Column("event", BigInteger, nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("oem", Text),
    Column("severity", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", _Moment, nullable=False),
    Index("ix_findings_failed", "subject", "event", postgresql_where=text("failed")),
)
"""The newest ending of each check and job per partition, as far as alerts need it."""

beats = Table(
    "beats",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", _Moment, nullable=False),
)
"""Parts of the system that say that they live: Dagster's daemon."""

dealers = Table(
    "dealers",
    metadata,
    Column("oem", Text, primary_key=True),
    Column("dealer", Text, primary_key=True),
    Column("name", Text),
    Column("pilot", Boolean, nullable=False, server_default="false"),
    Column("first_seen_at", _Moment, nullable=False, server_default=func.clock_timestamp()),
)

enqueue_requests = Table(
    "enqueue_requests",
    metadata,
    Column("request_id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("oem", Text, nullable=False),
    Column("dealers", ARRAY(Text), nullable=False),
    Column("period", Text),
    Column("requested_by", Text, nullable=False),
)
"""Append-only: what `oem-submissions enqueue` asked for. A sensor reads it by cursor and puts the runs in the queue."""

ticks = Table(
    "ticks",
    metadata,
    Column("tick_id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("oem", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("scheduled_for", _Moment, nullable=False),
    Column("requested", Integer, nullable=False),
    # The cron and time zone that made that moment a tick: with others, other ticks are expected. Null: none of them.
    Column("cadence", Text),
    Index("ix_ticks_oem_at", "oem", "at"),
    Index("ix_ticks_oem_cadence_scheduled_for", "oem", "cadence", "scheduled_for"),
)
"""Append-only: every evaluation of a schedule, also when nothing was due, and every one that was missed."""

history_reads = Table(
    "history_reads",
    metadata,
    Column("read_id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False),
    Column("oem", Text, nullable=False),
    Column("dealer", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("fencing_token", BigInteger),
    Column("pack_version", Text, nullable=False),
    Column("pack_digest", Text, nullable=False),
    # Null when the history was read to its end.
    Column("reason", Text),
    Column("text", Text, nullable=False),
    Column("filings", Integer),
    Column("failures", Integer, nullable=False),
    Column("again_at", _Moment, nullable=False),
    CheckConstraint("(reason IS NULL) = (filings IS NOT NULL)", name="read_or_why_not"),
    Index("ix_history_reads_account", "oem", "dealer", "read_id"),
)
"""Append-only: every time that an account's history was read as a whole, or could not be."""

sweeps = Table(
    "sweeps",
    metadata,
    Column("sweep_id", BigInteger, Identity(always=True), primary_key=True),
    # Null when the portal was not even asked.
    Column("read_id", BigInteger, ForeignKey("history_reads.read_id"), unique=True),
    Column("at", _Moment, nullable=False),
    Column("oem", Text, nullable=False),
    Column("dealer", Text, nullable=False),
    Column("conclusive", Boolean, nullable=False),
    Column("text", Text, nullable=False),
    Index("ix_sweeps_account", "oem", "dealer", "sweep_id"),
)
"""Append-only: each time that a history was held against the ledger, also when nothing could be concluded."""

sweep_findings = Table(
    "sweep_findings",
    metadata,
    Column("sweep_id", BigInteger, ForeignKey("sweeps.sweep_id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    # No foreign key: it may be an id that a portal shows and that the ledger does not have.
    Column("claim_id", Text, index=True),
    Column("reference", Text),
    Column("cells", JSONB),
)
"""Append-only: what a person must look at."""

dispositions = Table(
    "dispositions",
    metadata,
    Column("claim_id", Text, ForeignKey("claims.claim_id"), primary_key=True),
    Column("disposition", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("expected", Boolean, nullable=False),
    Column("overdue", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    # Null: the CRM was told of no version.
    Column("crm_version", Integer),
    Column("changed_at", _Moment, nullable=False),
    Column("seen_at", _Moment),
    Index("ix_dispositions_untold", "claim_id", postgresql_where=text(IS_UNTOLD)),
)
"""What the OEM decided, as last seen. A cache of the claim's events of the kind `disposition`, which keep the past."""

releases = Table(
    "releases",
    metadata,
    Column("release_id", BigInteger, Identity(always=True), primary_key=True),
    Column("oem", Text, nullable=False),
    Column("adapter_digest", Text, nullable=False),
    Column("pack_version", Text, nullable=False),
    Column("pack_digest", Text, nullable=False),
    UniqueConstraint("oem", "adapter_digest", "pack_digest"),
)
"""Append-only: an adapter and a pack that were seen together. The same two again are the same release, for ever."""

release_log = Table(
    "release_log",
    metadata,
    Column("entry", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False),
    Column("release_id", BigInteger, ForeignKey("releases.release_id"), nullable=False),
    Column("note", Text, nullable=False),
    # Whose hand suspended or resumed it.
    Column("cause", Text),
    Column("actor", Text, nullable=False),
    Column("text", Text, nullable=False),
    Index("ix_release_log_release_id_entry", "release_id", "entry"),
)
"""Append-only: seen, verifying, promoted, suspended … Where a release stands follows from it."""

runs = Table(
    "runs",
    metadata,
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", Text, nullable=False, unique=True),
    Column("release_id", BigInteger, ForeignKey("releases.release_id"), nullable=False),
    Column("dealer", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("started_at", _Moment, nullable=False),
    Index("ix_runs_release_id_number", "release_id", "number"),
)
"""Append-only: every run that was let file, with the release that it is pinned to, in the order of their starts."""

run_troubles = Table(
    "run_troubles",
    metadata,
    Column("entry", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("text", Text, nullable=False),
    Index("ix_run_troubles_run_id", "run_id"),
)
"""Append-only: steps of a run that failed or were tried again. No foreign key: a run may fail before it files."""

expected_rejections = Table(
    "expected_rejections",
    metadata,
    Column("claim_id", Text, ForeignKey("claims.claim_id"), primary_key=True),
    Column("at", _Moment, nullable=False),
    Column("declared_by", Text, nullable=False),
    Column("why", Text, nullable=False),
)
"""Append-only: claims that the OEM is expected to refuse, declared before they were attempted."""

probes = Table(
    "probes",
    metadata,
    Column("probe_id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("oem", Text, nullable=False),
    Column("dealer", Text, nullable=False),
    Column("adapter_digest", Text, nullable=False),
    Column("pack_version", Text, nullable=False),
    Column("pack_digest", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("red", Boolean, nullable=False),
    # Of the failure that ended it; null when the portal let itself be walked through.
    Column("reason", Text),
    Column("text", Text, nullable=False),
    Column("changes", JSONB, nullable=False),
    Column("stopped", JSONB, nullable=False),
    Index("ix_probes_release", "oem", "adapter_digest", "pack_digest", "probe_id"),
    Index("ix_probes_oem_probe_id", "oem", "probe_id"),
)
"""Append-only: every walk through a portal that sent nothing, and what was not as the pack says."""

evidence_log = Table(
    "evidence_log",
    metadata,
    # Contiguous from 0: the next one is the newest checkpoint's size.
    Column("leaf", BigInteger, primary_key=True, autoincrement=False),
    Column("claim_id", Text, ForeignKey("claims.claim_id"), nullable=False, index=True),
    Column("bundle_digest", Text, nullable=False, unique=True),
    # Of the bundle's tag manifest, DER.
    Column("signature", LargeBinary, nullable=False),
    Column("key_fingerprint", Text, nullable=False),
    Column("at", _Moment, nullable=False),
)
"""Append-only: the leaves of the Merkle log, one per bundle. `domain.checkpoints.leaf_of` says what a leaf is."""

evidence_log_nodes = Table(
    "evidence_log_nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)
"""Append-only: the complete subtrees of the Merkle log; those of level 0 are the leaf hashes."""

evidence_checkpoints = Table(
    "evidence_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    # The signed note, verbatim: bundles and stamps hold it.
    Column("note", Text, nullable=False),
    Column("at", _Moment, nullable=False),
)
"""Append-only: the signed head of the Merkle log after each leaf."""

evidence_stamps = Table(
    "evidence_stamps",
    metadata,
    Column("stamp_id", BigInteger, Identity(always=True), primary_key=True),
    Column("size", BigInteger, ForeignKey("evidence_checkpoints.size"), nullable=False, index=True),
    # The whole RFC 3161 response, DER.
    Column("response", LargeBinary, nullable=False),
    Column("authority", Text, nullable=False),
    # The authority's time.
    Column("stamped_at", _Moment, nullable=False),
    Column("at", _Moment, nullable=False),
)
"""Append-only: RFC 3161 time-stamps of checkpoints."""
claim_keys = Table(
    "claim_keys",
    metadata,
    # No foreign key: a claim's files come before the claim.
    Column("claim_id", Text, primary_key=True),
    # Null once it was erased; the row stays, so that there is never another one.
    Column("wrapped", LargeBinary),
    Column("wrapped_by", Text),
    Column("created_at", _Moment, nullable=False),
    Column("erased_at", _Moment),
    Column("erased_by", Text),
    Column("erased_why", Text),
    # When what the key had encrypted was deleted from the evidence store, too.
    Column("swept_at", _Moment),
    CheckConstraint("(wrapped IS NULL) = (erased_at IS NOT NULL)", name="key_or_erased"),
    CheckConstraint("erased_at IS NULL OR (erased_by IS NOT NULL AND erased_why IS NOT NULL)", name="erased_by_whom"),
    Index("ix_claim_keys_unswept", "claim_id", postgresql_where=text("erased_at IS NOT NULL AND swept_at IS NULL")),
)
"""The data key of each claim's personal data, encrypted under a master key."""

kept_sessions = Table(
    "kept_sessions",
    metadata,
    # One of an account at the most, and only while no run has it.
    Column("oem", Text, primary_key=True),
    Column("dealer", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("wrapped_by", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("signed_in_at", _Moment, nullable=False),
    Column("kept_at", _Moment, nullable=False),
    Column("expires_at", _Moment, nullable=False),
    # Who kept it.
    Column("run_id", Text, nullable=False),
)
"""Signed-in sessions at portals, each encrypted under a key of its own, and that one under a master key."""

legal_holds = Table(
    "legal_holds",
    metadata,
    Column("entry", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False),
    Column("claim_id", Text, ForeignKey("claims.claim_id"), nullable=False),
    Column("on", Boolean, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Index("ix_legal_holds_claim_id_entry", "claim_id", "entry"),
)
"""Append-only: placed and lifted. The last entry of a claim says whether it is held."""
desk_log = Table(
    "desk_log",
    metadata,
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("action", Text, nullable=False),
    # Null: nobody that the desk knew.
    Column("who", Text),
    Column("role", Text),
    Column("way", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("address", Text, nullable=False),
    Index("ix_desk_log_who_number", "who", "number"),
)
"""Append-only: who did what at the desk, or was not let."""

restores = Table(
    "restores",
    metadata,
    Column("entry", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _Moment, nullable=False),
    Column("oem", Text, nullable=False),
    Column("since", _Moment, nullable=False),
    Column("is_over", Boolean, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Index("ix_restores_oem_entry", "oem", "entry"),
)
"""Append-only: the ledger was put back to an older time. An OEM's last entry says whether new claims are in doubt."""

hand_overs = Table(
    "hand_overs",
    metadata,
    Column("hand_over_id", Text, primary_key=True),
    Column("oem", Text, nullable=False),
    Column("dealer", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("asks", Text, nullable=False),
    Column("opened_at", _Moment, nullable=False),
    Column("deadline", _Moment, nullable=False),
    Column("taken_by", Text),
    Column("given_up_at", _Moment),
    Column("ended_at", _Moment),
    Column("ending", Text),
    Column("site", Text),
    # How many there were; only the newest is kept, encrypted, while it is open.
    Column("picture", Integer, nullable=False),
    Column("pictured_at", _Moment),
    Column("sealed", LargeBinary),
    Column("wrapped", LargeBinary),
    Column("wrapped_by", Text),
    CheckConstraint("(ended_at IS NULL) = (ending IS NULL)", name="ended_somehow"),
    CheckConstraint("ended_at IS NULL OR (sealed IS NULL AND wrapped IS NULL)", name="nothing_is_kept"),
    Index("ix_hand_overs_open", "opened_at", postgresql_where=text("ended_at IS NULL")),
)
"""Log-ins that a person was asked to help with."""

hand_over_deeds = Table(
    "hand_over_deeds",
    metadata,
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("hand_over_id", Text, ForeignKey("hand_overs.hand_over_id"), nullable=False),
    # The picture that the person was looking at.
    Column("picture", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("ix_hand_over_deeds_hand_over_id", "hand_over_id"),
)
"""What a person did, encrypted, until the worker has read it."""

APPEND_ONLY = (
    restores,
    desk_log,
    alert_transitions,
    alert_deliveries,
    events,
    forwarded_deaths,
    lease_log,
    breaker_log,
    releases,
    release_log,
    runs,
    run_troubles,
    expected_rejections,
    enqueue_requests,
    ticks,
    history_reads,
    sweeps,
    sweep_findings,
    probes,
    evidence_log,
    evidence_log_nodes,
    evidence_checkpoints,
    evidence_stamps,
    legal_holds,
)
PRUNED = (lease_log, ticks, enqueue_requests, probes, sweeps, history_reads)
"""Of these, what is old may be deleted, by `pruning` alone: a second trigger refuses the rest, whoever asks."""
