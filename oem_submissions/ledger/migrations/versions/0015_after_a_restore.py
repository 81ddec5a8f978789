"""After a restore claims that may be filed already are looked up first; a record that is no claim can be withdrawn"""

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


def downgrade() -> None:
    raise NotImplementedError("The ledger only moves forward: restore a backup instead.")
