"""Column drained_by of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0074"
down_revision = "0073"


def upgrade() -> None:
    add_column("box", sa.Column("drained_by", sa.String(16), nullable=True))
