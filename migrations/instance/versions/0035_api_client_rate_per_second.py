"""Column rate_per_second of api_client."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    add_column("api_client", sa.Column("rate_per_second", sa.Integer(), nullable=True))
