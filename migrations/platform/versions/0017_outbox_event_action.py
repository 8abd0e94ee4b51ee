"""Column action of outbox_event."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    add_column("outbox_event", sa.Column("action", sa.String(128), nullable=True))
