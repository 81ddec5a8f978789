"""The desk lists and counts claims by their state, at once also among a million"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_claims_state_updated_at", "claims", ["state", "updated_at"])


def downgrade() -> None:
    raise NotImplementedError("The ledger only moves forward: restore a backup instead.")
