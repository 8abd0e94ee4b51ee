"""Index ix_front_host_instance_id on front_host."""

from alembic import op

revision = "0069"
down_revision = "0068"


def upgrade() -> None:
    op.create_index("ix_front_host_instance_id", "front_host", ["instance_id"], if_not_exists=True)
