"""Column lent_until_us of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0056"
down_revision = "0055"


def upgrade() -> None:
    add_column("box", sa.Column("lent_until_us", sa.BigInteger(), nullable=True))
