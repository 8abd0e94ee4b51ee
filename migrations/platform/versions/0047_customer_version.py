"""Column version of customer."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0047"
down_revision = "0046"


def upgrade() -> None:
    add_column("customer", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
