"""Column transactions of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0057"
down_revision = "0056"


def upgrade() -> None:
    add_column("box", sa.Column("transactions", sa.String(16), nullable=False, server_default="unlimited"))
