"""Table line."""

import sqlalchemy as sa
from alembic import op

revision = "0066"
down_revision = "0065"


def upgrade() -> None:
    op.create_table(
        "line",
        sa.Column("line_id", sa.String(64), nullable=False),
        sa.Column("instance_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("out_by", sa.String(16), nullable=True),
        sa.Column("out_reason", sa.Text(), nullable=True),
        sa.Column("out_since_us", sa.BigInteger(), nullable=True),
        sa.Column("contract_id", sa.String(64), nullable=True),
        sa.Column("starts_at_us", sa.BigInteger(), nullable=True),
        sa.Column("ends_at_us", sa.BigInteger(), nullable=True),
        sa.Column("server_id", sa.String(64), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", "number"),
        sa.UniqueConstraint("line_id", name="uq_line_id"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
