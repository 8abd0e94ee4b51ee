"""Column owner of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0050"
down_revision = "0049"


def upgrade() -> None:
    add_column("box", sa.Column("owner", sa.String(64), nullable=True))
