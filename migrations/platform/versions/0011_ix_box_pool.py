"""Index ix_box_pool on box."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_index("ix_box_pool", "box", ["pool"], if_not_exists=True)
