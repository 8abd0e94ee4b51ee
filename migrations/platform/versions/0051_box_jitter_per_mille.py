"""Column jitter_per_mille of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0051"
down_revision = "0050"


def upgrade() -> None:
    add_column("box", sa.Column("jitter_per_mille", sa.Integer(), nullable=False, server_default="0"))
