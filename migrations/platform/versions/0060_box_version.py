"""Column version of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0060"
down_revision = "0059"


def upgrade() -> None:
    add_column("box", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
