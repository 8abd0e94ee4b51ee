"""Index transfer_by_container on transfer."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_index("transfer_by_container", "transfer", ["container", "fuc"], if_not_exists=True)
