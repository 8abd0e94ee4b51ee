"""Column version of instance."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    add_column("instance", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
