"""Index ix_instance_customer_id on instance."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_index("ix_instance_customer_id", "instance", ["customer_id"], if_not_exists=True)
