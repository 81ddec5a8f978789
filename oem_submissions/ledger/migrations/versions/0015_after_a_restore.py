"""After a restore: look up first. What is no claim can be withdrawn. More logs are pruned"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("claims", sa.Column("in_doubt_since", sa.DateTime(timezone=True)))
    where = sa.text("in_doubt_since IS NOT NULL")
    op.create_index("ix_claims_in_doubt", "claims", ["oem"], postgresql_where=where)
    op.create_table(
        "restores",
        sa.Column("entry", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("oem", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_over", sa.Boolean(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entry", name="pk_restores"),
    )
    op.create_index("ix_restores_oem_entry", "restores", ["oem", "entry"])
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON restores "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.drop_constraint("ck_claims_identified", "claims")
    identified = "state IN ('DEAD', 'WITHDRAWN') OR natural_key IS NOT NULL"
    op.create_check_constraint("ck_claims_identified", "claims", identified)
    for table in ("probes", "sweeps", "history_reads"):
        op.execute(f"DROP TRIGGER append_only ON {table}")
        for name, moment, each in (
            ("append_only", "UPDATE OR DELETE OR TRUNCATE", "STATEMENT"),
            ("append_only_lately", "DELETE", "ROW"),
        ):
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {moment} ON {table} "
                f"FOR EACH {each} EXECUTE FUNCTION refuse_unless_pruned()"
            )


def downgrade() -> None:
    raise NotImplementedError("The ledger only moves forward: restore a backup instead.")
