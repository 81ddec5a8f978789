"""Year three: what is asked every few seconds is found by an index, and old lines of the daily logs may be deleted"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_FILED = "'CONFIRMED', 'SEALED', 'SYNCED'"
_TOLD_TO_CRM = (
    "state IN ('AWAITING_REFERENCE', 'DEAD', 'NEEDS_REVIEW', 'OUTCOME_UNKNOWN', 'PROVEN_ABSENT', 'RECONCILING',"
    " 'REJECTED', 'SYNCED', 'WITHDRAWN')"
)
_IS_UNTOLD = "CASE WHEN crm_version = version THEN false ELSE true END"
_PRUNED = ("lease_log", "ticks", "enqueue_requests")


def upgrade() -> None:
    _polled()
    _untold()
    op.create_index("ix_attempts_open", "attempts", ["claim_id"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_index("ix_alerts_key", "alerts", ["key"])
    op.create_index("ix_probes_oem_probe_id", "probes", ["oem", "probe_id"])
    _prunable()
    op.execute("ANALYZE claims, dispositions")


def _polled() -> None:
    """Which claims the OEM has not decided of. By a trigger: workers of the version before move dispositions, too."""
    op.add_column("claims", sa.Column("polled", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.alter_column("claims", "polled", server_default=sa.text("true"))  # of those to come: no row is written for it
    op.execute(
        """
        CREATE FUNCTION note_polled() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            is_polled boolean := NEW.disposition IN ('APPROVED', 'SUSPENDED', 'UNDECIDED', 'UNRECOGNISED');
        BEGIN
            UPDATE claims SET polled = is_polled WHERE claim_id = NEW.claim_id AND polled <> is_polled;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER polled AFTER INSERT OR UPDATE OF disposition ON dispositions "
        "FOR EACH ROW EXECUTE FUNCTION note_polled()"
    )
    op.execute(  # most are decided, and stay as they are: to write a million rows takes minutes
        """
        UPDATE claims SET polled = true WHERE NOT EXISTS (
            SELECT 1 FROM dispositions WHERE dispositions.claim_id = claims.claim_id
            AND disposition NOT IN ('APPROVED', 'SUSPENDED', 'UNDECIDED', 'UNRECOGNISED'))
        """
    )
    where = sa.text(f"polled AND state IN ({_FILED})")
    op.create_index("ix_claims_polled", "claims", ["oem", "dealer"], postgresql_where=where)


def _untold() -> None:
    """PostgreSQL takes a comparison of two columns for true of nearly every row, unless there are statistics of it."""
    for table in ("claims", "dispositions"):
        op.execute(f"CREATE STATISTICS {table}_untold ON ({_IS_UNTOLD}) FROM {table}")
    op.drop_index("ix_dispositions_untold", "dispositions")
    op.create_index("ix_dispositions_untold", "dispositions", ["claim_id"], postgresql_where=sa.text(_IS_UNTOLD))
    op.drop_index("ix_claims_untold", "claims")
    op.create_index("ix_claims_untold", "claims", ["oem"], postgresql_where=sa.text(f"{_TOLD_TO_CRM} AND {_IS_UNTOLD}"))


def _prunable() -> None:
    """A line that is 30 days old may go, for who says that he prunes. Nothing else: no change, nothing younger."""
    op.execute(
        """
        CREATE FUNCTION refuse_unless_pruned() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_LEVEL = 'STATEMENT' THEN
                IF TG_OP = 'DELETE' AND current_setting('oem_submissions.pruning', true) = 'on' THEN
                    RETURN NULL;
                END IF;
            ELSIF OLD.at < clock_timestamp() - interval '30 days' THEN
                RETURN OLD;
            END IF;
            RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME;
        END $$
        """
    )
    for table in _PRUNED:
        op.execute(f"DROP TRIGGER append_only ON {table}")
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_unless_pruned()"
        )
        op.execute(
            f"CREATE TRIGGER append_only_lately BEFORE DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_unless_pruned()"
        )


def downgrade() -> None:
    raise NotImplementedError("The ledger only moves forward: restore a backup instead.")
