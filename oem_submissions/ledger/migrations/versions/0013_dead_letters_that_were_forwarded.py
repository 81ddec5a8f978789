"""Dead letters that a queue has taken, and the events by which claims became dead letters"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "forwarded_deaths",
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("claim_id", "sequence", name=op.f("pk_forwarded_deaths")),
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON forwarded_deaths "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.create_index(
        "ix_events_deaths",
        "events",
        ["claim_id", "sequence"],
        postgresql_where=sa.text("to_state = 'DEAD' AND (from_state IS DISTINCT FROM 'DEAD' OR kind = 'amended')"),
    )


def downgrade() -> None:
    raise NotImplementedError("The ledger only moves forward: restore a backup instead.")
