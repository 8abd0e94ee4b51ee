"""Table ledger_entry."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "ledger_entry",
        sa.Column("effect_id", sa.String(64), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("meter", sa.String(32), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(191), nullable=False),
        sa.Column("reference", sa.String(191), nullable=False),
        sa.Column("principal", sa.String(191), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("effect_id", "step"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
