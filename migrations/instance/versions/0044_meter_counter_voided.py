"""Column meter_counter.voided."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0044"
down_revision = "0043"


def upgrade() -> None:
    add_column("meter_counter", sa.Column("voided", sa.BigInteger(), nullable=False, server_default="0"))
