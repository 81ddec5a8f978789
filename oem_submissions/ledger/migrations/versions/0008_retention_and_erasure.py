"""Data keys of claims, erasure, pruning and legal holds"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("claims", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("claims", sa.Column("pruned_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "claim_keys",
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("wrapped_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erased_by", sa.Text(), nullable=True),
        sa.Column("erased_why", sa.Text(), nullable=True),
        sa.Column("swept_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("claim_id", name=op.f("pk_claim_keys")),
        sa.CheckConstraint("(wrapped IS NULL) = (erased_at IS NOT NULL)", name=op.f("ck_claim_keys_key_or_erased")),
        sa.CheckConstraint(
            "erased_at IS NULL OR (erased_by IS NOT NULL AND erased_why IS NOT NULL)",
            name=op.f("ck_claim_keys_erased_by_whom"),
        ),
    )
    op.create_index(
        "ix_claim_keys_unswept",
        "claim_keys",
        ["claim_id"],
        postgresql_where=sa.text("erased_at IS NOT NULL AND swept_at IS NULL"),
    )
    op.create_table(
        "legal_holds",
        sa.Column("entry", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("on", sa.Boolean(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_legal_holds")),
        sa.ForeignKeyConstraint(["claim_id"], ["claims.claim_id"], name=op.f("fk_legal_holds_claim_id")),
    )
    op.create_index("ix_legal_holds_claim_id_entry", "legal_holds", ["claim_id", "entry"])
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON legal_holds "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    raise NotImplementedError("The ledger only moves forward: restore a backup instead.")
