"""Column request_id of outbox_event."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    add_column("outbox_event", sa.Column("request_id", sa.String(64), nullable=True))
