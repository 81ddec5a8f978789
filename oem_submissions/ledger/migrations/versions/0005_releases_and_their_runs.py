"""Releases, their log, and the runs that were let file with them"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_APPEND_ONLY = ("releases", "release_log", "runs", "run_troubles", "expected_rejections")


def upgrade() -> None:
    op.create_index("ix_attempts_run_id", "attempts", ["run_id"])
    op.create_table(
        "releases",
        sa.Column("release_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("oem", sa.Text(), nullable=False),
        sa.Column("adapter_digest", sa.Text(), nullable=False),
        sa.Column("pack_version", sa.Text(), nullable=False),
        sa.Column("pack_digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("release_id", name=op.f("pk_releases")),
        sa.UniqueConstraint(
            "oem", "adapter_digest", "pack_digest", name=op.f("uq_releases_oem_adapter_digest_pack_digest")
        ),
    )
    op.create_table(
        "release_log",
        sa.Column("entry", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("release_id", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_release_log")),
        sa.ForeignKeyConstraint(["release_id"], ["releases.release_id"], name=op.f("fk_release_log_release_id")),
    )
    op.create_index("ix_release_log_release_id_entry", "release_log", ["release_id", "entry"])
    op.create_table(
        "runs",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("release_id", sa.BigInteger(), nullable=False),
        sa.Column("dealer", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_runs")),
        sa.UniqueConstraint("run_id", name=op.f("uq_runs_run_id")),
        sa.ForeignKeyConstraint(["release_id"], ["releases.release_id"], name=op.f("fk_runs_release_id")),
    )
    op.create_index("ix_runs_release_id_number", "runs", ["release_id", "number"])
    op.create_table(
        "run_troubles",
        sa.Column("entry", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_run_troubles")),
    )
    op.create_index("ix_run_troubles_run_id", "run_troubles", ["run_id"])
    op.create_table(
        "expected_rejections",
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("declared_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("claim_id", name=op.f("pk_expected_rejections")),
        sa.ForeignKeyConstraint(["claim_id"], ["claims.claim_id"], name=op.f("fk_expected_rejections_claim_id")),
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    raise NotImplementedError("The ledger only moves forward: restore a backup instead.")
