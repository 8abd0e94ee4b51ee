"""Column token of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0053"
down_revision = "0052"


def upgrade() -> None:
    add_column("box", sa.Column("token", sa.Text(), nullable=True))
