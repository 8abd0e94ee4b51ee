"""Table revocation_list."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"


def upgrade() -> None:
    op.create_table(
        "revocation_list",
        sa.Column("authority", sa.String(64), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("pem", sa.Text(4_000_000), nullable=False),
        sa.Column("number", sa.String(64), nullable=True),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("this_update_us", sa.BigInteger(), nullable=False),
        sa.Column("next_update_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("authority"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
