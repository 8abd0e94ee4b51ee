"""Index ix_client_certificate_client_id on client_certificate."""

from alembic import op

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    op.create_index(
        "ix_client_certificate_client_id", "client_certificate", ["client_id"], if_not_exists=True
    )
