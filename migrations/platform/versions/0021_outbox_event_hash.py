"""Column hash of outbox_event."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    add_column("outbox_event", sa.Column("hash", sa.String(64), nullable=True))
