"""The one row that numbers the events."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.execute(sa.text("SELECT last FROM outbox_sequence WHERE name = 'events'")).first() is None:
        connection.execute(sa.text("INSERT INTO outbox_sequence (name, last) VALUES ('events', 0)"))
