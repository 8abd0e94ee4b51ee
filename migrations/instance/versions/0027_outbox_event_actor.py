"""Column actor of outbox_event."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    add_column("outbox_event", sa.Column("actor", sa.Text(), nullable=True))
