"""Table container."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_table(
        "container",
        sa.Column("serial", sa.String(64), nullable=False),
        sa.Column("container_type", sa.String(32), nullable=False),
        sa.Column("key_thumbprint", sa.String(64), nullable=False),
        sa.Column("signing_key", sa.Text(), nullable=False),
        sa.Column("encryption_key", sa.Text(), nullable=False),
        sa.Column("fuc_confirmed", sa.BigInteger(), nullable=False),
        sa.Column("fuc_issued", sa.BigInteger(), nullable=False),
        sa.Column("last_context_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("reported", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("serial"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
