"""Index ix_support_access_instance_id on support_access."""

from alembic import op

revision = "0044"
down_revision = "0043"


def upgrade() -> None:
    op.create_index("ix_support_access_instance_id", "support_access", ["instance_id"], if_not_exists=True)
