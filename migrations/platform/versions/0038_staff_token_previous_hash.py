"""Column previous_hash of staff_token."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    add_column("staff_token", sa.Column("previous_hash", sa.String(64), nullable=True))
