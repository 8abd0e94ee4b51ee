"""Index license_by_container on license."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_index("license_by_container", "license", ["container", "license_id"], if_not_exists=True)
