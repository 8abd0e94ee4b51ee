"""Column reason of outbox_event."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    add_column("outbox_event", sa.Column("reason", sa.Text(), nullable=True))
