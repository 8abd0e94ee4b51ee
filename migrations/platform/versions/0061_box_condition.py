"""Table box_condition."""

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"


def upgrade() -> None:
    op.create_table(
        "box_condition",
        sa.Column("subject", sa.String(191), nullable=False),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("transactions_low", sa.Integer(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
