"""Table meter_counter."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "meter_counter",
        sa.Column("meter", sa.String(32), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("noticed_limit", sa.BigInteger(), nullable=False),
        sa.Column("noticed_threshold", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "month"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
