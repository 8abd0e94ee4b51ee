"""Column previous_ends_at_us of staff_token."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    add_column("staff_token", sa.Column("previous_ends_at_us", sa.BigInteger(), nullable=True))
