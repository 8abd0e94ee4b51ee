"""Table person."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    op.create_table(
        "person",
        sa.Column("person_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(191), nullable=True),
        sa.Column("sealed_name", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("erased_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("person_id"),
        sa.UniqueConstraint("name", name="uq_person_name"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_nopad_bin",
        if_not_exists=True,
    )
