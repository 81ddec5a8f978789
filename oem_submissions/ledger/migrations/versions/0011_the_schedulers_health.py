"""The scheduler's health: which cadence a tick is of, and indexes for what is asked every few minutes"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_UNTOLD = (
    "state IN ('AWAITING_REFERENCE', 'DEAD', 'NEEDS_REVIEW', 'OUTCOME_UNKNOWN', 'PROVEN_ABSENT', 'RECONCILING',"
    " 'REJECTED', 'SYNCED', 'WITHDRAWN') AND (crm_version IS NULL OR crm_version <> version)"
)


def upgrade() -> None:
    op.add_column("ticks", sa.Column("cadence", sa.Text(), nullable=True))
    op.create_index("ix_ticks_oem_cadence_scheduled_for", "ticks", ["oem", "cadence", "scheduled_for"])
    op.create_index("ix_lease_log_at", "lease_log", ["at"])
    op.create_index("ix_claims_untold", "claims", ["oem"], postgresql_where=sa.text(_UNTOLD))


def downgrade() -> None:
    raise NotImplementedError("The ledger only moves forward: restore a backup instead.")
