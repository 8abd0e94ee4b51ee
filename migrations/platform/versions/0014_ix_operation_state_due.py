"""Index ix_operation_state_due on operation."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_index("ix_operation_state_due", "operation", ["state", "due_at_us"], if_not_exists=True)
