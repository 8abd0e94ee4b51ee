"""Column parameters of operation."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    add_column("operation", sa.Column("parameters", sa.Text(), nullable=True))
