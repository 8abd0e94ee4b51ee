"""Index ix_op_created_at on op: operation ids are forgotten by age."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_index("ix_op_created_at", "op", ["created_at_us"], if_not_exists=True)
