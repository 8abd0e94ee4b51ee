"""Column lent_to of box."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0055"
down_revision = "0054"


def upgrade() -> None:
    add_column("box", sa.Column("lent_to", sa.String(128), nullable=True))
