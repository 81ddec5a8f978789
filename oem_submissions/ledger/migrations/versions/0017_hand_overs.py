"""Log-ins that a person helps with"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hand_overs",
        sa.Column("hand_over_id", sa.Text(), nullable=False),
        sa.Column("oem", sa.Text(), nullable=False),
        sa.Column("dealer", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("asks", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_by", sa.Text()),
        sa.Column("given_up_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("ending", sa.Text()),
        sa.Column("site", sa.Text()),
        sa.Column("picture", sa.Integer(), nullable=False),
        sa.Column("pictured_at", sa.DateTime(timezone=True)),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("wrapped", sa.LargeBinary()),
        sa.Column("wrapped_by", sa.Text()),
        sa.PrimaryKeyConstraint("hand_over_id", name="pk_hand_overs"),
        sa.CheckConstraint("(ended_at IS NULL) = (ending IS NULL)", name="ck_hand_overs_ended_somehow"),
        sa.CheckConstraint(
            "ended_at IS NULL OR (sealed IS NULL AND wrapped IS NULL)", name="ck_hand_overs_nothing_is_kept"
        ),
    )
    where = sa.text("ended_at IS NULL")
    op.create_index("ix_hand_overs_open", "hand_overs", ["opened_at"], postgresql_where=where)
    op.create_table(
        "hand_over_deeds",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("hand_over_id", sa.Text(), nullable=False),
        sa.Column("picture", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_hand_over_deeds"),
        sa.ForeignKeyConstraint(["hand_over_id"], ["hand_overs.hand_over_id"], name="fk_hand_over_deeds_hand_over_id"),
    )
    op.create_index("ix_hand_over_deeds_hand_over_id", "hand_over_deeds", ["hand_over_id"])
