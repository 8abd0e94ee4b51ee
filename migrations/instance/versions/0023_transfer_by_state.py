"""Index transfer_by_state on transfer."""

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.create_index("transfer_by_state", "transfer", ["state", "retry_at_us"], if_not_exists=True)
