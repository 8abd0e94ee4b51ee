"""Column burst of api_client."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    add_column("api_client", sa.Column("burst", sa.Integer(), nullable=True))
