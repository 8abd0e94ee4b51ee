"""Column frozen of instance_profile."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    add_column("instance_profile", sa.Column("frozen", sa.Integer(), nullable=False, server_default="0"))
