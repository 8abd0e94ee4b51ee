"""Column transactions_loaded of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0058"
down_revision = "0057"


def upgrade() -> None:
    add_column("box", sa.Column("transactions_loaded", sa.BigInteger(), nullable=False, server_default="0"))
