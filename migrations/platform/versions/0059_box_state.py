"""Column state of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0059"
down_revision = "0058"


def upgrade() -> None:
    add_column("box", sa.Column("state", sa.String(16), nullable=False, server_default="active"))
