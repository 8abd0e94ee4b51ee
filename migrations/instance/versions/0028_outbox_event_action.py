"""Column action of outbox_event."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    add_column("outbox_event", sa.Column("action", sa.String(128), nullable=True))
