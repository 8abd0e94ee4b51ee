"""Column version of api_client."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0042"
down_revision = "0041"


def upgrade() -> None:
    add_column("api_client", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
