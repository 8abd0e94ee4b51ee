"""Index transfer_action_by_license on transfer_action."""

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.create_index("transfer_action_by_license", "transfer_action", ["license_id"], if_not_exists=True)
