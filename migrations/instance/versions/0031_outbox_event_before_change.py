"""Column before_change of outbox_event."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    add_column("outbox_event", sa.Column("before_change", sa.Text(), nullable=True))
