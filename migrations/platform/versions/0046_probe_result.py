"""Table probe_result."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"


def upgrade() -> None:
    op.create_table(
        "probe_result",
        sa.Column("probe", sa.String(64), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("finished_at_us", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("checks", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("probe", "started_at_us"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
