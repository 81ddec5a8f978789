"""The portal's history: reads, sweeps, dispositions"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "history_reads",
        sa.Column("read_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("oem", sa.Text(), nullable=False),
        sa.Column("dealer", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=True),
        sa.Column("pack_version", sa.Text(), nullable=False),
        sa.Column("pack_digest", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("filings", sa.Integer(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("again_at", _MOMENT, nullable=False),
        sa.CheckConstraint("(reason IS NULL) = (filings IS NOT NULL)", name=op.f("ck_history_reads_read_or_why_not")),
        sa.PrimaryKeyConstraint("read_id", name=op.f("pk_history_reads")),
    )
    op.create_index("ix_history_reads_account", "history_reads", ["oem", "dealer", "read_id"], unique=False)
    op.create_table(
        "sweeps",
        sa.Column("sweep_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("read_id", sa.BigInteger(), nullable=True),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("oem", sa.Text(), nullable=False),
        sa.Column("dealer", sa.Text(), nullable=False),
        sa.Column("conclusive", sa.Boolean(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["read_id"], ["history_reads.read_id"], name=op.f("fk_sweeps_read_id")),
        sa.PrimaryKeyConstraint("sweep_id", name=op.f("pk_sweeps")),
        sa.UniqueConstraint("read_id", name=op.f("uq_sweeps_read_id")),
    )
    op.create_index("ix_sweeps_account", "sweeps", ["oem", "dealer", "sweep_id"], unique=False)
    op.create_table(
        "sweep_findings",
        sa.Column("sweep_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("cells", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.sweep_id"], name=op.f("fk_sweep_findings_sweep_id")),
        sa.PrimaryKeyConstraint("sweep_id", "number", name=op.f("pk_sweep_findings")),
    )
    op.create_index(op.f("ix_sweep_findings_claim_id"), "sweep_findings", ["claim_id"], unique=False)
    op.create_table(
        "dispositions",
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("disposition", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("expected", sa.Boolean(), nullable=False),
        sa.Column("overdue", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("crm_version", sa.Integer(), nullable=True),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["claim_id"], ["claims.claim_id"], name=op.f("fk_dispositions_claim_id")),
        sa.PrimaryKeyConstraint("claim_id", name=op.f("pk_dispositions")),
    )
    op.create_index(
        "ix_dispositions_untold",
        "dispositions",
        ["claim_id"],
        unique=False,
        postgresql_where=sa.text("crm_version IS DISTINCT FROM version"),
    )
    for table in ("history_reads", "sweeps", "sweep_findings"):
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    raise NotImplementedError("The ledger only moves forward: restore a backup instead.")
