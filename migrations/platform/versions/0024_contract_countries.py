"""Column countries of contract."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    add_column("contract", sa.Column("countries", sa.Text(), nullable=True))
