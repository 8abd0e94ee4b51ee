"""Index ix_staff_token_previous_hash on staff_token."""

from alembic import op

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    op.create_index("ix_staff_token_previous_hash", "staff_token", ["previous_hash"], if_not_exists=True)
