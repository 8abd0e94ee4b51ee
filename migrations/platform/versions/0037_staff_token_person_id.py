"""Column person_id of staff_token."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    add_column("staff_token", sa.Column("person_id", sa.String(64), nullable=True))
