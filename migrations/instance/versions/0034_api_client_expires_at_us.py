"""Column expires_at_us of api_client."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    add_column("api_client", sa.Column("expires_at_us", sa.BigInteger(), nullable=True))
