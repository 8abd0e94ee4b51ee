"""Index ix_client_secret_client_id on client_secret."""

from alembic import op

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    op.create_index("ix_client_secret_client_id", "client_secret", ["client_id"], if_not_exists=True)
