"""Index ix_approval_state_expires on approval."""

from alembic import op

revision = "0042"
down_revision = "0041"


def upgrade() -> None:
    op.create_index("ix_approval_state_expires", "approval", ["state", "expires_at_us"], if_not_exists=True)
