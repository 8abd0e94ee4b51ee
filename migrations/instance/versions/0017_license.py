"""Table license."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "license",
        sa.Column("license_id", sa.String(64), nullable=False),
        sa.Column("ticket", sa.String(64), nullable=False),
        sa.Column("order_number", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sku", sa.String(64), nullable=False),
        sa.Column("item_name", sa.String(191), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("container_types", sa.Text(), nullable=False),
        sa.Column("returnable", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("container", sa.String(64), nullable=True),
        sa.Column("fuc", sa.BigInteger(), nullable=True),
        sa.Column("pending_transfer", sa.String(64), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("license_id"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
