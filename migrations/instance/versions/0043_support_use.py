"""Table support_use."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"


def upgrade() -> None:
    op.create_table(
        "support_use",
        sa.Column("access_id", sa.String(64), nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_at_us", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("access_id", "hour"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
