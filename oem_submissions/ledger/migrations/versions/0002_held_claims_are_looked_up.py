"""Held claims are looked up"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("claims", sa.Column("look_again_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("claims", sa.Column("looks", sa.Integer(), server_default="0", nullable=False))
    op.add_column("claims", sa.Column("absences", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    raise NotImplementedError("The ledger only moves forward: restore a backup instead.")
