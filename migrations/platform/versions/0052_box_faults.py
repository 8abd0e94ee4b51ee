"""Column faults of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0052"
down_revision = "0051"


def upgrade() -> None:
    add_column("box", sa.Column("faults", sa.Text(), nullable=True))
