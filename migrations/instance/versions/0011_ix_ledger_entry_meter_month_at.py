"""Index ix_ledger_entry_meter_month_at on ledger_entry."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_index(
        "ix_ledger_entry_meter_month_at",
        "ledger_entry",
        ["meter", "month", "at_us", "effect_id", "step"],
        if_not_exists=True,
    )
