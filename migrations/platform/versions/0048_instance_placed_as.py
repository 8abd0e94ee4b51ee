"""Column placed_as of instance."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0048"
down_revision = "0047"


def upgrade() -> None:
    add_column("instance", sa.Column("placed_as", sa.String(64), nullable=True))
