"""Index ix_placement_server_id on placement."""

from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.create_index("ix_placement_server_id", "placement", ["server_id"], if_not_exists=True)
