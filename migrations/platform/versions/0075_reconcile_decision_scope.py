"""Column scope of reconcile_decision."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0075"
down_revision = "0074"


def upgrade() -> None:
    add_column("reconcile_decision", sa.Column("scope", sa.String(191), nullable=True))
