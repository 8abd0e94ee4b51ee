"""Index license_by_ticket on license."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_index("license_by_ticket", "license", ["ticket", "license_id"], if_not_exists=True)
