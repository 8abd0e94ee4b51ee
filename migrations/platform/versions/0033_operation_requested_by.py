"""Column requested_by of operation."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    add_column("operation", sa.Column("requested_by", sa.Text(), nullable=True))
