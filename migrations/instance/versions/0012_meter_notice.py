"""Table meter_notice."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "meter_notice",
        sa.Column("meter", sa.String(32), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("contractual_limit", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("meter", "month", "threshold", "contractual_limit"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
