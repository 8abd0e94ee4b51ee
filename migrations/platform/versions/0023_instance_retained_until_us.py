"""Column retained_until_us of instance."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    add_column("instance", sa.Column("retained_until_us", sa.BigInteger(), nullable=True))
