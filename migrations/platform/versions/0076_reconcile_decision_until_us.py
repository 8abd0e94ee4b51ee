"""Column until_us of reconcile_decision."""

import sqlalchemy as sa

from migrations.column import add_column

revision = "0076"
down_revision = "0075"


def upgrade() -> None:
    add_column("reconcile_decision", sa.Column("until_us", sa.BigInteger(), nullable=True))
