"""Column drained of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0054"
down_revision = "0053"


def upgrade() -> None:
    add_column("box", sa.Column("drained", sa.Integer(), nullable=False, server_default="0"))
