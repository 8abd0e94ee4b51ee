"""Table transfer."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.create_table(
        "transfer",
        sa.Column("transfer_id", sa.String(64), nullable=False),
        sa.Column("natural_key", sa.String(64), nullable=True),
        sa.Column("open_container", sa.String(64), nullable=True),
        sa.Column("container", sa.String(64), nullable=False),
        sa.Column("ticket", sa.String(64), nullable=True),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("base_fuc", sa.BigInteger(), nullable=False),
        sa.Column("fuc", sa.BigInteger(), nullable=False),
        sa.Column("operations", sa.Text(4000000), nullable=False),
        sa.Column("job", sa.Text(4000000), nullable=False),
        sa.Column("update_text", sa.Text(4000000), nullable=True),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("op_id", sa.String(191), nullable=False),
        sa.Column("reason", sa.String(64), nullable=True),
        sa.Column("retry_at_us", sa.BigInteger(), nullable=False),
        sa.Column("deadline_at_us", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("issued_at_us", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("transfer_id"),
        sa.UniqueConstraint("natural_key", name="uq_transfer_natural_key"),
        sa.UniqueConstraint("open_container", name="uq_transfer_open_container"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
